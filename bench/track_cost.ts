/**
 * What the first write to a page of tracked memory costs, against the C way: pages without the
 * right to write, and a SIGSEGV handler that notes the page, calls mprotect, and does nothing else.
 *
 *     bun bench/track_cost.ts
 *     deno run --allow-all bench/track_cost.ts
 *
 * - plain: writes to memory that nobody tracks.
 * - C: the bare handler.
 * - mprotect, userfaultfd: `trackWrites`, in each of its ways. Only the writes are timed, from
 *   native code; `take()` before each round watches all pages again.
 * - take: what `take()` costs, per page that it gives.
 */
import { openTracker, type TrackingMethod } from "../lib/write_tracker.ts";
import { addressOf, dlopen } from "../mod.ts";
import {
  fixturePath,
  interleave,
  median,
  nanoseconds,
  perRound,
  plainLibrary,
  printTable,
  runtimeName,
} from "./measure.ts";

const aim = 1.1;
const rounds = 201;
const pages = 256;
const byteLength = pages * 4096;

const fixture = plainLibrary(fixturePath().replace(/fixture\.so$/, "memory_fixture.so"), {
  fm_touch_pages: { parameters: ["u64", "u64"], result: "f64" },
  fm_touch_noted: { parameters: ["u64", "u64"], result: "f64" },
});
using system = dlopen("libc.so.6", {
  mmap: { parameters: ["address", "usize", "i32", "i32", "i32", "i64"], result: "address" },
});

/** Memory of its own, every page of it written once. */
function plainMemory(): bigint {
  const anonymousPrivate = 0x22;
  const address = system.symbols.mmap(null, byteLength, 3, anonymousPrivate, -1, 0);
  fixture.fm_touch_pages(address, BigInt(pages));
  return address;
}

function touch(name: "fm_touch_pages" | "fm_touch_noted", address: bigint): number {
  const time = fixture[name](address, BigInt(pages)) as number;
  if (time < 0) throw new Error("the bare handler has not noted every page");
  return time / pages;
}

/** One way: what the writes cost, and what `take()` does. */
function candidate(method: TrackingMethod): { write: () => number; take: () => number } {
  const tracker = openTracker(byteLength, method);
  const address = addressOf(tracker.bytes);
  const take = (): number => {
    const start = performance.now();
    const ranges = tracker.take();
    const time = (performance.now() - start) * 1e6 / pages;
    if (ranges.length !== 1 || ranges[0]!.byteLength !== byteLength) {
      throw new Error(`${method} gave ${ranges.length} ranges where every page was written`);
    }
    return time;
  };
  touch("fm_touch_pages", address);
  const write = (): number => {
    take();
    return touch("fm_touch_pages", address);
  };
  const takeAgain = (): number => {
    const time = take();
    touch("fm_touch_pages", address);
    return time;
  };
  return { write, take: takeAgain };
}

/** Whether the system has the better way. */
function kernelTracks(): boolean {
  using tracker = openTracker(1, "any");
  return tracker.method === "userfaultfd";
}

const plain = plainMemory();
const noted = plainMemory();
const byProtection = candidate("mprotect");
const candidates: Record<string, () => number> = {
  plain: () => touch("fm_touch_pages", plain),
  C: () => touch("fm_touch_noted", noted),
  mprotect: byProtection.write,
  "take after mprotect": byProtection.take,
};
if (kernelTracks()) {
  const byKernel = candidate("userfaultfd");
  candidates["userfaultfd"] = byKernel.write;
  candidates["take after userfaultfd"] = byKernel.take;
} else {
  console.log("userfaultfd is left out: this system has no asynchronous write protection");
}
const samples = interleave(candidates, rounds);

const ratio = (name: string): string =>
  perRound((one, base) => one / base, samples[name]!, samples["C"]!).toFixed(2);
console.log(`First writes to ${pages} pages under ${runtimeName}; nanoseconds per page`);
printTable(
  ["what", "min", "median", "over C", "aim"],
  Object.entries(samples).map(([name, values]) => [
    name,
    nanoseconds(Math.min(...values)),
    nanoseconds(median(values)),
    ratio(name),
    name === "mprotect" || name === "userfaultfd" ? aim.toFixed(1) : "",
  ]),
);
console.log(`${rounds} rounds; ratios are medians over rounds.\n`);
