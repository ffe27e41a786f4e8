/** What `console.log` and the runtimes' `inspect` show of an exception. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { inspect } from "node:util";
import { catchException, throwException } from "../mod.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import { exceptionOf, runChild } from "./support.ts";

const { library: { symbols } } = openReportFixture();
const error = exceptionOf(() => symbols.list_sum(shortList));

interface Host {
  readonly Bun?: { inspect(value: unknown): string };
  readonly Deno?: { inspect(value: unknown, options?: object): string };
}
const host = globalThis as unknown as Host;
const own = (value: unknown): string => (host.Bun ?? host.Deno)!.inspect(value);

function checkBlock(text: string): void {
  const lines = text.split("\n").map((line) => line.trim());
  assert.match(lines[0]!, /HardwareException: list_sum\(\) of report_fixture\.so read address 0x8/);
  assert.ok(lines.some((line) => line.startsWith("0x8: offset 0x8 from the null page")), text);
  assert.ok(lines.some((line) => /^#0 last_value .*report_fixture\.c:8:\d+ /.test(line)), text);
  const native = lines.findIndex((line) => line.startsWith("#2 list_sum"));
  const javascript = lines.findIndex((line) => /^at .*inspect_test\.ts:\d+/.test(line));
  assert.ok(native > 0 && javascript > native, text);
  assert.match(text, /code: ['"]SEGV_MAPERR['"]/);
  assert.ok(lines.length < 20 && !text.includes("Uint8Array"), text);
}

test("util.inspect() and the runtime's own show a compact block", () => {
  checkBlock(inspect(error));
  checkBlock(own(error));
});

test("util.inspect() shows it inside other values, and names it where they are too deep", () => {
  assert.match(inspect({ error }), /#0 last_value/);
  assert.match(own({ error }), /#0 last_value/);
  assert.match(inspect({ error }, { depth: 0 }), /\[HardwareException: SEGV_MAPERR\]|\[Object\]/);
  assert.match(inspect(error, { depth: null }), /#0 last_value/);
});

test("util.inspect() colours only when told", () => {
  const escape = String.fromCharCode(27);
  assert.ok(inspect(error, { colors: true }).includes(escape));
  assert.ok(!inspect(error).includes(escape));
});

test("util.inspect() shows what was attached, and what the program added", () => {
  const result = catchException(() => throwException({ page: 7 }));
  assert.ok(!result.ok);
  assert.match(inspect(result.error), /An exception was thrown by throwException\(\)/);
  assert.match(inspect(result.error), /additional: \{ page: 7 \}/);
  const extended = Object.assign(exceptionOf(() => symbols.store(8n)), { request: 12 });
  assert.match(inspect(extended), /request: 12/);
});

test("console.log() shows the block, too", () => {
  const { status, stdout } = runChild("uncaught", ["log"]);
  assert.equal(status, 0);
  assert.match(stdout, /^HardwareException: fx_read\(\) .*\n {4}0x10: offset 0x10 .*/);
  assert.match(stdout, /^ {4}#0 fx_read/m);
});
