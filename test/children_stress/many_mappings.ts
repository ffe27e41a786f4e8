/**
 * Every second page of a large write tracker is written: each costs two mappings, and the kernel
 * allows a process 65,530 of them.
 */
import { openTracker } from "../../lib/write_tracker.ts";
import { addressOf } from "../../mod.ts";
import { page } from "../memory_support.ts";
import { report } from "./holdings.ts";

const pages = 80_000;
using tracker = openTracker(pages * page, "mprotect");
const { bytes } = tracker;
const start = addressOf(bytes);

/** Writes the pages from `first` on, and gives how many of them `take()` did not. */
function missing(first: number): number {
  for (let index = first; index < pages; index += 2) bytes[index * page] = 1;
  const taken = new Uint8Array(pages);
  for (const { address, byteLength } of tracker.take()) {
    const from = Number(address - start) / page;
    taken.fill(1, from, from + byteLength / page);
  }
  let count = 0;
  for (let index = first; index < pages; index += 2) count += 1 - taken[index]!;
  return count;
}

report({ missing: missing(0), missingAgain: missing(1) });
