/** Which guarded call a crash report names, and which it lists as the last ones. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { freshDirectory, readReport, reportFiles } from "./crash_support.ts";
import { needsDivision } from "./platform_support.ts";
import { childDies, fixtureFile, fixturePath } from "./support.ts";

const again = (count: number): string[] => Array.from({ length: count }, () => "fx_echo_i32");

/** By case: the last calls, the newest first. The crash is always in `fx_read`. */
const last = {
  thunk: ["fx_read", "fx_echo_i32", "fx_echo_u64", ...again(13)],
  block: ["fx_read", "fx_echo_i32", "fx_echo_u64"],
  // Another thread makes the call, and makes no others.
  nonblocking: [],
  inCallback: ["fx_read", "fx_echo_i32", "cx_back_sum"],
  inHook: ["fx_read", "fx_divide"],
} as const;

for (const [name, expected] of Object.entries(last)) {
  const skip = name === "inHook" ? needsDivision : {};
  test(`a crash report names the running call and the last ones: ${name}`, skip, () => {
    const directory = freshDirectory();
    childDies("SIGSEGV", "crash_calls", name, directory);
    const { exception, breadcrumbs } = readReport(directory);
    assert.deepEqual(exception.call, { library: fixturePath, symbol: "fx_read" });
    assert.deepEqual(breadcrumbs.map(({ symbol }) => symbol), expected);
    const libraries = new Set(breadcrumbs.map(({ library }) => library));
    const known = [fixturePath, fixtureFile("calls_fixture.so")];
    assert.deepEqual([...libraries].filter((path) => !known.includes(path)), []);
    const text = readFileSync(reportFiles(directory).txt!, "utf8");
    const listed = [...text.matchAll(/^ {2}(\w+)\(\) of \w+\.so$/gm)].map(([, symbol]) => symbol);
    assert.deepEqual(listed, expected);
  });
}
