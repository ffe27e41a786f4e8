/** The text of reports: its parts, its width, its colour, and the signature. */
import { strict as assert } from "node:assert";
import { readFileSync, renameSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { catchException, type CrashReport, HardwareException, throwException } from "../mod.ts";
import { compile, compiledFile } from "./compile_support.ts";
import { arm64 } from "./platform_support.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import { exceptionOf, openFixture, runChild } from "./support.ts";

const { path, library } = openReportFixture();
const { symbols } = library;
const fixture = openFixture().symbols;
const source = fileURLToPath(new URL("./report_fixture.c", import.meta.url));
const faultline = new URL(`../lib/native/linux-${process.arch}/faultline.so`, import.meta.url);
const escape = String.fromCharCode(27);

function faultInList(): CrashReport {
  const list = shortList;
  return exceptionOf(() => {
    symbols.list_sum(list);
  }).toReport();
}

test("toReport() collects what api.ts says", () => {
  const error = exceptionOf(() => symbols.list_sum(shortList));
  const report = error.toReport();
  assert.equal(report.version, 1);
  assert.match(report.id, /^[0-9a-f-]{36}$/);
  assert.notEqual(report.id, error.toReport().id);
  assert.equal(report.exception, error.info);
  assert.deepEqual(report.backtrace.map(({ symbol }) => symbol), [
    ...["last_value", "sum_of_ends", "list_sum"],
  ]);
  const { base, byteLength, buildId } = report.modules.find((one) => one.path === path)!;
  for (const { address } of report.backtrace) {
    assert.ok(address >= base && address < base + byteLength);
  }
  assert.ok(buildId === null || /^[0-9a-f]+$/.test(buildId));
});

test("toReport() gives the build id that the linker wrote", () => {
  const flags = ["-O1", "-Wl,--build-id=0x0123456789abcdef"];
  const other = openReportFixture(compile("report_build_id", "report_fixture.c", flags));
  const { modules } = exceptionOf(() => other.library.symbols.store(8n)).toReport();
  const own = modules.filter((one) => one.path === other.path);
  assert.deepEqual(own.map(({ buildId }) => buildId), ["0123456789abcdef"]);
});

test("toReport().modules are the files of all executable mappings of the kernel's list", () => {
  const report = faultInList();
  const { modules } = report;
  assert.equal(modules, report.modules);
  assert.ok(Object.isFrozen(modules) && modules.every((one) => Object.isFrozen(one)));
  const maps = readFileSync("/proc/self/maps", "utf8").trim().split("\n").map((line) => {
    const [range = "", rights = "", , , , ...rest] = line.split(/\s+/);
    const [start = 0n, end = 0n] = range.split("-").map((text) => BigInt(`0x${text}`));
    return { start, end, rights, file: rest.join(" ") };
  });
  const code = maps.filter(({ rights, file }) => rights[2] === "x" && file.startsWith("/"));
  assert.deepEqual(new Set(modules.map((one) => one.path)), new Set(code.map(({ file }) => file)));
  for (const { file, start, end } of code) {
    const holder = modules.find((one) =>
      one.path === file && one.base <= start && end <= one.base + one.byteLength
    );
    const isRepeated = maps.some((one) => one.file === file && one.start < start - 2n ** 32n);
    assert.ok(holder !== undefined || isRepeated, `${file} at ${start.toString(16)}`);
  }
  const bases = modules.map(({ base }) => base);
  assert.deepEqual(bases, bases.toSorted((a, b) => a < b ? -1 : 1));
  assert.ok(modules.some((one) => one.path === fileURLToPath(faultline)));
  assert.ok(
    modules.some((one) => /\/(?:libc\.so\.6|ld-musl-.*)$/.test(one.path) && one.buildId !== null),
  );
});

test("toReport().modules of an exception from another process are none", () => {
  const error = exceptionOf(() => symbols.list_sum(shortList));
  const again = HardwareException.fromJSON(error.toJSON());
  assert.deepEqual(again.toReport().modules, []);
});

test("toText() has the head, the details, frames, an excerpt, registers, memory, a summary", () => {
  const text = faultInList().toText({ color: false, width: 200 });
  const lines = text.split("\n");
  assert.match(
    lines[0]!,
    /^==\d+==FAULTLINE: SIGSEGV \(SEGV_MAPERR\) reading 0x8 in last_value at report_fixture\.c:8$/,
  );
  assert.equal(
    lines.at(-1),
    "SUMMARY: FAULTLINE: SIGSEGV (SEGV_MAPERR) in last_value at report_fixture.c:8",
  );
  assert.match(text, /^ {2}address {5}0x8, offset 0x8 from the null page/m);
  assert.match(text, /^ {2}instruction .* at 0x[0-9a-f]+$/m);
  assert.match(text, /^ {2}#0 0x[0-9a-f]{12} last_value .*report_fixture\.c:8:\d+ \(/m);
  assert.match(text, /^ {2}#2 0x[0-9a-f]{12} list_sum .*report_fixture\.c:17:\d+ \(/m);
  assert.ok(text.includes(`--> ${source}:8`), text);
  assert.match(text, /^ *8 \| {3}while \(list->next != 0\) list = list->next;\n +\| +\^+$/m);
  const [first, second] = arm64 ? ["pc ", "sp "] : ["rip", "rsp"];
  assert.match(text, new RegExp(`${first} {4}0x[0-9a-f]{16} {2}${second} {4}0x[0-9a-f]{16}`));
  assert.match(text, /^Memory near 0x8\n {2}\?\? {2}nothing from 0x0 to 0x3f can be read$/m);
  assert.match(text, /^JavaScript\n {2}at .*report_text_test\.ts/m);
  assert.ok(!text.includes("guarded_call.ts"), "frames of this package are left out");
});

test("toText() puts the caret below the column of the frame", () => {
  const report = faultInList();
  const lines = report.toText({ color: false, width: 120 }).split("\n");
  const at = lines.findIndex((line) => line.includes("while (list->next"));
  const { column } = report.backtrace[0]!;
  const start = lines[at]!.indexOf("| ") + 2;
  assert.equal(lines[at + 1]!.indexOf("^") - start + 1, column);
});

test("toText() keeps lines within the width, but for single words", () => {
  for (let width = 60; width <= 200; width += 7) {
    for (const color of [false, true]) {
      const text = faultInList().toText({ color, width });
      for (const line of text.replaceAll(new RegExp(`${escape}\\[[\\d;]*m`, "g"), "").split("\n")) {
        assert.ok(line.length <= width || !line.trim().includes(" "), `${width}: ${line}`);
      }
    }
  }
  for (const width of [1, 20, 40]) assert.ok(faultInList().toText({ width }).includes("SUMMARY:"));
  for (const width of [0, -1, 1.5, NaN]) {
    assert.throws(() => faultInList().toText({ width }), RangeError);
  }
});

test("toText() colours when told, whatever NO_COLOR says, and not without a terminal", () => {
  // The tests run with NO_COLOR and without a terminal.
  const report = faultInList();
  assert.ok(report.toText({ color: true }).includes(`${escape}[1;31mSIGSEGV`));
  assert.ok(!report.toText({ color: false }).includes(escape));
  assert.ok(!report.toText().includes(escape));
  const { status, stdout } = runChild("report", ["text", path]);
  assert.equal(status, 0);
  assert.ok(stdout.includes("SUMMARY:") && !stdout.includes(escape), stdout);
});

test("toText() does without source that cannot be read", () => {
  const report = faultInList();
  const hidden = compiledFile("hidden.c");
  const shown = report.toText({ width: 200 });
  renameSync(source, hidden);
  try {
    const text = report.toText({ width: 200 });
    assert.ok(shown.includes("while (list->next") && !text.includes("while (list->next"));
    assert.match(text, /^SUMMARY: .*report_fixture\.c:8$/m);
  } finally {
    renameSync(hidden, source);
  }
});

test("toText() shows memory near the address, and which bytes cannot be read", () => {
  const pages = fixture.fx_map(8192, 3);
  fixture.fx_write(pages + 4096n - 8n, 0x48_47_46_45_44_43_42_41n);
  fixture.fx_protect(pages + 4096n, 4096, 0);
  const error = exceptionOf(() => fixture.fx_write(pages + 4096n, 1));
  const text = error.toReport().toText({ color: false, width: 100 });
  assert.match(text, / 41 42 43 44 45 46 47 48 \|\.{8}ABCDEFGH\|$/m);
  assert.match(text, /\[\?\?\]\?\?( \?\?){14} \|/);
});

test("toText() of exceptions without an address or without native frames ends in a summary", () => {
  const divided = exceptionOf(() => fixture.fx_divide(1, 0)).toReport().toText({ width: 100 });
  assert.match(divided.split("\n")[0]!, /FAULTLINE: SIGFPE \(FPE_INTDIV\) in fx_divide/);
  assert.ok(!divided.includes("Memory near"));
  const thrown = catchException(() => throwException());
  assert.ok(!thrown.ok);
  assert.match(thrown.error.toReport().toText(), /\nSUMMARY: FAULTLINE: user$/);
  const again = HardwareException.fromJSON(
    exceptionOf(() => symbols.list_sum(shortList)).toJSON(),
  );
  const text = again.toReport().toText({ width: 100 });
  assert.match(text, /^SUMMARY: .* in last_value at report_fixture\.c:8$/m);
  assert.ok(!text.includes("Memory near"), "it may come from another process");
});

test("toText() leaves out the middle of a long recursion", () => {
  const text = exceptionOf(() => fixture.fx_overflow(2n ** 40n)).toReport().toText({ width: 100 });
  assert.match(text.split("\n")[0]!, /stack overflow, writing 0x/);
  assert.ok(text.split("\n").length < 120, text);
});

test("signature is that of the fault, in this run and in another", () => {
  const { signature } = faultInList();
  const parts = ["last_value", "sum_of_ends", "list_sum"].map((name) =>
    `report_fixture.so!${name}`
  );
  assert.equal(signature, ["access-violation", ...parts].join(" "));
  const { stdout } = runChild("report", ["signature", path]);
  assert.equal(stdout.trim(), signature);
  const other = exceptionOf(() => symbols.store(8n)).toReport().signature;
  assert.equal(other, "access-violation report_fixture.so!store");
});
