/** installCrashReporter(): its options, and the module that installs it without code. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type CrashReporterOptions, installCrashReporter } from "../mod.ts";
import { crashLibrary, freshDirectory, readReport, reportFiles } from "./crash_support.ts";
import { emulated, runtimePath, timeFactor } from "./platform_support.ts";
import { runChild, runtimeName } from "./support.ts";

test("installCrashReporter() refuses wrong options before anything is made", () => {
  const directory = join(freshDirectory(), "never");
  const wrong: readonly [unknown, typeof TypeError | typeof RangeError][] = [
    [null, TypeError],
    [{}, TypeError],
    [{ directory: "" }, TypeError],
    [{ directory: 7 }, TypeError],
    [{ directory: "a\0b" }, TypeError],
    [{ directory: "x".repeat(5000) }, TypeError],
    [{ directory: new URL("https://example.com/") }, TypeError],
    [{ directory, formats: "text" }, TypeError],
    [{ directory, formats: ["html"] }, TypeError],
    [{ directory, stderr: 1 }, TypeError],
    [{ directory, maxReports: 0 }, RangeError],
    [{ directory, maxReports: 1001 }, RangeError],
    [{ directory, maxReports: "3" }, TypeError],
    [{ directory, maxBytes: 100 }, RangeError],
    [{ directory, maxBytes: 2 ** 30 }, RangeError],
    [{ directory, deadlineMs: -1 }, RangeError],
    [{ directory, deadlineMs: Number.NaN }, RangeError],
    [{ directory, redact: "yes" }, TypeError],
    [{ directory, onDemand: "SIGTERM" }, TypeError],
  ];
  for (const [options, Kind] of wrong) {
    const install = (): Disposable => installCrashReporter(options as CrashReporterOptions);
    assert.throws(install, Kind, JSON.stringify(options));
  }
  assert.equal(existsSync(directory), false);
});

test("installCrashReporter() makes its directory for this user, and expands %p and %%", () => {
  const directory = join(freshDirectory(), "of-%p-100%%");
  {
    using _reporter = installCrashReporter({ directory: pathToFileURL(directory) });
  }
  // A URL escapes the percent signs: the name is the same.
  const made = directory.replace("%p", String(process.pid)).replace("%%", "%");
  assert.equal(statSync(made).mode & 0o777, 0o700);
});

test("installCrashReporter() takes the place of an older one until it is disposed", () => {
  const older = installCrashReporter({ directory: freshDirectory() });
  const newer = installCrashReporter({ directory: freshDirectory() });
  older[Symbol.dispose]();
  newer[Symbol.dispose]();
  newer[Symbol.dispose]();
});

test("installCrashReporter() and dumps are refused where capabilities say so", () => {
  const { stdout, stderr } = runChild("crash_unsupported");
  assert.equal(stdout, "passed\n", stderr);
});

const preload = fileURLToPath(new URL("../lib/preload.ts", import.meta.url));

/** A program that knows nothing of Faultline, and dies. */
const program = `
const library = ${JSON.stringify(crashLibrary)};
const { Deno } = globalThis;
if (Deno) {
  Deno.dlopen(library, { cf_segv: { parameters: [], result: "i32" } }).symbols.cf_segv();
} else {
  const { dlopen } = process.getBuiltinModule("bun:ffi");
  dlopen(library, { cf_segv: { args: [], returns: "i32" } }).symbols.cf_segv();
}
`;

test("lib/preload.ts reports a program that knows nothing of it", () => {
  const folder = freshDirectory();
  const file = join(folder, "program.mjs");
  writeFileSync(file, program);
  const directory = join(folder, "reports");
  const args = runtimeName() === "bun"
    ? ["--preload", preload, file]
    : ["run", "-A", "--no-check", "--preload", preload, file];
  const run = (extra: NodeJS.ProcessEnv) =>
    spawnSync(runtimePath, args, {
      encoding: "utf8",
      env: { ...process.env, FAULTLINE_DIRECTORY: directory, ...extra },
      timeout: 60_000 * timeFactor,
    });
  const { signal, stderr } = run({ FAULTLINE_FORMATS: "json,text", FAULTLINE_STDERR: "0" });
  assert.equal(signal, "SIGSEGV", stderr);
  assert.doesNotMatch(stderr, /FAULTLINE/);
  assert.deepEqual(Object.keys(reportFiles(directory)).sort(), ["json", "txt"]);
  // Lines need another process, which the emulator does not start.
  const place = emulated ? /cf_segv\+0x\w+ \(crash_fixture\.so\)/ : /read_word at crash_fixture\.c/;
  assert.match(readFileSync(reportFiles(directory).txt!, "utf8"), place);
  assert.equal(readReport(directory).exception.code, "SEGV_MAPERR");

  const refused = run({ FAULTLINE_MAX_REPORTS: "many" });
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /FAULTLINE_MAX_REPORTS .*whole number/);
});
