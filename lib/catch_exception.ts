/**
 * The value form of catch.
 *
 * @module
 */
import { HardwareException } from "./hardware_exception.ts";

/**
 * The outcome of `catchException`.
 *
 * @example Usage
 * ```ts
 * import { catchException, type Result } from "faultline";
 *
 * const result: Result<number> = catchException(() => 1);
 * console.log(result.ok); // true
 * ```
 */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: HardwareException };

function failed(error: unknown): Result<never> {
  if (error instanceof HardwareException) return { ok: false, error };
  throw error;
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return (typeof value === "object" || typeof value === "function") && value !== null &&
    typeof (value as { then?: unknown }).then === "function";
}

/** A body that never returns has only its error to give. */
export function catchException(body: () => never): Result<never>;
/**
 * Runs `body`; a `HardwareException` becomes a value, every other error passes through. Also
 * exported as `catch`. It guards nothing by itself: only calls through `dlopen` and the memory
 * functions have a recovery point.
 *
 * @param body What to run. If it returns a promise, so does `catchException`.
 * @returns The body's value or the exception, as `ok` tells.
 * @throws {TypeError} If `body` is not a function.
 *
 * @example Usage
 * ```ts
 * import { catchException, dlopen } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
 * const result = catchException(() => libc.symbols.strlen(0n));
 * console.log(result.ok ? result.value : result.error.code); // SEGV_MAPERR
 * ```
 */
export function catchException<T>(
  body: () => T,
): T extends PromiseLike<infer U> ? Promise<Result<U>> : Result<T>;
export function catchException(body: () => unknown): unknown {
  if (typeof body !== "function") {
    throw new TypeError("Cannot catch exceptions as what to run is not a function: pass one");
  }
  let value: unknown;
  try {
    value = body();
  } catch (error) {
    return failed(error);
  }
  if (!isPromiseLike(value)) return { ok: true, value };
  return Promise.resolve(value).then((settled) => ({ ok: true, value: settled }), failed);
}
