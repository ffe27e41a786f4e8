/**
 * Memory that knows which of its pages were written.
 *
 * @module
 */
import { nativeStatus, tracking, writtenRangeLayout } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import type { MemoryRange } from "./memory_range.ts";
import { checkStatus, native } from "./native.ts";
import { openMemory, OwnedBytes } from "./owned_bytes.ts";

/**
 * Memory that knows which of its pages were written.
 *
 * @example Usage
 * ```ts
 * import { trackWrites, type WriteTracker } from "faultline";
 *
 * using tracker: WriteTracker = trackWrites(4096);
 * console.log(tracker.bytes.length, tracker.take().length); // 4096 0
 * ```
 */
export interface WriteTracker extends Disposable {
  /** The memory; it begins on a page, all zero. Empty once disposed of. */
  readonly bytes: Uint8Array;
  /**
   * How writes are noted: by the kernel ("userfaultfd", Linux 6.7 or later), or by a signal at the
   * first write to each page ("mprotect"). System calls may write to the memory in the first case
   * only; in the second they fail with EFAULT where the page was not written before.
   */
  readonly method: "userfaultfd" | "mprotect";
  /**
   * Pages written since the last call, by JavaScript or native code on any thread, and watches them
   * again. Neighbouring pages are one range; ranges are whole pages, also the last.
   */
  take(): readonly MemoryRange[];
}

/** Ways to note writes; "any" is the better one that works here. */
export type TrackingMethod = "any" | WriteTracker["method"];

const ways: Readonly<Record<TrackingMethod, number>> = {
  any: tracking.any,
  userfaultfd: tracking.userfault,
  mprotect: tracking.protection,
};

const rangesPerCall = 128;

function takeRanges(handle: bigint): MemoryRange[] {
  const { functions } = native();
  const layout = writtenRangeLayout;
  const cursor = new BigUint64Array(1);
  const bytes = new Uint8Array(rangesPerCall * layout.byteLength);
  const view = new DataView(bytes.buffer);
  const found: { address: bigint; byteLength: number }[] = [];
  while (true) {
    const count = functions.fl_tracker_take!(handle, cursor, bytes, bytes.byteLength) as number;
    checkStatus(count, "Cannot take written pages");
    for (let start = 0; start < count * layout.byteLength; start += layout.byteLength) {
      const address = view.getBigUint64(start + layout.start.offset, true);
      const end = view.getBigUint64(start + layout.end.offset, true);
      const last = found.at(-1);
      if (last !== undefined && last.address + BigInt(last.byteLength) === address) {
        last.byteLength = Number(end - last.address);
      } else {
        found.push({ address, byteLength: Number(end - address) });
      }
    }
    if (count < rangesPerCall) return found;
  }
}

class Tracker implements WriteTracker {
  readonly method: WriteTracker["method"];
  readonly #memory: OwnedBytes;

  constructor(memory: OwnedBytes, method: WriteTracker["method"]) {
    this.#memory = memory;
    this.method = method;
  }

  get bytes(): Uint8Array {
    return this.#memory.bytes;
  }

  take(): readonly MemoryRange[] {
    return takeRanges(this.#memory.handle);
  }

  [Symbol.dispose](): void {
    this.#memory.close();
  }
}

function checkLength(byteLength: unknown): asserts byteLength is number {
  if (typeof byteLength !== "number") {
    throw new TypeError(
      `Cannot track writes as byteLength must be a number: current value is ${
        describeValue(byteLength)
      }`,
    );
  }
  if (!Number.isSafeInteger(byteLength) || byteLength < 1) {
    throw new RangeError(
      "Cannot track writes as byteLength must be a whole number from 1 to 2 ** 53 - 1: current " +
        `value is ${byteLength}`,
    );
  }
}

/** See `trackWrites`; with a choice of the way, for those who compare them. */
export function openTracker(byteLength: number, method: TrackingMethod): WriteTracker {
  checkLength(byteLength);
  const made = openMemory((functions, into) =>
    functions.fl_tracker_open!(byteLength, ways[method], into, into.byteLength)
  );
  const asked = `Cannot track writes to ${byteLength} bytes`;
  if (made.status === nativeStatus.no_memory) {
    throw new RangeError(`${asked} as there is no room for so many: track fewer`);
  }
  if (made.status === nativeStatus.not_supported) {
    throw new Error(`${asked} by ${method} as this system does not allow it: leave out the method`);
  }
  if (made.status === nativeStatus.no_free_slot) {
    throw new Error(
      `${asked} as there are 1,024 hooks, mapped files and write trackers: dispose of some`,
    );
  }
  checkStatus(made.status, asked);
  const used = made.tracking === tracking.userfault ? "userfaultfd" : "mprotect";
  return new Tracker(new OwnedBytes("a write tracker", made, byteLength), used);
}

/**
 * Fresh memory whose first write to each page is noted: a write barrier for a collector, or an
 * incremental checkpoint.
 *
 * JavaScript and native code write to it as to any memory, on any thread; only the first write to
 * a page after `take()` costs more. Dispose of it: one that is forgotten gives its pages back when
 * its arrays are collected, but keeps its addresses. Keep the `WriteTracker` while its memory is in
 * use, and do not transfer its buffer: it becomes zeroes when the tracker ends.
 *
 * A write that happens while `take()` runs is in this result or in the next.
 *
 * @param byteLength How many bytes, 1 or more.
 * @returns The tracker. It belongs to this thread.
 * @throws {RangeError} If `byteLength` is below 1, not an integer, or more than there is room for.
 * @throws {TypeError} If `byteLength` is no number.
 *
 * @example Usage
 * ```ts
 * import { addressOf, trackWrites } from "faultline";
 *
 * using tracker = trackWrites(10 * 4096);
 * const { bytes } = tracker;
 * bytes[2 * 4096] = 1;
 * bytes[3 * 4096 + 7] = 1;
 * bytes[9 * 4096] = 1;
 * const start = addressOf(bytes);
 * const pages = tracker.take().map(({ address, byteLength }) =>
 *   [Number(address - start) / 4096, byteLength / 4096].join(" +")
 * );
 * console.log(pages.join(", "), tracker.take().length); // 2 +2, 9 +1 0
 * ```
 */
export function trackWrites(byteLength: number): WriteTracker {
  return openTracker(byteLength, "any");
}
