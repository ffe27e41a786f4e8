/**
 * Finds what definitions name in an opened library.
 *
 * @module
 */
import type { ParsedSymbol } from "./definition.ts";
import { FaultlineError } from "./faultline_error.ts";
import type { OpenedLibrary } from "./runtime/types.ts";

/** Library, symbol and, where the definition gives it, the address of what is wanted. */
function wanted(
  definition: ParsedSymbol,
): { library: string; symbol: string; address: bigint | null } {
  if ("type" in definition) return { ...definition, address: null };
  return { ...definition.signature, address: definition.address };
}

/**
 * The addresses of `definitions`, in their order; null for a missing one that is optional.
 *
 * @throws {FaultlineError} With code SYMBOL_NOT_FOUND for a missing one that is not optional.
 */
export function symbolAddresses(
  opened: OpenedLibrary,
  definitions: readonly ParsedSymbol[],
): (bigint | null)[] {
  const all = definitions.map(wanted);
  const missing = all.filter(({ address }) => address === null);
  const found = opened.symbolAddresses(missing.map(({ symbol }) => symbol)).values();
  return all.map(({ library, symbol, address }, index) => {
    const result = address ?? found.next().value ?? null;
    if (result !== null || definitions[index]!.optional) return result;
    throw new FaultlineError(
      "SYMBOL_NOT_FOUND",
      `Cannot find ${symbol} in ${library}: check its spelling, or define it as optional`,
    );
  });
}
