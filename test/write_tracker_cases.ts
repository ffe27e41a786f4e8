/**
 * What write trackers must do in each of their ways, as cases that run on any thread:
 * `write_tracker_test.ts` runs them on the main thread, and in Workers through
 * `children/memory_cases.ts`.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { closeSync, openSync, readSync } from "node:fs";
import { openTracker, type TrackingMethod } from "../lib/write_tracker.ts";
import { addressOf, isReadable, readMemory, writeMemory, type WriteTracker } from "../mod.ts";
import { failsWith, openMemoryFixture, page, sum, withFile } from "./memory_support.ts";
import type { Cases } from "./support.ts";

const { symbols } = openMemoryFixture();

/** The pages that were written, as `first+count`. */
function taken(tracker: WriteTracker, start: bigint = addressOf(tracker.bytes)): string[] {
  return tracker.take().map(({ address, byteLength }) => {
    assert.equal(byteLength % page, 0);
    return `${(address - start) / BigInt(page)}+${byteLength / page}`;
  });
}

type Body = (method: TrackingMethod) => void;

const bodies: Readonly<Record<string, Body>> = {
  "gives the pages that JavaScript wrote, joined, and once": (method) => {
    using tracker = openTracker(20 * page, method);
    const { bytes } = tracker;
    assert.deepEqual([bytes.length, addressOf(bytes) % BigInt(page)], [20 * page, 0n]);
    assert.deepEqual(taken(tracker), []);
    for (let round = 0; round < 100; round++) {
      for (const index of [3, 4, 5, 19, 0]) bytes[index * page + round] = round;
      assert.deepEqual(taken(tracker), ["0+1", "3+3", "19+1"]);
      assert.deepEqual(taken(tracker), []);
    }
    bytes.fill(1);
    assert.deepEqual(taken(tracker), ["0+20"]);
  },

  "does not count reads": (method) => {
    using tracker = openTracker(20 * page, method);
    assert.equal(sum(tracker.bytes), 0);
    tracker.bytes[page] = 1;
    assert.deepEqual(taken(tracker), ["1+1"]);
    assert.equal(sum(tracker.bytes), 1);
    readMemory(addressOf(tracker.bytes), new Uint8Array(20 * page));
    assert.equal(isReadable({ address: addressOf(tracker.bytes), byteLength: 20 * page }), true);
    assert.deepEqual(taken(tracker), []);
  },

  "gives whole pages, also the last": (method) => {
    for (const [byteLength, range] of [[1, "0+1"], [page, "0+1"], [page + 1, "1+1"]] as const) {
      using tracker = openTracker(byteLength, method);
      assert.equal(tracker.bytes.length, byteLength);
      tracker.bytes[byteLength - 1] = 1;
      assert.deepEqual(taken(tracker), [range]);
    }
  },

  "counts what native code writes": (method) => {
    using tracker = openTracker(20 * page, method);
    const start = addressOf(tracker.bytes);
    writeMemory(start + BigInt(7 * page - 1), Uint8Array.of(1, 2));
    assert.deepEqual(taken(tracker), ["6+2"]);
    tracker.bytes.copyWithin(10 * page, 6 * page, 8 * page);
    assert.deepEqual(taken(tracker), ["10+2"]);
    new DataView(tracker.bytes.buffer).setFloat64(15 * page - 4, 1.5);
    Atomics.add(new Int32Array(tracker.bytes.buffer), 17 * page / 4, 1);
    assert.deepEqual(taken(tracker), ["14+2", "17+1"]);
    assert.equal(tracker.bytes[7 * page - 1], 1);
  },

  "goes on when the same store comes thousands of times": (method) => {
    using tracker = openTracker(4 * page, method);
    const { bytes } = tracker;
    const store = (into: Uint8Array): void => {
      into[page + 8] = 1;
    };
    const address = addressOf(bytes);
    let count = 0;
    for (let round = 0; round < 1500; round++) {
      store(bytes);
      count += tracker.take().length;
      writeMemory(address, Uint8Array.of(1));
      count += tracker.take().length;
    }
    assert.equal(count, 3000);
  },

  "gives thousands of ranges": (method) => {
    using tracker = openTracker(4001 * page, method);
    const odd = Array.from({ length: 2000 }, (_, index) => 2 * index + 1);
    for (let round = 0; round < 3; round++) {
      for (const index of odd) tracker.bytes[index * page] = 1;
      assert.deepEqual(taken(tracker), odd.map((index) => `${index}+1`));
    }
    assert.deepEqual(taken(tracker), []);
  },

  "costs no memory that is not written": (method) => {
    using tracker = openTracker(2 ** 31, method);
    tracker.bytes[2 ** 31 - 1] = 1;
    tracker.bytes[2 ** 30] = 1;
    const last = 2 ** 31 / page - 1;
    assert.deepEqual(taken(tracker), [`${2 ** 30 / page}+1`, `${last}+1`]);
  },

  "keeps several apart": (method) => {
    using one = openTracker(4 * page, method);
    using other = openTracker(4 * page, method);
    one.bytes[0] = 1;
    other.bytes[3 * page] = 1;
    assert.deepEqual(taken(one), ["0+1"]);
    assert.deepEqual(taken(other), ["3+1"]);
  },

  "says what a system call can do": (method) =>
    withFile(3 * page, 7, (path) => {
      using tracker = openTracker(8 * page, method);
      const descriptor = openSync(path, "r");
      const buffer = Buffer.from(tracker.bytes.buffer, page, 3 * page);
      const read = (): number => readSync(descriptor, buffer, 0, 3 * page, 0);
      if (tracker.method === "userfaultfd") {
        assert.equal(read(), 3 * page);
        assert.deepEqual(taken(tracker), ["1+3"]);
      } else {
        assert.throws(read, (error: { code?: string }) => error.code === "EFAULT");
        buffer.fill(0);
        assert.equal(read(), 3 * page);
      }
      closeSync(descriptor);
      assert.equal(sum(tracker.bytes), 7 * 3 * page);
    }),

  "ends with its arrays": (method) => {
    const tracker = openTracker(4 * page, method);
    const { bytes } = tracker;
    const part = bytes.subarray(page);
    part[0] = 1;
    tracker[Symbol.dispose]();
    assert.deepEqual([bytes.length, part.length, part[0]], [0, 0, undefined]);
    tracker[Symbol.dispose]();
    failsWith(() => tracker.take(), Error, "CLOSED", /closed/);
  },

  "loses no write while native threads write": (method) => {
    const [threads, pages] = [4, 300];
    using tracker = openTracker(pages * page, method);
    const { bytes } = tracker;
    const start = addressOf(bytes);
    const copy = new Uint8Array(bytes.length);
    const checkpoint = (): number => {
      const ranges = tracker.take();
      for (const { address, byteLength } of ranges) {
        const offset = Number(address - start);
        copy.set(bytes.subarray(offset, offset + byteLength), offset);
      }
      return ranges.length;
    };
    let ranges = 0;
    assert.equal(symbols.fm_writers_start(threads, start, BigInt(pages)), 0);
    for (let round = 0; round < 1500; round++) {
      bytes[(round % pages) * page + 4000] = round;
      ranges += checkpoint();
    }
    const writes = symbols.fm_writers_stop(threads);
    ranges += checkpoint();
    assert.ok(Buffer.compare(copy, bytes) === 0, "a page was written and not given");
    assert.deepEqual(taken(tracker), []);
    // Everything that the threads counted is there: no page was replaced under their hands.
    const words = new BigUint64Array(bytes.buffer);
    let total = 0n;
    for (let index = 0; index < pages; index++) {
      for (let thread = 0; thread < threads; thread++) total += words[index * 512 + thread]!;
    }
    assert.equal(total, writes);
    assert.ok(ranges > 1000, String(ranges));
  },
};

const refusing: Cases = {
  "refuses lengths that are none": () => {
    for (const value of [0, -1, 0.5, NaN, Infinity, 2 ** 53]) {
      assert.throws(() => openTracker(value, "any"), RangeError);
    }
    // deno-lint-ignore no-explicit-any
    for (const value of ["1", null, undefined, 1n, {}].map((one): any => one)) {
      assert.throws(() => openTracker(value, "any"), TypeError);
    }
  },
  "refuses more than there is room for": () => {
    for (const value of [2 ** 48, 2 ** 52]) {
      assert.throws(() => openTracker(value, "any"), RangeError);
      assert.throws(() => openTracker(value, "mprotect"), RangeError);
    }
  },
};

/** Whether the kernel notes writes here. */
export const kernelTracks: boolean = ((): boolean => {
  using tracker = openTracker(1, "any");
  return tracker.method === "userfaultfd";
})();

/** All cases of one way. */
export function writeTrackerCases(method: WriteTracker["method"]): Cases {
  return Object.fromEntries(
    Object.entries(bodies).map(([name, body]) => [`${name} (${method})`, () => body(method)]),
  );
}

/** Cases that are the same for each way. */
export const refusedTrackerCases: Cases = refusing;
