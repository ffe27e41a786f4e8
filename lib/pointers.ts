/**
 * Between JavaScript's values and addresses: the runtime's pointers, buffers, callbacks and the
 * barriers in front of functions.
 *
 * @module
 */
import { closedCallback, isCallback } from "./callback_brand.ts";
import type { Native } from "./native.ts";
import type { PointerConversions } from "./native_type.ts";

/** The conversions of this thread. */
export function pointerConversions(ready: Native): PointerConversions {
  const { runtime, functions } = ready;
  return {
    isPointer: runtime.isPointer,
    barrierOf: (pointer) => barrierOf(ready, pointer),
    pointerTo: (view) => runtime.pointerTo(view, functions),
    pointerFrom: (address) => runtime.pointerFrom(address, functions),
    bufferArgument: runtime.bufferArgument,
    callbackPointer: (value) => {
      if (!isCallback(value)) return undefined;
      if (closedCallback(value)) throw new TypeError("takes a callback that is still open");
      // Another copy of this package does not see a barrier of this one's callback as its own.
      return barrierOf(ready, runtime.pointerFrom(value.address, functions));
    },
  };
}

/** Barriers by the pointer value that was passed, so that a call pays for them once. */
const barriersByNumber = new Map<number, unknown>();
const barriersByObject = new WeakMap<object, unknown>();

function barrierOf({ runtime, functions }: Native, pointer: unknown): unknown {
  const cache = typeof pointer === "number" ? barriersByNumber : barriersByObject;
  const known = cache.get(pointer as number & object);
  if (known !== undefined) return known;
  const address = runtime.addressOf(pointer, functions);
  const barrier = functions.fl_barrier!(address) as bigint;
  if (address !== 0n && barrier === 0n) {
    throw new Error(
      "Cannot pass another function to native code as every barrier is taken: pass the same " +
        "function again instead of making a new one for each call, or make it with callback()",
    );
  }
  const value = runtime.pointerFrom(barrier, functions);
  // A barrier that was passed as a raw pointer may be closed and used again: it is not remembered.
  if (value !== null && barrier !== address) cache.set(pointer as number & object, value);
  return value;
}
