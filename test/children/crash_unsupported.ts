/** What needs the crash reporter, where it is not ported to: this program claims to run there. */
import { strict as assert } from "node:assert";
import { existsSync } from "node:fs";
import process from "node:process";

Object.defineProperty(process, "arch", { value: "arm64" });
const { capabilities, dumpLater, dumpThreads, installCrashReporter } = await import("../../mod.ts");
const { available, reason } = capabilities.crashReporter;
assert.deepEqual([available, reason], [false, "the crash reporter is not ported to arm64 yet"]);
const directory = "/tmp/faultline-never-made";
for (
  const body of [
    () => installCrashReporter({ directory }),
    () => dumpThreads(),
    () => dumpLater(1000),
  ]
) {
  assert.throws(body, (error: Error & { code: string }) => {
    assert.equal(error.code, "NOT_SUPPORTED");
    assert.ok(error.message.endsWith(` as ${reason}`), error.message);
    return true;
  });
}
assert.equal(existsSync(directory), false);
console.log("passed");
