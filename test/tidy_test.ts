/**
 * The house rules, applied to every tracked file; and each rule applied to a sample that breaks it,
 * because a rule that cannot fail proves nothing.
 */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { typescriptCode, typescriptFunctions, typescriptImports } from "./source_text.ts";
import { zigCode, zigFunctions } from "./source_text.ts";
import {
  importCycles,
  nativeReach,
  pureFiles,
  rules,
  type SourceFile,
  traces,
} from "./tidy_rules.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Tracked files, and those that are not ignored and would be tracked by the next commit. */
function trackedFiles(): SourceFile[] {
  const list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const output = execFileSync("git", list, { cwd: root, encoding: "utf8" });
  const paths = output.split("\0").filter((path) => path !== "" && existsSync(join(root, path)));
  return [...new Set(paths)].map((path) => {
    const encoding = /\.(?:so|dylib|dll)$/.test(path) ? "latin1" : "utf8";
    return { path, text: readFileSync(join(root, path), encoding) };
  });
}

const files = trackedFiles();

describe("the repository", () => {
  test("is read from git", () => {
    const paths = files.map(({ path }) => path);
    for (const path of ["package.json", "test/tidy_test.ts"]) assert.ok(paths.includes(path), path);
  });

  for (const [name, rule] of Object.entries(rules)) {
    test(`follows the rule ${name}`, () => assert.equal(files.flatMap(rule).join("\n"), ""));
  }

  test("keeps tables and decoding free of native code", () => {
    for (const path of pureFiles) assert.ok(existsSync(join(root, path)), `${path} is missing`);
    assert.deepEqual(nativeReach(files), []);
  });

  test("has no circle of imports", () => {
    assert.deepEqual(importCycles(files), []);
  });

  test("does not say where it was made", () => {
    // A home folder such as "/" would be found in every file.
    const folders = [root, homedir()].filter((folder) => folder.length > 4);
    assert.deepEqual(files.flatMap((file) => traces(file, folders)), []);
  });
});

const lines = (count: number): string => "  a();\n".repeat(count);

/** For each rule: files that break it, then files that come close and do not. */
const samples: Readonly<Record<string, readonly [SourceFile[], SourceFile[]]>> = {
  lineLength: [
    [{ path: "lib/a.ts", text: "x".repeat(101) }, { path: "zig/a.zig", text: "é".repeat(101) }],
    [{ path: "lib/a.ts", text: "é".repeat(100) }, { path: "a.json", text: "x".repeat(101) }],
  ],
  functionLength: [
    [
      { path: "lib/a.ts", text: `function long<T>(a: { b: T }): { c: T } {\n${lines(69)}}\n` },
      { path: "test/a.mjs", text: `export const long = async (a) => {\n${lines(69)}};\n` },
      {
        path: "lib/b.ts",
        text: `class A {\n  long(): Map<string, number> {\n${lines(69)}  }\n}\n`,
      },
      {
        path: "zig/a.zig",
        text: `pub fn long(a: u8) error{B}!struct { c: u8 } {\n${lines(69)}}\n`,
      },
    ],
    [
      { path: "lib/a.ts", text: `function short(): void {\n${lines(68)}}\n` },
      { path: "test/a.ts", text: `describe("many", () => {\n${lines(90)}});\n` },
      { path: "zig/a.zig", text: `fn Type(T: type) type {\n${lines(90)}}\nextern fn f() void;\n` },
    ],
  ],
  fileLength: [
    [{ path: "zig/a.zig", text: "\n".repeat(501) }],
    [{ path: "zig/a.zig", text: "\n".repeat(500) }, { path: "lib/abi.ts", text: "\n".repeat(501) }],
  ],
  runtimeNames: [
    [
      { path: "lib/a.ts", text: "Deno.exit();" },
      { path: "mod.ts", text: "const a = `${Bun.version}`;" },
      { path: "lib/a.ts", text: 'import { dlopen } from "bun:ffi";' },
      { path: "lib/runtime/bun.ts", text: "Deno.exit();" },
    ],
    [
      { path: "lib/a.ts", text: '// Deno and Bun.\nconst a = "Deno" + `Bun`; /* Bun */' },
      { path: "lib/runtime/deno.ts", text: "Deno.exit();" },
      { path: "test/a_test.ts", text: "Deno.exit();" },
    ],
  ],
  imports: [
    [
      { path: "lib/a.ts", text: 'import { bun } from "./runtime/bun.ts";' },
      { path: "lib/a.ts", text: 'export * from "../mod.ts";' },
      { path: "lib/a.ts", text: 'const a = await import("left-pad");' },
      { path: "lib/runtime/bun.ts", text: 'import { deno } from "./deno.ts";' },
      { path: "mod.ts", text: 'import { join } from "node:path";' },
    ],
    [
      { path: "lib/native.ts", text: 'import { bun } from "./runtime/bun.ts";' },
      { path: "lib/cli/a.ts", text: 'import { a } from "../a.ts";\nimport { b } from "node:fs";' },
      { path: "lib/runtime/bun.ts", text: 'import("bun:ffi");\nimport { A } from "./types.ts";' },
      { path: "lib/a.ts", text: 'import type { A } from "./runtime/types.ts";' },
      { path: "mod.ts", text: 'export { a } from "./lib/a.ts";\n// import "x"' },
    ],
  ],
  insideHandler: [
    [
      { path: "zig/inside/a.zig", text: 'const a = @import("../outside/a.zig");' },
      { path: "zig/inside/a.zig", text: "const debug = std.debug;" },
      { path: "zig/inside/a.zig", text: "std.debug.print();" },
      { path: "zig/inside/a.zig", text: "const a = std.heap.page_allocator;" },
      { path: "zig/supervisor/a.zig", text: "const a = std.Thread;" },
      { path: "zig/inside/a.zig", text: "const posix = std.posix;" },
    ],
    [
      { path: "zig/inside/a.zig", text: "// std.heap\nconst assert = std.debug.assert;" },
      {
        path: "zig/inside/a.zig",
        text: '@import("../sys.zig"); @import("b.zig"); @import("std");',
      },
      { path: "zig/outside/a.zig", text: "const posix = std.posix;" },
    ],
  ],
  topLevel: [
    [{ path: "notes.md", text: "" }, { path: "src/a.ts", text: "" }, { path: "zig.txt", text: "" }],
    [{ path: ".ci/run", text: "" }, { path: ".npmrc", text: "" }, { path: "zig/a.zig", text: "" }],
  ],
  fileNames: [
    [{ path: "lib/catchException.ts", text: "" }, { path: "test/all-tests.mjs", text: "" }],
    [{ path: "lib/catch_exception.ts", text: "" }, { path: "zig/frame/x86_64.zig", text: "" }],
  ],
  openTasks: [
    [{ path: "zig/a.zig", text: "// TO" + "DO: later" }, { path: "README.md", text: "FIX" + "ME" }],
    [{ path: "zig/a.zig", text: "// todo lists are fine" }],
  ],
  traces: [
    [
      { path: "README.md", text: "see /wo" + "rk/main" },
      { path: "lib/native/linux-x64/faultline.so", text: "\0/ro" + "ot/.cache/\0" },
      { path: "package-lock.json", text: '"https://regis' + 'try.npmjs.org/a"' },
      { path: ".npmrc", text: "registry=http://npm-mir" + "ror.example:8080/" },
    ],
    [{ path: "README.md", text: "a/wo" + "rk/b, ./ro" + "ot/c, https://example.com" }],
  ],
  docComments: [
    [
      { path: "lib/a.ts", text: "export const a: number = 1;\n" },
      { path: "lib/a.ts", text: "/* Not doc. */\nexport async function a(): void {}\n" },
      { path: "mod.ts", text: "/** A. */\nexport type A = 1;\n\nexport interface B {}\n" },
    ],
    [
      { path: "lib/a.ts", text: "/**\n * A.\n */\n// deno-lint-ignore x\nexport class A {}\n" },
      { path: "lib/a.ts", text: "/** A. */\nexport function a(): 1;\nexport function a(): 2;\n" },
      { path: "test/a.ts", text: "export const a = 1;\n" },
    ],
  ],
  moduleDoc: [
    [{ path: "mod.ts", text: "export {};\n" }, { path: "mod.ts", text: "/** A. */\nexport {};\n" }],
    [{ path: "mod.ts", text: "/**\n * A.\n *\n * @module\n */\nexport {};\n" }],
  ],
};

describe("tidy_rules", () => {
  for (const [name, rule] of Object.entries(rules)) {
    test(`${name} finds what breaks it and nothing else`, () => {
      const [bad, good] = samples[name] ?? [[], []];
      assert.ok(bad.length > 0 && good.length > 0, "the rule has no samples");
      for (const file of bad) assert.equal(rule(file).length, 1, `${file.path}: ${file.text}`);
      for (const file of good) assert.deepEqual(rule(file), []);
    });
  }

  test("nativeReach() finds native code behind other files", () => {
    const chain = [
      { path: "lib/signal_table.ts", text: 'import { a } from "./a.ts";' },
      { path: "lib/a.ts", text: 'import { native } from "./native.ts";' },
    ];
    assert.deepEqual(nativeReach(chain), ["lib/signal_table.ts -> lib/a.ts -> lib/native.ts"]);
    assert.deepEqual(nativeReach(chain.slice(0, 1)), []);
  });

  test("importCycles() finds circles, of types and of exports too, and no diamonds", () => {
    const a = { path: "lib/a.ts", text: 'import type { b } from "./b.ts";' };
    const b = { path: "lib/b.ts", text: 'export { c } from "./cli/c.ts";' };
    const c = { path: "lib/cli/c.ts", text: 'import { type a } from "../a.ts";' };
    const cycle = "lib/a.ts -> lib/b.ts -> lib/cli/c.ts -> lib/a.ts";
    assert.deepEqual(importCycles([a, b, c]), [cycle]);
    const self = { path: "lib/d.ts", text: 'type D = import("./d.ts").D;' };
    assert.deepEqual(importCycles([self]), ["lib/d.ts -> lib/d.ts"]);
    const top = { path: "mod.ts", text: 'export * from "./lib/a.ts";\nimport "./lib/b.ts";' };
    assert.deepEqual(importCycles([top, a, b, { ...c, text: "" }]), []);
  });

  test("traces() finds the folders it is given", () => {
    assert.equal(traces({ path: "a", text: "in /some/checkout/a" }, ["/some/checkout"]).length, 1);
  });
});

describe("source_text", () => {
  test("typescriptCode() keeps code and blanks the rest", () => {
    const text = 'a("}", `{${b({ c: "{" })}{`, /[/{]"/g, x / y); // {\nd /* } */;';
    const code = typescriptCode(text);
    assert.equal(code.length, text.length);
    assert.equal(code.replaceAll(/\s+/g, ""), 'a("",`${b({c:""})}`,//g,x/y);d;');
  });

  test("zigCode() keeps code and blanks the rest", () => {
    const text = "a('{', \"}\\\"{\"); // {\n\\\\ {\nb '\\'' c";
    assert.equal(zigCode(text).replaceAll(/\s+/g, ""), "a('',\"\");b''c");
  });

  test("typescriptFunctions() finds every kind and no control flow", () => {
    const text = "function a() {}\nconst b = (): void => {};\nclass C { async d(e = {}) {} }\n" +
      "if (a) {}\nfor await (const f of g) {}\nexport function h(x: unknown): x is { y: 1 } {}\n";
    assert.deepEqual(typescriptFunctions(text).map(({ line }) => line), [1, 2, 3, 6]);
  });

  test("zigFunctions() skips types and externs", () => {
    const text =
      "fn a() void {}\nextern fn b() void;\nconst C = struct { d: *const fn (u8) void };\n" +
      "fn e() callconv(.{ .x = 1 }) ?*anyopaque {}\n";
    assert.deepEqual(zigFunctions(text).map(({ name }) => name), ["a", "e"]);
  });

  test("typescriptImports() does not read comments or strings", () => {
    const text = '// import "a"\nconst b = "from \'c\'";\nexport { d } from "e";\nimport("f");';
    assert.deepEqual(typescriptImports(text).map(({ specifier }) => specifier), ["e", "f"]);
  });
});
