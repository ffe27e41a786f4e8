/** Colour and width of a report: those of the terminal, of NO_COLOR, and of the options. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { textOptions } from "../lib/terminal.ts";
import { needs } from "./compile_support.ts";
import { runtimePath, timeFactor } from "./platform_support.ts";
import { openReportFixture } from "./report_support.ts";
import { childArgs } from "./support.ts";

const { path } = openReportFixture();
const escape = String.fromCharCode(27);
const file = fileURLToPath(new URL("./children/report.ts", import.meta.url));

const cursorCodes = new RegExp(`${escape}\\[\\d*[GJK]`, "g");

/** What the report child prints on a terminal of `columns`; a terminal ends lines by CR and LF. */
function onTerminal(columns: number, what: string, noColor: string | null): string[] {
  // By the shell: one runtime gives children its own variables, whatever else they are given.
  const variable = noColor === null ? "unset NO_COLOR" : `export NO_COLOR='${noColor}'`;
  const words = [runtimePath, ...childArgs(file), what, path].map((word) => `'${word}'`);
  const command = `${variable}; stty cols ${columns} rows 40; ${words.join(" ")}`;
  const result = spawnSync("script", ["-qec", command, "/dev/null"], {
    encoding: "utf8",
    env: { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0" },
    timeout: 60_000 * timeFactor,
  });
  assert.match(result.stdout, /SUMMARY:/, JSON.stringify(result));
  // One runtime clears its own progress line on a terminal.
  return result.stdout.replaceAll(cursorCodes, "").split("\r\n");
}

const colours = new RegExp(`${escape}\\[[\\d;]*m`, "g");

for (const columns of [72, 130]) {
  test(
    `toText() on a terminal of ${columns} columns: colour, and its width`,
    needs("script"),
    () => {
      const lines = onTerminal(columns, "text", null);
      assert.ok(lines[0]!.includes(`${escape}[1;31mSIGSEGV`), lines[0]!);
      const lengths = lines.map((line) => line.replaceAll(colours, ""))
        .filter((line) => line.trim().includes(" ")).map((line) => line.length);
      assert.ok(Math.max(...lengths) <= columns, lines.join("\n"));
      assert.ok(Math.max(...lengths) > columns - 30, "the width is used");
    },
  );
}

test("toText() on a terminal has no colour where NO_COLOR says so", needs("script"), () => {
  assert.ok(!onTerminal(100, "text", "1").join("\n").includes(escape));
  // By the convention's words, an empty one says nothing.
  assert.ok(onTerminal(100, "text", "").join("\n").includes(`${escape}[1;31mSIGSEGV`));
});

test("an uncaught exception on a terminal is reported in colour", needs("script"), () => {
  for (const what of ["throw", "rejection"]) {
    const [head = ""] = onTerminal(100, what, null);
    assert.ok(head.includes(`${escape}[1;31mSIGSEGV`), head);
    assert.ok(!onTerminal(100, what, "1")[0]!.includes(escape));
  }
});

test("textOptions() takes what is given, then the stream's columns, then 80", () => {
  assert.deepEqual(textOptions({}, { isTTY: false }), { color: false, width: 80 });
  assert.equal(textOptions({}, { isTTY: true, columns: 132 }).width, 132);
  assert.equal(textOptions({}, { columns: 10 }).width, 60);
  for (const columns of [0, NaN, -1]) assert.equal(textOptions({}, { columns }).width, 80);
  assert.deepEqual(textOptions({ color: true, width: 20 }, {}), { color: true, width: 20 });
});
