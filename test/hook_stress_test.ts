/** Hooks over a long time, on many threads at once. Each runs in a child. */
import { strict as assert } from "node:assert";
import { test } from "node:test";

import { assertNoGrowth, childResult, type Growth } from "./child_process.ts";
import { emulated, sharedMappings } from "./platform_support.ts";

const rounds = emulated ? 4000 : 100_000;
/** An emulator keeps what it translated, for some thousand rounds more and more. */
const bounds = emulated ? { residentMibMax: 64 } : {};

for (const where of ["main", "worker"] as const) {
  test(`a JavaScript hook mends, or throws, ${rounds} times in ${where}`, async () => {
    const args = [String(rounds), where];
    const result = await childResult<Growth & { hits: number }>("hook_rounds", args, {
      timeoutMs: 240_000,
    });
    assert.equal(result.hits, rounds);
    assertNoGrowth(result, bounds);
  });
}

interface Threads {
  readonly results: readonly unknown[];
  readonly added: number;
}

test("H44 hooks come and go while four Workers run theirs", sharedMappings, async () => {
  const result = await childResult<Threads>("hook_threads", ["4", "2000"], { timeoutMs: 120_000 });
  assert.deepEqual(result.results, [2000, 2000, 2000, 2000]);
  assert.ok(result.added > 100, String(result.added));
});

test("H44 the handler is there as long as any thread has a hook", async () => {
  const result = await childResult<unknown>("hook_installs", ["1", emulated ? "2000" : "20000"]);
  assert.deepEqual(result, { missing: [0, 0], restored: true });
});

test("Workers may be terminated in the middle of a hook", async () => {
  const result = await childResult<Threads>("hook_threads", ["2", "1", "spin"]);
  assert.deepEqual(result.results, ["started", "started"]);
});

test("Workers may be terminated while they fault, mend and throw", sharedMappings, async () => {
  const args = ["4", "3000", "terminate"];
  const result = await childResult<Threads>("hook_threads", args, { timeoutMs: 120_000 });
  assert.deepEqual(result.results, ["started", "started", "started", "started"]);
});
