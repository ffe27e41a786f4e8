/**
 * Ranges of memory and protections of pages: their types, and checks of what users pass.
 *
 * @module
 */
import { protectionBits } from "./abi.ts";
import { describeValue } from "./describe_value.ts";

/**
 * A range of this process's memory.
 *
 * @example Usage
 * ```ts
 * import { addressOf, type MemoryRange } from "faultline";
 *
 * const bytes = new Uint8Array(16);
 * const range: MemoryRange = { address: addressOf(bytes), byteLength: bytes.byteLength };
 * console.log(range.byteLength); // 16
 * ```
 */
export interface MemoryRange {
  /** The first byte's address, `0n` to `2n ** 64n - 1n`. */
  readonly address: bigint;
  /** A whole number of bytes, not negative. */
  readonly byteLength: number;
}

/**
 * What may be done with a page: read, write, execute.
 *
 * @example Usage
 * ```ts
 * import type { Protection } from "faultline";
 *
 * const readOnly: Protection = "r--";
 * console.log(readOnly[1] === "w"); // false
 * ```
 */
export type Protection = "---" | "r--" | "rw-" | "r-x" | "rwx";

const { read, write, execute } = protectionBits;

/** The bits of each protection, as mprotect takes them. */
export const bitsOf: Readonly<Record<Protection, number>> = {
  "---": protectionBits.none,
  "r--": read,
  "rw-": read | write,
  "r-x": read | execute,
  "rwx": read | write | execute,
};

/** Kernels know "-w-", "--x" and "-wx" too. They get the name that has the missing read. */
export function protectionOf(bits: number): Protection {
  if ((bits & execute) !== 0) return (bits & write) !== 0 ? "rwx" : "r-x";
  if ((bits & write) !== 0) return "rw-";
  return (bits & read) !== 0 ? "r--" : "---";
}

/** Refuses what is no protection; `what` continues "Cannot". */
export function checkProtection(
  what: string,
  protection: unknown,
): asserts protection is Protection {
  if (typeof protection === "string" && Object.hasOwn(bitsOf, protection)) return;
  throw new TypeError(
    `Cannot ${what} as its protection must be one of ${Object.keys(bitsOf).join(", ")}: ` +
      `current value is ${describeValue(protection)}`,
  );
}

const addressEnd = 2n ** 64n;
/** Below it no range that a number can measure reaches the end of the address space. */
const addressSafe = addressEnd - 2n ** 53n;

/** Refuses what is no address; `what` continues "Cannot". */
export function checkAddress(what: string, address: unknown): asserts address is bigint {
  if (typeof address !== "bigint") {
    throw new TypeError(
      `Cannot ${what} as its address must be a bigint: current value is ${describeValue(address)}`,
    );
  }
  if (address < 0n || address >= addressEnd) {
    throw new RangeError(
      `Cannot ${what} as its address must be from 0n to 2n ** 64n - 1n: current value is ` +
        `${address}n`,
    );
  }
}

/** Refuses a range that is not within the address space. */
export function checkRange(
  what: string,
  address: unknown,
  byteLength: number,
): asserts address is bigint {
  checkAddress(what, address);
  if (address >= addressSafe && address + BigInt(byteLength) > addressEnd) {
    throw new RangeError(
      `Cannot ${what} as the range must end at 2 ** 64 or below: current value is ` +
        `${byteLength} bytes from 0x${address.toString(16)}`,
    );
  }
}

/** The parts of a range, each looked at once. */
export function takeRange(what: string, range: unknown): MemoryRange {
  if (typeof range !== "object" || range === null) {
    throw new TypeError(
      `Cannot ${what} as its range must be { address, byteLength }: current value is ` +
        `${describeValue(range)}`,
    );
  }
  const { address, byteLength } = range as { address?: unknown; byteLength?: unknown };
  if (typeof byteLength !== "number") {
    throw new TypeError(
      `Cannot ${what} as its byteLength must be a number: current value is ${
        describeValue(byteLength)
      }`,
    );
  }
  if (!Number.isSafeInteger(byteLength) || byteLength < 0) {
    throw new RangeError(
      `Cannot ${what} as its byteLength must be a whole number from 0 to 2 ** 53 - 1: current ` +
        `value is ${byteLength}`,
    );
  }
  checkRange(what, address, byteLength);
  return { address, byteLength };
}
