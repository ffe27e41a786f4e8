/**
 * Tells callbacks from other objects, for code that must not depend on how they are made.
 *
 * @module
 */

/** Set on every callback; true once it was closed. */
export const callbackClosed: unique symbol = Symbol.for("faultline.callback") as never;

/** What of a callback can be seen without making one. */
export interface BrandedCallback {
  readonly address: bigint;
  readonly [callbackClosed]: boolean;
}

/** Whether `value` is a callback, of this copy of the module or another. */
export function isCallback(value: unknown): value is BrandedCallback {
  return typeof value === "object" && value !== null && callbackClosed in value;
}

/** Whether a callback was closed. */
export function closedCallback(callback: BrandedCallback): boolean {
  return callback[callbackClosed];
}
