/**
 * The value that a callback threw, on its way to the guarded call that surfaces it. It lies with
 * the thread's record, which all copies of this module share: until it is taken, no further
 * callback runs.
 *
 * @module
 */
import type { ThreadRecord } from "./native.ts";

/** Whether a callback threw, and the guarded call around it has not returned yet. */
export function hasThrown({ thrown }: ThreadRecord): boolean {
  return thrown !== null;
}

/** Notes the first value thrown. */
export function noteThrown(record: ThreadRecord, value: unknown): void {
  record.thrown ??= { value };
}

/** The value thrown, which is forgotten. */
export function takeThrown(record: ThreadRecord): unknown {
  const value = record.thrown?.value;
  record.thrown = null;
  return value;
}
