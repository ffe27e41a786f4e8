/**
 * One frame of a native backtrace.
 *
 * @module
 */

/**
 * One frame of a native backtrace. What is not known is null.
 *
 * @example Usage
 * ```ts
 * import type { StackFrame } from "faultline";
 *
 * const where = ({ symbol, offset }: StackFrame): string => `${symbol}+0x${offset.toString(16)}`;
 * console.log(typeof where);
 * ```
 */
export interface StackFrame {
  /** The faulting instruction, or where a call returns to. */
  readonly address: bigint;
  /** Path of the file that the code comes from; null for code made at run time. */
  readonly module: string | null;
  /** The function's name; of C++ without parameters. */
  readonly symbol: string | null;
  /** Bytes from the start of the symbol, or of the module when there is no symbol. */
  readonly offset: bigint;
  /** The source file, as the compiler named it. */
  readonly file: string | null;
  /** For a caller, the line of the call. */
  readonly line: number | null;
  /** From 1 on. */
  readonly column: number | null;
  /** Inlined into the frame that follows. */
  readonly inlined: boolean;
  /** How the frame was found, the surest first. */
  readonly trust: "context" | "cfi" | "frame-pointer" | "scan";
}
