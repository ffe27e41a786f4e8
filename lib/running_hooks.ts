/**
 * The JavaScript hooks that run on this thread, and the names of the calls that they interrupt:
 * what other modules ask about hooks without depending on them.
 *
 * @module
 */
import type { ExceptionBytes } from "./exception_info.ts";

/** The call that an exception belongs to. */
export type CallNames = ExceptionBytes["call"];

const running: ExceptionBytes[] = [];

/** The exception that the innermost hook looks at; null when none runs. */
export function hookedException(): ExceptionBytes | null {
  return running.at(-1) ?? null;
}

/** Runs `body` as a hook that looks at `exception`. */
export function asHook<T>(exception: ExceptionBytes, body: () => T): T {
  running.push(exception);
  try {
    return body();
  } finally {
    running.pop();
  }
}

const namesOfSlots = new Map<number, CallNames>();
const openBlocks: CallNames[] = [];

/** Notes what calls through a slot are called, on this thread. */
export function nameSlot(slot: number, call: CallNames): void {
  namesOfSlots.set(slot, call);
}

/** Notes that a call without a slot begins; `blockEnds` says that it is over. */
export function blockBegins(call: CallNames): void {
  openBlocks.push(call);
}

/** See `blockBegins`. */
export function blockEnds(): void {
  openBlocks.pop();
}

const unknownCall: CallNames = Object.freeze({ library: "a library", symbol: "a function" });

/** What the running call of a slot is called; calls without one when there is none such. */
export function callOfSlot(slot: number): CallNames {
  return namesOfSlots.get(slot) ?? openBlocks.at(-1) ?? unknownCall;
}
