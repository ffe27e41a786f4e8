/** Faults on many threads at once, and threads that come and go. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";

import { assertNoGrowth, type Bounds, childResult, type Growth } from "./child_process.ts";
import { emulated } from "./platform_support.ts";
import { runtimeName } from "./support.ts";

interface Done {
  readonly caught: number;
  readonly threadIds: readonly number[];
}

/** Every thread caught all of its own faults, and on itself only. */
function assertAllCaught(threads: readonly Done[], count: number, faults: number): void {
  assert.deepEqual(threads.map(({ caught }) => caught), Array(count).fill(faults));
  const threadIds = threads.flatMap((thread) => thread.threadIds);
  assert.equal(threadIds.length, count);
  assert.equal(new Set(threadIds).size, count);
}

interface Churn extends Growth {
  readonly slotsBefore: number;
  readonly slotsAfter: number;
  readonly stacksMax: number;
}

/**
 * Both runtimes keep memory of ended Workers for the next ones, so that these bounds are wide. A
 * leak of one mapping a Worker would be 150 and more; alternate stacks are counted to the last.
 */
// An emulator keeps what it translated.
const bounds: Bounds = { residentMibMax: emulated ? 1024 : 128, mapsMax: 120 };

function assertNothingLeft(result: Churn): void {
  const details = JSON.stringify(result);
  assert.equal(result.slotsAfter, result.slotsBefore, details);
  assert.equal(result.after.workerThreads, 0, details);
  // The count below would prove nothing if it could not see the stacks of running Workers.
  assert.ok(result.stacksMax > result.after.alternateStacks, details);
  assertNoGrowth(result, bounds);
}

describe("threads that fault at the same time", () => {
  test("H17 catch 2,000 faults each of differing kinds, each its own", async () => {
    const args = ["4", "2000", "mixed"];
    assertAllCaught(await childResult<Done[]>("worker_faults", args), 5, 2000);
  });

  test("catch 50,000 faults each with the right address during garbage collection", async () => {
    const args = ["4", "50000", "reads"];
    assertAllCaught(await childResult<Done[]>("worker_faults", args), 5, 50_000);
  });
});

describe("Workers that come and go", () => {
  test("leave no slot, stack or thread behind after 200, 8 at a time", async () => {
    const options = { timeoutMs: 120_000 };
    assertNothingLeft(await childResult<Churn>("worker_churn", ["200", "8"], options));
  });

  // More Workers than the thread table has entries, where that many start within a minute; Deno
  // takes 60 ms for each.
  const count = runtimeName() === "bun" ? 1100 : 150;
  test(`leave nothing behind after ${count} small ones`, async () => {
    const args = [String(count), "8", "tiny"];
    const result = await childResult<Churn>("worker_churn", args, { timeoutMs: 120_000 });
    assert.equal(result.slotsAfter, result.slotsBefore);
    assert.equal(result.after.workerThreads, 0);
    assertNoGrowth(result, bounds);
  });
});
