/**
 * The value that a callback threw, on its way to the guarded call that surfaces it. One per thread:
 * until it is taken, no further callback runs.
 *
 * @module
 */

let thrown: { readonly value: unknown } | undefined;

/** Whether a callback threw, and the guarded call around it has not returned yet. */
export function hasThrown(): boolean {
  return thrown !== undefined;
}

/** Notes the first value thrown. */
export function noteThrown(value: unknown): void {
  thrown ??= { value };
}

/** The value thrown, which is forgotten. */
export function takeThrown(): unknown {
  const value = thrown?.value;
  thrown = undefined;
  return value;
}
