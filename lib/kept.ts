/**
 * What native code holds the address of while a call runs. A reference in a local variable is no
 * promise: an optimizing compiler drops it after its last use, which is before the call.
 *
 * @module
 */

/** The values of all calls that are open on this thread, innermost last. */
const kept: unknown[] = [];

/** How many values are kept now; a call takes this before it converts its arguments. */
export function keptCount(): number {
  return kept.length;
}

/** Keeps `value` alive until the call that converts it lets go. */
export function keep<T>(value: T): T {
  kept.push(value);
  return value;
}

/** What was kept since `count` was taken, for a call that outlives this turn. */
export function keptSince(count: number): unknown[] {
  return kept.slice(count);
}

/** Lets go of what was kept since `count` was taken. */
export function letGo(count: number): void {
  while (kept.length > count) kept.pop();
}
