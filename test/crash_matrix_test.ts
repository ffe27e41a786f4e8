/** Seven signals, on the main thread, in a Worker and on a foreign thread: what is reported. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  crashChild,
  crashLibrary,
  faultLine,
  freshDirectory,
  plainEnd,
  readReport,
  reportFiles,
} from "./crash_support.ts";
import { needsPython, runPython } from "./reader_support.ts";

const places = ["main", "worker", "thread"] as const;

/** By function: the signal, its code, the exception's type, and the function that faults. */
const faults = {
  cf_segv: ["SIGSEGV", "SEGV_MAPERR", "access-violation", "read_word"],
  cf_bus: ["SIGBUS", "BUS_ADRERR", "bus-error", "cf_bus"],
  cf_fpe: ["SIGFPE", "FPE_INTDIV", "arithmetic", "cf_fpe"],
  cf_ill: ["SIGILL", "ILL_ILLOPN", "illegal-instruction", "cf_ill"],
  cf_trap: ["SIGTRAP", "SI_KERNEL", "breakpoint", "cf_trap"],
  cf_abort: ["SIGABRT", "SI_TKILL", "abort", "cf_abort"],
  cf_sys: ["SIGSYS", "SYS_SECCOMP", "policy", "cf_sys"],
  cf_overflow: ["SIGSEGV", "SEGV_MAPERR", "stack-overflow", "cf_recurse"],
} as const;

/** What the kernel says about the guard of a stack that pthread made. */
const threadCodes: Readonly<Record<string, string>> = { cf_overflow: "SEGV_ACCERR" };

const schema = fileURLToPath(new URL("crash_report.schema.json", import.meta.url));
const validate = `
import json, sys, jsonschema
jsonschema.Draft202012Validator(json.load(open(sys.argv[1]))).validate(json.load(open(sys.argv[2])))
print("valid")`;

const open = `
import sys, logging
logging.disable(logging.CRITICAL)
from minidump.minidumpfile import MinidumpFile
dump = MinidumpFile.parse(sys.argv[1])
record = dump.exception.exception_records[0]
print(record.ThreadId, record.ExceptionRecord.ExceptionCode_raw,
      hex(record.ExceptionRecord.ExceptionAddress), len(dump.threads.threads),
      any(m.name == sys.argv[2] for m in dump.modules.modules))`;

for (const where of places) {
  for (const [name, [signal, ownCode, type, symbol]] of Object.entries(faults)) {
    // A foreign thread has no alternate stack: the kernel ends the process at once.
    if (where === "thread" && name === "cf_overflow") continue;
    test(`installCrashReporter() reports ${name} (${where})`, needsPython, () => {
      const directory = freshDirectory();
      const job = { library: crashLibrary, function: name, where, options: { directory } };
      const result = crashChild(job);
      const said = JSON.stringify(result);
      assert.deepEqual(
        { status: result.status, signal: result.signal },
        plainEnd(name),
        said,
      );
      assert.equal(result.stdout, "about to die\n", said);
      const code = where === "main" ? ownCode : threadCodes[name] ?? ownCode;
      const place = `crash_fixture.c:${faultLine(name)}`;
      checkText(result.stderr, { signal, code, symbol, place, isAbort: name === "cf_abort" });

      const files = reportFiles(directory);
      assert.deepEqual(Object.keys(files).sort(), ["dmp", "json", "txt"]);
      const text = readFileSync(files.txt!, "utf8");
      checkText(text, { signal, code, symbol, place, isAbort: name === "cf_abort" });
      assert.equal(runPython(validate, schema, files.json!), "valid\n");
      const report = readReport(directory);
      assert.deepEqual(
        [report.exception.signal, report.exception.code, report.exception.type],
        [signal, code, type],
      );
      assert.equal(report.reason, "crash");
      assert.deepEqual(report.stages, []);
      assert.equal(report.threadsSkipped, null);
      assert.ok(report.threads.length > 0);
      const frame = report.backtrace.find((one) => one.symbol === symbol);
      assert.deepEqual([frame?.module, frame?.line], [crashLibrary, faultLine(name)]);
      const module = report.modules.find(({ path }) => path === crashLibrary);
      assert.match(module?.buildId ?? "", /^[0-9a-f]{8,}$/);

      const [thread, number, , threads, hasModule] = runPython(open, files.dmp!, crashLibrary)
        .trim().split(" ");
      assert.equal(Number(thread), report.exception.threadId);
      assert.equal(Number(number), numbers[signal]);
      assert.equal(Number(threads), report.threads.length + 1);
      assert.equal(hasModule, "True");
    });
  }
}

test("a stack overflow without an alternate stack ends the process as it always did", () => {
  const directory = freshDirectory();
  const options = { directory };
  const result = crashChild({
    library: crashLibrary,
    function: "cf_overflow",
    where: "thread",
    options,
  });
  const { status, signal } = result;
  assert.deepEqual({ status, signal }, plainEnd("cf_overflow"), JSON.stringify(result));
  assert.deepEqual([signal, result.stdout], ["SIGSEGV", "about to die\n"]);
  // The kernel finds no stack for a handler: nobody is asked, and there is nothing to report with.
  assert.deepEqual([readdirSync(directory), result.stderr], [[], ""]);
});

const numbers = {
  SIGSEGV: 11,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGSYS: 31,
} as const;

interface Expected {
  readonly signal: string;
  readonly code: string;
  readonly symbol: string;
  readonly place: string;
  readonly isAbort: boolean;
}

/** Library, function and line; a line to search for at the end. */
function checkText(text: string, { signal, code, symbol, place, isAbort }: Expected): void {
  assert.match(text, new RegExp(`^==\\d+==FAULTLINE: ${signal} \\(${code}\\)`, "m"));
  const frame = new RegExp(
    `^  #\\d+ +0x[0-9a-f]+ ${symbol} .*${place}(?::\\d+)? \\(crash_fixture.so\\)`,
    "m",
  );
  assert.match(text, frame);
  const last = text.trimEnd().split("\n").at(-1)!;
  assert.match(last, new RegExp(`^SUMMARY: FAULTLINE: .*${signal} \\(${code}\\) in `));
  // abort() raises the signal deep in the C library.
  if (!isAbort) assert.ok(last.includes(`${symbol} at ${place}`) || signal === "SIGSYS", last);
}

test("installCrashReporter() keeps the newest reports only", () => {
  const directory = freshDirectory();
  const options = { directory, maxReports: 2, formats: ["text", "json"] as const };
  const job = { library: crashLibrary, function: "cf_fpe", where: "main", options } as const;
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    assert.equal(crashChild(job).signal, "SIGFPE");
    seen.push(...ids(directory).filter((id) => !seen.includes(id)));
  }
  assert.equal(seen.length, 3);
  assert.deepEqual(ids(directory), seen.sort().slice(1));
});

test("installCrashReporter() counts reports that were sent, and leaves their marks", () => {
  const directory = freshDirectory();
  const options = { directory, maxReports: 2, formats: ["text", "json"] as const };
  const job = { library: crashLibrary, function: "cf_fpe", where: "main", options } as const;
  const old = "20200101T000000-1-1-0";
  // A mark whose report is gone, and more reports than are wanted, from a time without a limit.
  writeFileSync(join(directory, "20200101T000001-1-1-0.sent"), "");
  for (let index = 0; index < 1100; index++) {
    const id = `20190101T000000-1-${String(index).padStart(4, "0")}-0`;
    writeFileSync(join(directory, `${id}.json`), "");
  }
  for (const ending of ["json", "txt", "dmp", "sent"]) {
    writeFileSync(join(directory, `${old}.${ending}`), "");
  }
  assert.equal(crashChild(job).signal, "SIGFPE");
  const [newest] = ids(directory).slice(-1);
  assert.deepEqual(readdirSync(directory).sort(), [
    ...["dmp", "json", "sent", "txt"].map((ending) => `${old}.${ending}`),
    "20200101T000001-1-1-0.sent",
    ...["json", "txt"].map((ending) => `${newest}.${ending}`),
  ]);
  assert.equal(crashChild(job).signal, "SIGFPE");
  const left = readdirSync(directory).sort();
  assert.equal(left.length, 6, left.join());
  assert.deepEqual(left.slice(0, 2), [`${old}.sent`, "20200101T000001-1-1-0.sent"]);
  assert.ok(left.includes(`${newest}.json`), left.join());
});

/** The ids of a directory's reports, oldest first. */
function ids(directory: string): string[] {
  const names = readdirSync(directory).map((name) => name.slice(0, name.indexOf(".")));
  return [...new Set(names)].sort();
}
