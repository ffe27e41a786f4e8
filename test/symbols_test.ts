/** What is known about an address: from debug information here or elsewhere, or from symbols. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { demangle } from "../lib/demangle.ts";
import { nativePath } from "../lib/native.ts";
import { codeAt, refreshModules, unwind } from "../lib/symbols.ts";
import { dlopen } from "../mod.ts";
import {
  compile,
  compiledFile,
  llvmSymbolizerAll,
  needs,
  objcopyTool,
  output,
} from "./compile_support.ts";
import { runtimePath, timeFactor } from "./platform_support.ts";
import { exceptionOf, runtimeName } from "./support.ts";

const flags = ["-O2", "-fomit-frame-pointer"];
const whole = compile("whole", "backtrace_fixture.c", flags);
const definitions = { bt_inlined: { result: "i32" } } as const;
const mangled = [
  ["_ZN6shapes3BoxIiE4readEi", "shapes::Box<int>::read"],
  ["_ZN6shapes12_GLOBAL__N_16hiddenEi", "shapes::(anonymous namespace)::hidden"],
  ["_ZZ8cpp_sortENKUliiE_clEii", "cpp_sort::{lambda#1}::operator()"],
  ["_ZZ8cpp_sortENKUliiE0_clEii", "cpp_sort::{lambda#2}::operator()"],
  ["_ZNSt6vectorIiSaIiEEC1Ev", "std::vector<int, std::allocator<int>>::vector"],
  ["_ZNSt6vectorIiSaIiEED2Ev", "std::vector<int, std::allocator<int>>::~vector"],
  ["_ZN1aplERKS_", "a::operator+"],
  ["_ZN1acvbEv", "a::operator bool"],
  ["_Z3maxIiET_S0_S0_", "max<int>"],
  ["_ZL4filei.cold", "file.cold"],
  ["_ZThn16_N1a1bEv", "thunk to a::b"],
  ["_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", "core::fmt::Write::write_fmt"],
  ["main", "main"],
  ["_Z", "_Z"],
  ["_ZN", "_ZN"],
  ["_ZN99a", "_ZN99a"],
  ["_ZS5_", "_ZS5_"],
] as const;

test("demangle gives C++ names without parameters, and others as they are", () => {
  for (const [symbol, name] of mangled) assert.equal(demangle(symbol), name);
});

test("demangle ends for names that nest without an end", () => {
  const deep = `_Z1f${"P".repeat(1e5)}i`;
  assert.equal(demangle(deep), "f");
  assert.equal(demangle(`_ZN${"I".repeat(1e5)}`), `_ZN${"I".repeat(1e5)}`);
  assert.equal(demangle(`_Z${"Z".repeat(1e5)}`), `_Z${"Z".repeat(1e5)}`);
});

test("debug information is found in the file that .gnu_debuglink names", needs(objcopyTool), () => {
  const expected = framesOf(whole);
  const linked = compiledFile("linked.so");
  const folder = join(linked, "..", ".debug");
  mkdirSync(folder, { recursive: true });
  const debug = join(folder, "linked.so.debug");
  output(objcopyTool, ["--only-keep-debug", whole, debug]);
  output(objcopyTool, ["--strip-all", `--add-gnu-debuglink=${debug}`, whole, linked]);
  assert.deepEqual(framesOf(linked), expected);
  assert.deepEqual(expected.map(({ symbol }) => symbol), ["deref", "twice", "bt_inlined"]);
});

test("a debug file that is not the library's own is not used", needs(objcopyTool), () => {
  const linked = compiledFile("mislinked.so");
  const debug = compiledFile("mislinked.so.debug");
  output(objcopyTool, ["--only-keep-debug", whole, debug]);
  output(objcopyTool, ["--strip-all", `--add-gnu-debuglink=${debug}`, whole, linked]);
  const bytes = readFileSync(debug);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(debug, bytes);
  assert.deepEqual(framesOf(linked).map(({ symbol, line }) => [symbol, line]), [[
    "bt_inlined",
    null,
  ]]);
});

test("compressed debug information is read", needs(objcopyTool), () => {
  const compressed = compiledFile("compressed.so");
  output(objcopyTool, ["--compress-debug-sections=zlib", whole, compressed]);
  assert.deepEqual(framesOf(compressed), framesOf(whole));
});

/** Every second address of the code of the library at `path`, which has to be open. */
function codeOf(path: string): readonly bigint[] {
  const mapping = readFileSync("/proc/self/maps", "utf8").split("\n").find((line) =>
    line.includes(" r-xp ") && line.endsWith(path)
  )!;
  const [start, end] = mapping.split(" ")[0]!.split("-").map((text) => BigInt(`0x${text}`));
  return Array.from(
    { length: Number(end! - start!) / 2 },
    (_, index) => start! + BigInt(index * 2),
  );
}

for (const version of [4, 5]) {
  test(
    `all code is described as llvm-symbolizer does, from DWARF ${version}`,
    needs("llvm-symbolizer"),
    () => {
      const path = compile(`all_${version}`, "backtrace_fixture.c", [
        ...flags,
        `-gdwarf-${version}`,
      ]);
      using _lib = dlopen(path, definitions);
      refreshModules();
      const described = codeOf(path).map((address) => ({ address, code: codeAt(address)! }))
        .filter(({ code }) => code.functions.length > 0 && code.functions[0]!.line !== null);
      assert.ok(described.length > 200, String(described.length));
      const told = llvmSymbolizerAll(
        path,
        described.map(({ address, code }) => address - code.moduleBase),
      );
      described.forEach(({ address, code }, index) => {
        const own = code.functions.map(({ name, file, line, column }) => ({
          ...{ symbol: name ?? "", file, line },
          column: column ?? 0,
        }));
        assert.deepEqual(own, told[index], `0x${(address - code.moduleBase).toString(16)}`);
      });
    },
  );
}

/** What is told about a fault of the library at `path`, but for where it lies. */
function framesOf(path: string): readonly { symbol: string | null; line: number | null }[] {
  using lib = dlopen(path, definitions);
  const frames = exceptionOf(lib.symbols.bt_inlined).info.backtrace();
  assert.ok(frames.every(({ module }) => module === path));
  return frames.map(({ symbol, file, line, column, inlined, offset }) => ({
    ...{ symbol, file, line, column, inlined, offset },
  }));
}

test("damaged libraries give less, and never a crash", () => {
  const source = readFileSync(whole);
  const header = new DataView(source.buffer, source.byteOffset);
  const { instructionPointer } = loadedAddress();
  for (let round = 0; round < 60; round += 1) {
    // The file is damaged behind what the loader reads: sections, not segments.
    const path = compiledFile(`damaged_${round}.so`);
    const bytes = Uint8Array.from(source);
    const start = round % 2 === 0 ? Number(header.getBigUint64(40, true)) : debugStart();
    let seed = round + 1;
    for (let index = 0; index < 40; index += 1) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      bytes[start + seed % (bytes.length - start)] = seed >>> 24;
    }
    writeFileSync(path, bytes);
    using lib = dlopen(path, definitions);
    const frames = exceptionOf(lib.symbols.bt_inlined).info.backtrace();
    assert.equal(frames.at(-1)!.module, path);
  }
  assert.ok(instructionPointer > 0n);

  function loadedAddress(): { instructionPointer: bigint } {
    using lib = dlopen(whole, definitions);
    return exceptionOf(lib.symbols.bt_inlined).info;
  }
  /** Where the bytes that are only for debuggers begin: behind the last segment. */
  function debugStart(): number {
    const segments = Number(header.getBigUint64(32, true));
    const count = header.getUint16(56, true);
    return Math.max(...Array.from({ length: count }, (_, index) => {
      const at = segments + index * 56;
      if (header.getUint32(at, true) !== 1) return 0;
      return Number(header.getBigUint64(at + 8, true) + header.getBigUint64(at + 32, true));
    }));
  }
});

test("a library that was replaced on disk is not asked about its old self", () => {
  const path = compiledFile("replaced.so");
  copyFileSync(whole, path);
  using lib = dlopen(path, definitions);
  output("mv", [path, `${path}.old`]);
  copyFileSync(compile("other", "backtrace_fixture.c", ["-O0"]), path);
  const [frame] = exceptionOf(lib.symbols.bt_inlined).info.backtrace();
  // The kernel follows the rename: the file is still found, under its new name.
  assert.equal(frame!.module, `${path}.old`);
  assert.equal(frame!.symbol, "deref");
});

test("codeAt knows nothing about the stack, unmapped addresses and code made at run time", () => {
  refreshModules();
  for (const address of [0n, 8n, 2n ** 47n, 2n ** 64n - 1n]) assert.equal(codeAt(address), null);
});

test("unwind refuses bytes that are no exception", () => {
  assert.equal(unwind(new Uint8Array(8)), null);
  const cut = new Uint8Array(544);
  // Lengths that lie beyond the end.
  new DataView(cut.buffer).setUint32(36, 0xffff_ffff, true);
  new DataView(cut.buffer).setUint32(40, 0xffff_ffff, true);
  assert.equal(unwind(cut), null);
});

test("looking up again takes microseconds", () => {
  using lib = dlopen(whole, definitions);
  const { instructionPointer } = exceptionOf(lib.symbols.bt_inlined).info;
  refreshModules();
  const found = codeAt(instructionPointer);
  assert.equal(found!.functions.length, 3);
  const rounds = 2000;
  const start = performance.now();
  for (let round = 0; round < rounds; round += 1) codeAt(instructionPointer);
  const microseconds = (performance.now() - start) * 1000 / rounds;
  // The aim is 5; a busy machine may take several times that.
  assert.ok(microseconds < 100 * timeFactor, `${microseconds} us`);
});

const module = pathToFileURL(fileURLToPath(new URL("../mod.ts", import.meta.url))).href;

/** Runs a program that has opened the fixture as `lib`, and gives what it wrote. */
function runProgram(name: string, source: string, permissions: readonly string[]): string {
  const program = compiledFile(`${name}_${runtimeName()}.ts`);
  const opening = `import { readFileSync } from "node:fs";
import { dlopen } from ${JSON.stringify(module)};
const lib = dlopen(${JSON.stringify(whole)}, { bt_inlined: { result: "i32" } });
let error: any;
try { lib.symbols.bt_inlined(); } catch (caught) { error = caught; }
`;
  writeFileSync(program, opening + source);
  const deno = ["run", "--no-check", "--no-prompt", ...permissions, program];
  const args = runtimeName() === "bun" ? [program] : deno;
  const result = spawnSync(runtimePath, args, {
    encoding: "utf8",
    timeout: 60_000 * timeFactor,
  });
  assert.equal(result.status, 0, JSON.stringify(result));
  return result.stdout;
}

test("the symbols library is opened by the first look-up, not by importing or catching", () => {
  const source = `
const opened = () => readFileSync("/proc/self/maps", "utf8").includes("faultline_symbols");
const before = [error.message.length > 0, opened()];
error.info.backtrace();
console.log(JSON.stringify([...before, opened()]));
`;
  assert.equal(runProgram("lazy", source, ["-A"]), "[true,false,true]\n");
});

const denoOnly = { skip: runtimeName() === "bun" ? "Bun has no permissions" : false } as const;

test("backtrace without permission for the symbols library gives addresses", denoOnly, () => {
  const source = `
const [frame] = error.info.backtrace();
console.log(frame.address === error.info.instructionPointer, frame.module, frame.trust);
`;
  const libraries = `--allow-ffi=${nativePath()},${whole}`;
  const told = runProgram("scoped", source, [libraries, "--allow-read"]);
  assert.equal(told, "true null context\n");
});
