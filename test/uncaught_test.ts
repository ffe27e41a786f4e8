/** What the runtimes print when nobody catches an exception: the report, then the error. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { inspect } from "node:util";
import { openReportFixture } from "./report_support.ts";
import { exceptionOf, openFixture, runChild, runtimeName } from "./support.ts";

const { path } = openReportFixture();

/** Native frames first, then the caller in JavaScript, then the runtime's own words. */
function checkStory(stderr: string): void {
  const order = [
    /^==\d+==FAULTLINE: SIGSEGV .* reading 0x8 in last_value at\s+report_fixture\.c:8/m,
    /^ {2}#0 0x[0-9a-f]+ last_value /m,
    /^ {2}#2 0x[0-9a-f]+ list_sum /m,
    /^JavaScript\n {2}at .*callerOfNative/m,
    /^SUMMARY: FAULTLINE: /m,
    /^(?:error: |HardwareException: ).*list_sum\(\)/m,
  ].map((pattern) => pattern.exec(stderr)?.index ?? -1);
  assert.ok(!order.includes(-1), `${order.join()}: ${stderr}`);
  assert.deepEqual(order, [...order].sort((a, b) => a - b), stderr);
  assert.equal(stderr.match(/^SUMMARY: /gm)?.length, 1, stderr);
}

for (const what of ["throw", "timer", "async", "rejection", "floating"]) {
  test(`an uncaught exception tells the whole story: ${what}`, () => {
    const { status, signal, stderr } = runChild("report", [what, path]);
    assert.deepEqual({ status, signal }, { status: 1, signal: null }, stderr);
    checkStory(stderr);
  });
}

test("an uncaught exception of a Worker tells the whole story", () => {
  checkStory(runChild("report", ["worker", path]).stderr);
});

test("a rejection with an exception as its cause tells the story of the cause", () => {
  const { status, signal, stderr } = runChild("report", ["cause", path]);
  assert.deepEqual({ status, signal }, { status: 1, signal: null }, stderr);
  assert.match(stderr, /outer/);
  // One runtime asks the errors that it prints; the other tells of the error itself only.
  if (runtimeName() === "bun") assert.equal(stderr.match(/^SUMMARY: /gm)?.length, 1, stderr);
});

test("a rejection that the program handles is left to it", () => {
  const { status, stdout, stderr } = runChild("report", ["listened", path]);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "handled\n", stderr: "" });
});

test("a look at an exception, by JavaScript or for it, prints nothing", () => {
  const { status, stdout, stderr } = runChild("report", ["looked", path]);
  const expected = "HardwareException\nundefined []\n";
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: expected, stderr: "" });
});

test("an exception can be given a cause", () => {
  const error = exceptionOf(() => openFixture().symbols.fx_read(0n));
  assert.equal(error.cause, undefined);
  error.cause = "a reason";
  assert.equal(error.cause, "a reason");
  assert.match(inspect(error), /cause: ['"]a reason['"]/);
  assert.deepEqual(Object.keys(error).filter((name) => name !== "cause"), []);
});

test("an uncaught exception that the program handles is left to it", () => {
  const { status, stdout, stderr } = runChild("report", ["handled", path]);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: "handled\n", stderr: "" });
});

test("an uncaught exception needs no permission beyond its library's", () => {
  if (runtimeName() === "bun") return;
  const flags = ["--allow-ffi", "--allow-env=FAULTLINE_BUILD"];
  const { stderr } = runChild("uncaught", [], flags);
  assert.match(stderr, /^ {2}#0 0x[0-9a-f]+ fx_read/m);
  assert.match(stderr, /^SUMMARY: /m);
});
