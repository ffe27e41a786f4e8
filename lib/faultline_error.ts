/**
 * Errors of this package that are no exceptions of the hardware.
 *
 * @module
 */

/** What cannot be done: a library, a symbol or a report that cannot be used. `code` says why. */
export class FaultlineError extends Error {
  override readonly name = "FaultlineError";
  /** What went wrong, as a constant. */
  readonly code:
    | "LIBRARY_NOT_FOUND"
    | "SYMBOL_NOT_FOUND"
    | "CLOSED"
    | "LIBRARY_POISONED"
    | "NOT_SUPPORTED"
    /** Faultline's own native library cannot be used. */
    | "NATIVE_LIBRARY"
    /** Deno does not allow the program to do it. */
    | "PERMISSION_DENIED"
    /** A folder or a file of crash reports cannot be read or written. */
    | "REPORTS_UNUSABLE"
    /** A collector of crash reports does not answer. */
    | "COLLECTOR_UNREACHABLE"
    /** It answers that it will not take a report. */
    | "COLLECTOR_REFUSED"
    /** It answers that it will not take reports now. */
    | "COLLECTOR_BUSY";

  constructor(code: FaultlineError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
