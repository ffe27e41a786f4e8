/**
 * Guarded functions from addresses.
 *
 * @module
 */
import { parseDefinition, parseOptions } from "./definition.ts";
import { describeValue } from "./describe_value.ts";
import type { ForeignCall, ForeignFunction } from "./foreign.ts";
import { guardedFunctions } from "./guarded_functions.ts";
import { native } from "./native.ts";

/**
 * A guarded function from an address, for example one that a library returned. It is released when
 * it is collected; the caller sees to it that the code stays where it is.
 *
 * @param address Where the function starts.
 * @param definition Types and options, as for `dlopen`. `name` is what exceptions call it; by
 * default its address.
 * @throws {TypeError} If `address` is not a bigint or 0n, or the definition is wrong.
 * @throws {RangeError} If `address` does not fit in 64 bits.
 *
 * @example Usage
 * ```ts
 * import { callable, dlopen } from "faultline";
 *
 * using loader = dlopen("libc.so.6", {
 *   dlsym: { parameters: ["address", "buffer"], result: "address" },
 * });
 * const name = new TextEncoder().encode("abs\0");
 * const abs = callable(loader.symbols.dlsym(0n, name), { parameters: ["i32"], result: "i32" });
 * console.log(abs(-7)); // 7
 * ```
 */
export function callable<const F extends ForeignFunction>(
  address: bigint,
  definition: F,
): ForeignCall<F> {
  if (typeof address !== "bigint" || address === 0n) {
    throw new TypeError(
      `Cannot call a function at ${describeValue(address)}: pass its address as a bigint`,
    );
  }
  if (address < 0n || address >= 1n << 64n) {
    throw new RangeError(
      `Cannot call a function at ${address} as an address lies between 0n and 2n ** 64n - 1n`,
    );
  }
  const key = `0x${address.toString(16)}`;
  const library = "an address";
  const parsed = parseDefinition(key, definition, library, parseOptions(undefined, library));
  const { functions } = guardedFunctions(native(), [parsed], [address], () => {});
  return functions[0] as unknown as ForeignCall<F>;
}
