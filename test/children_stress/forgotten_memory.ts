/** Mapped files and write trackers that are dropped without an end: their places must come back. */
import { openTracker } from "../../lib/write_tracker.ts";
import { mapFile } from "../../mod.ts";
import { holders, page, withFile } from "../memory_support.ts";
import { eventually, report } from "./holdings.ts";

/** Forgets some, in a function of its own, so that no register keeps the last one. */
function forget(path: string, count: number, made: () => { readonly bytes: Uint8Array }): number {
  let opened = 0;
  for (let index = 0; index < count; index++) {
    made().bytes[0] = 1;
    opened += 1;
  }
  return path === "" ? 0 : opened;
}

/** Only a view is left of this one. */
function keepView(path: string): Uint8Array {
  return mapFile(path).bytes.subarray(page, page + 10);
}

await withFile(2 * page, 7, async (path) => {
  const view = keepView(path);
  let mapped = 0;
  let tracked = 0;
  for (let round = 0; round < 10; round++) {
    mapped += forget(path, 400, () => mapFile(path));
    tracked += forget(path, 400, () => openTracker(page, "mprotect"));
    // Collectors that scan the stack may keep a few.
    await eventually(() => holders(path) < 100, 100);
  }
  report({ kept: view[0]!, mapped, tracked, mappings: holders(path) < 100 });
});
