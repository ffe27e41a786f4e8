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
import { muslHasNoUnwindTables, notOnMusl } from "./musl_support.ts";
import {
  arm64,
  either,
  emulated,
  needsDivision,
  needsHelpers,
  noFilters,
  type Skip,
  x64Only,
} from "./platform_support.ts";
import { needsPython, runPython } from "./reader_support.ts";
import type { ChildResult } from "./support.ts";

const places = ["main", "worker", "thread"] as const;

/** What the kernel says on each architecture, and an emulator in its place. */
const codes = {
  illegal: arm64 && !emulated ? "ILL_ILLOPC" : "ILL_ILLOPN",
  breakpoint: arm64 ? "TRAP_BRKPT" : "SI_KERNEL",
  overflow: emulated ? "SEGV_ACCERR" : "SEGV_MAPERR",
} as const;

/** Exceptions that are none everywhere. */
const skips: Readonly<Record<string, Skip>> = {
  cf_fpe: needsDivision,
  cf_sys: either(noFilters, notOnMusl(muslHasNoUnwindTables)),
  cf_abort: notOnMusl(muslHasNoUnwindTables),
};

/** By function: the signal, its code, the exception's type, and the function that faults. */
const faults = {
  cf_segv: ["SIGSEGV", "SEGV_MAPERR", "access-violation", "read_word"],
  cf_bus: ["SIGBUS", "BUS_ADRERR", "bus-error", "cf_bus"],
  cf_fpe: ["SIGFPE", "FPE_INTDIV", "arithmetic", "cf_fpe"],
  cf_ill: ["SIGILL", codes.illegal, "illegal-instruction", "cf_ill"],
  cf_trap: ["SIGTRAP", codes.breakpoint, "breakpoint", "cf_trap"],
  cf_abort: ["SIGABRT", "SI_TKILL", "abort", "cf_abort"],
  cf_sys: ["SIGSYS", "SYS_SECCOMP", "policy", "cf_sys"],
  cf_overflow: ["SIGSEGV", codes.overflow, "stack-overflow", "cf_recurse"],
} as const;

/** Lines and other threads' stacks take another process. */
const hasHelpers = needsHelpers.skip === false;

/** Without debug information a function that is not exported has no name: its caller has. */
function exportedName(name: string, symbol: string): string {
  return symbol === "read_word" ? name : symbol;
}

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
    const skip = skips[name] ?? { skip: false };
    const directory = freshDirectory();
    const job = { library: crashLibrary, function: name, where, options: { directory } };
    let crashed: ChildResult | undefined;
    const crash = (): ChildResult => crashed ??= crashChild(job);

    test(`installCrashReporter() reports ${name} (${where})`, skip, () => {
      const result = crash();
      const said = JSON.stringify(result);
      assert.deepEqual(
        { status: result.status, signal: result.signal },
        plainEnd(name, signal),
        said,
      );
      assert.equal(result.stdout, "about to die\n", said);
      const code = where === "main" ? ownCode : threadCodes[name] ?? ownCode;
      const place = `crash_fixture.c:${faultLine(name)}`;
      const shown = hasHelpers ? symbol : exportedName(name, symbol);
      const expected = { signal, code, symbol: shown, place, isAbort: name === "cf_abort" };
      checkText(result.stderr, expected);

      const files = reportFiles(directory);
      assert.deepEqual(Object.keys(files).sort(), ["dmp", "json", "txt"]);
      const text = readFileSync(files.txt!, "utf8");
      checkText(text, expected);
      const report = readReport(directory);
      assert.deepEqual(
        [report.exception.signal, report.exception.code, report.exception.type],
        [signal, code, type],
      );
      assert.equal(report.reason, "crash");
      assert.deepEqual(report.stages, []);
      assert.ok(report.threads.length > 0);
      if (hasHelpers) {
        assert.equal(report.threadsSkipped, null);
        // One that ends meanwhile, or that the kernel does not stop in time, has none.
        assert.ok(report.threads.some(({ backtrace }) => backtrace.length > 0));
      } else assert.match(report.threadsSkipped ?? "", /refused to start the process/);
      const frame = report.backtrace.find((one) => one.symbol === shown);
      assert.deepEqual(
        [frame?.module, frame?.line],
        [crashLibrary, hasHelpers ? faultLine(name) : null],
      );
      const module = report.modules.find(({ path }) => path === crashLibrary);
      assert.match(module?.buildId ?? "", /^[0-9a-f]{8,}$/);
    });

    test(`the JSON of ${name} keeps to its schema (${where})`, either(skip, needsPython), () => {
      crash();
      assert.equal(runPython(validate, schema, reportFiles(directory).json!), "valid\n");
    });

    // Its tables of processors end before arm64: crash_tools_test.ts has readers that know it.
    const needsReader = either(
      skip,
      x64Only("the package `minidump` knows its dumps"),
      needsPython,
    );
    test(`the package \`minidump\` reads the dump of ${name} (${where})`, needsReader, () => {
      crash();
      const files = reportFiles(directory);
      const report = readReport(directory);
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
  assert.deepEqual({ status, signal }, plainEnd("cf_overflow", "SIGSEGV"), JSON.stringify(result));
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
  const where = hasHelpers ? ` .*${place}(?::\\d+)?` : "\\+0x[0-9a-f]+";
  const frame = new RegExp(`^  #\\d+ +0x[0-9a-f]+ ${symbol}${where} \\(crash_fixture.so\\)`, "m");
  assert.match(text, frame);
  const last = text.trimEnd().split("\n").at(-1)!;
  assert.match(last, new RegExp(`^SUMMARY: FAULTLINE: .*${signal} \\(${code}\\) in `));
  // abort() raises the signal deep in the C library.
  if (isAbort || signal === "SIGSYS") return;
  assert.ok(last.includes(hasHelpers ? `${symbol} at ${place}` : "crash_fixture.so"), last);
}

test("installCrashReporter() keeps the newest reports only", () => {
  const directory = freshDirectory();
  const options = { directory, maxReports: 2, formats: ["text", "json"] as const };
  const job = { library: crashLibrary, function: "cf_bus", where: "main", options } as const;
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    assert.equal(crashChild(job).signal, "SIGBUS");
    seen.push(...ids(directory).filter((id) => !seen.includes(id)));
  }
  assert.equal(seen.length, 3);
  assert.deepEqual(ids(directory), seen.sort().slice(1));
});

test("installCrashReporter() counts reports that were sent, and leaves their marks", () => {
  const directory = freshDirectory();
  const options = { directory, maxReports: 2, formats: ["text", "json"] as const };
  const job = { library: crashLibrary, function: "cf_bus", where: "main", options } as const;
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
  assert.equal(crashChild(job).signal, "SIGBUS");
  const [newest] = ids(directory).slice(-1);
  assert.deepEqual(readdirSync(directory).sort(), [
    ...["dmp", "json", "sent", "txt"].map((ending) => `${old}.${ending}`),
    "20200101T000001-1-1-0.sent",
    ...["json", "txt"].map((ending) => `${newest}.${ending}`),
  ]);
  assert.equal(crashChild(job).signal, "SIGBUS");
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
