/**
 * Errors of this package that are no exceptions of the hardware.
 *
 * @module
 */

/** A library or a symbol that cannot be used; `code` says why. */
export class FaultlineError extends Error {
  override readonly name = "FaultlineError";
  /** What went wrong, as a constant. */
  readonly code:
    | "LIBRARY_NOT_FOUND"
    | "SYMBOL_NOT_FOUND"
    | "CLOSED"
    | "LIBRARY_POISONED"
    | "NOT_SUPPORTED";

  constructor(code: FaultlineError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
