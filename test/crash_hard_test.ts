/** Crashes that hurt the crash reporter itself: the process ends in time, by the true signal. */
import { strict as assert } from "node:assert";
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { crashFormat, sabotage } from "../lib/abi.ts";
import type { CrashJob } from "./children/crash.ts";
import { needs } from "./compile_support.ts";
import { notOnMusl } from "./musl_support.ts";
import { either, notEmulated, timeFactor } from "./platform_support.ts";
import {
  crashChild,
  crashCommand,
  crashLibrary,
  freshDirectory,
  readReport,
  reportFiles,
} from "./crash_support.ts";

function job(directory: string, name: string, more: Partial<CrashJob> = {}): CrashJob {
  return { library: crashLibrary, function: name, where: "main", options: { directory }, ...more };
}

const hard = {
  cf_bad_stack: "a stack pointer that leads nowhere",
  cf_bad_frame: "a frame pointer that leads nowhere",
  cf_in_loader: "the loader's lock held",
  cf_in_malloc: "the allocator's lock held",
  cf_full_alternate_stack: "an alternate stack that is nearly used up",
};

for (const [name, what] of Object.entries(hard)) {
  const skip = name === "cf_in_malloc" ? notOnMusl("musl does not notice that damage") : {};
  test(`installCrashReporter() reports a fault with ${what}`, skip, () => {
    const directory = freshDirectory();
    const result = crashChild(job(directory, name));
    // The C library may find its heap damaged before the processor does.
    const signals = name === "cf_in_malloc" ? ["SIGSEGV", "SIGABRT"] : ["SIGSEGV"];
    assert.ok(signals.includes(result.signal!), JSON.stringify(result));
    assert.match(result.stderr, /^SUMMARY: FAULTLINE: /m);
    const report = readReport(directory);
    assert.equal(report.exception.signal, result.signal);
    assert.deepEqual(report.stages, []);
    assert.ok(report.backtrace.length > 0);
  });
}

const redirections = {
  "is closed": "2>&-",
  "is full": "2>/dev/full",
  "is a pipe that nobody reads": "2>&3",
};

for (const [what, shell] of Object.entries(redirections)) {
  // The emulator waits for ever to say there which signal it dies of.
  const skip = shell === "2>&3" ? notEmulated("it writes there itself") : { skip: false };
  test(`installCrashReporter() writes files when standard error ${what}`, skip, () => {
    const directory = freshDirectory();
    const fifo = join(directory, "fifo");
    const filled = `mkfifo ${fifo}; exec 3<>${fifo}; head -c 65536 /dev/zero >&3;`;
    const before = shell === "2>&3" ? filled : "";
    const out = join(directory, "reports");
    const result = crashChild(job(out, "cf_segv"), { shell, before });
    assert.equal(result.signal, "SIGSEGV", JSON.stringify(result));
    assert.deepEqual(Object.keys(reportFiles(out)).sort(), ["dmp", "json", "txt"]);
    assert.equal(readReport(out).exception.code, "SEGV_MAPERR");
  });
}

test("installCrashReporter() dies by the true signal when no file can grow", () => {
  const directory = freshDirectory();
  const result = crashChild(job(directory, "cf_segv", { fileLimit: true }));
  assert.equal(result.signal, "SIGSEGV", JSON.stringify(result));
  assert.match(result.stderr, /could not be written anywhere/);
  assert.match(result.stderr, /^\{"format":"faultline\.crash"/m);
  assert.deepEqual(readdirSync(directory), []);
});

test("installCrashReporter() writes to the working directory when its own is gone", () => {
  const directory = freshDirectory();
  const cwd = freshDirectory();
  const result = crashChild(job(directory, "cf_segv", { removeDirectory: true }), { cwd });
  assert.equal(result.signal, "SIGSEGV", JSON.stringify(result));
  assert.match(result.stderr, /is in the working directory/);
  assert.equal(existsSync(directory), false);
  assert.equal(readReport(cwd).exception.signal, "SIGSEGV");
});

const deadlineMs = 1500 * Math.min(timeFactor, 3);
const stageCount = 15;
const jsonStage = 14;

for (let stage = 1; stage <= stageCount; stage++) {
  for (const how of ["fault", "endless"] as const) {
    test(`installCrashReporter() survives its stage ${stage}: ${how}`, () => {
      const directory = freshDirectory();
      const options = { directory, deadlineMs };
      const sabotaged = [stage, sabotage[how]] as const;
      const result = crashChild(job(directory, "cf_segv", { options, sabotage: sabotaged }));
      assert.equal(result.signal, "SIGSEGV", JSON.stringify(result));
      const files = Object.keys(reportFiles(directory));
      const reason = how === "fault" ? "fault" : "deadline";
      // Without its own stage there is no file; and what comes behind it cannot be told in it.
      const expected = stage < jsonStage ? [reason] : [];
      const stages = stage === jsonStage ? [] : readReport(directory).stages;
      assert.deepEqual(stages.map((one) => one.reason), expected);
      assert.equal(files.includes("json"), stage !== jsonStage);
      assert.ok(files.length >= 2, files.join());
    });
  }
}

test("installCrashReporter() survives a stage that gives up by abort()", () => {
  const directory = freshDirectory();
  const options = { directory };
  const sabotaged = [3, sabotage.abort] as const;
  const result = crashChild(job(directory, "cf_bus", { options, sabotage: sabotaged }));
  assert.equal(result.signal, "SIGBUS", JSON.stringify(result));
  assert.deepEqual(readReport(directory).stages, [{ stage: "frames", reason: "fault" }]);
});

test("a report holds neither the environment nor the heap", () => {
  for (const redact of [false, true]) {
    const directory = freshDirectory();
    const secret = ["canary", "of", "the", "environment"].join("-");
    const env = { FAULTLINE_CANARY: secret };
    const result = crashChild(job(directory, "cf_segv", { options: { directory, redact } }), {
      env,
    });
    assert.equal(result.signal, "SIGSEGV");
    for (const path of Object.values(reportFiles(directory))) {
      const bytes = readFileSync(path, "latin1");
      for (const text of [secret, "canary-of-the-heap"]) {
        assert.equal(bytes.includes(text), false, `${text} in ${path}`);
        assert.equal(bytes.includes([...text].join("\0")), false, `${text} in ${path}`);
      }
    }
    assert.ok(readFileSync(reportFiles(directory).txt!, "utf8").includes("no environment"));
  }
});

test("installCrashReporter() cuts stacks first to keep a dump small", () => {
  const directory = freshDirectory();
  const options = { directory, maxBytes: 24 * 1024, formats: ["minidump", "json"] as const };
  assert.equal(crashChild(job(directory, "cf_segv", { options })).signal, "SIGSEGV");
  const dump = readFileSync(reportFiles(directory).dmp!);
  assert.ok(dump.byteLength <= 24 * 1024 && dump.byteLength > 4096, String(dump.byteLength));
  assert.equal(dump.subarray(0, 4).toString(), "MDMP");
  assert.equal(crashFormat.minidump, 4);
});

test("onDemand writes a report while native code runs, and the process goes on", async () => {
  const directory = freshDirectory();
  const options = { directory, onDemand: "SIGUSR2" } as const;
  const [program, ...args] = crashCommand(job(directory, "cf_sleep", { options }));
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    if (text.includes("about to die")) setTimeout(() => process.kill(child.pid!, "SIGUSR2"), 500);
  });
  child.stderr.resume();
  const ended = await new Promise((resolve) =>
    child.on("close", (status, signal) => resolve({ status, signal }))
  );
  assert.deepEqual(ended, { status: 0, signal: null });
  assert.match(said, /survived/);
  const report = readReport(directory);
  assert.deepEqual([report.reason, report.exception.signal], ["on-demand", null]);
});

/** The list of docs/crash_reports.md. */
function listedCalls(): ReadonlySet<string> {
  const text = readFileSync(new URL("../docs/crash_reports.md", import.meta.url), "utf8");
  const [, list] = /<!-- system calls of the handler -->\s+```\n([\s\S]*?)```/.exec(text)!;
  return new Set(list!.trim().split(/\s+/));
}

const needsTracer = either(notEmulated("its own system calls are traced"), needs("strace"));

test("the handler makes the listed system calls only", needsTracer, () => {
  const directory = freshDirectory();
  const log = join(directory, "strace");
  const options = { directory: join(directory, "reports"), maxReports: 1 };
  mkdirSync(options.directory);
  writeFileSync(join(options.directory, "20200101T000000-1-1-0.json"), "");
  const tracer = ["strace", "-o", log, "-e", "trace=all"];
  const result = crashChild(job(directory, "cf_segv", { options }), { tracer });
  assert.equal(result.signal, "SIGSEGV", JSON.stringify(result));
  const lines = readFileSync(log, "utf8").split("\n");
  const start = lines.findIndex((line) => /^--- SIGSEGV .*si_addr=0x10\b/.test(line));
  assert.ok(start >= 0, "no SIGSEGV in the trace");
  const calls = lines.slice(start + 1).flatMap((line) => /^(\w+)\(/.exec(line)?.[1] ?? []);
  for (const name of ["renameat2", "unlinkat"]) assert.ok(calls.includes(name), calls.join());
  const listed = listedCalls();
  assert.deepEqual(calls.filter((name) => !listed.has(name)), []);
});
