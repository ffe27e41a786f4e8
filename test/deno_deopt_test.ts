/**
 * Deno aborts the process when a native function with a result calls back into JavaScript and that
 * invalidates the optimised caller (denoland/deno issue 31122). Guarded functions have no result on
 * the native side in Deno, so they survive.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";

import { runChild } from "./child_process.ts";
import { runtimeName } from "./support.ts";

const isDeno = runtimeName() === "deno";

async function assertSurvives(way: string): Promise<void> {
  const { status, stdout, stderr } = await runChild("deopt", [way]);
  assert.deepEqual({ status, stdout }, { status: 0, stdout: "passed\n" }, stderr.slice(0, 2000));
}

test("dlopen() survives a callback that invalidates the optimised caller", async () => {
  await assertSurvives("faultline");
});

test("a plain call without a result survives it", () => assertSurvives("void"));

test("a plain call with a result survives it in Bun", { skip: isDeno }, async () => {
  await assertSurvives("plain");
});

// The proof that the first test can fail; when this one does, Deno has mended it.
test("a plain call with a result aborts Deno", { skip: !isDeno }, async () => {
  const { status, stdout, stderr } = await runChild("deopt", ["plain"]);
  assert.deepEqual({ status, stdout }, { status: 133, stdout: "" });
  assert.match(stderr, /Lazy deopt after a fast API call with return value/);
});
