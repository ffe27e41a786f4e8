/** What needs the crash reporter, where there is none: this program claims to run there. */
import { strict as assert } from "node:assert";
import { existsSync } from "node:fs";
import process from "node:process";

const arch = "riscv64";
Object.defineProperty(process, "arch", { value: arch });
const { Deno } = globalThis as unknown as { readonly Deno?: { readonly build: object } };
if (Deno !== undefined) {
  Object.defineProperty(Deno, "build", { value: { ...Deno.build, arch } });
}
const { capabilities, dumpLater, dumpThreads, installCrashReporter } = await import("../../mod.ts");
const { available, reason } = capabilities.crashReporter;
assert.deepEqual([available, reason], [false, "there is no native library for linux-riscv64 yet"]);
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
