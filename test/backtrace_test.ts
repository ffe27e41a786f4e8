/** Native frames of faults at known lines, compared with the source and with other tools. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { exceptionLayout } from "../lib/machine.ts";
import { symbolAddressOf } from "../lib/backtrace.ts";
import { codeAt, symbolsProblem } from "../lib/symbols.ts";
import { dlopen, type HardwareException } from "../mod.ts";
import {
  addr2line,
  addr2lineTool,
  compile,
  llvmSymbolizer,
  needs,
  type ToolFrame,
} from "./compile_support.ts";
import { notOnMusl } from "./musl_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath } from "./support.ts";

type Frames = ReturnType<HardwareException["info"]["backtrace"]>;

const fp = "-fno-omit-frame-pointer";
const noFp = "-fomit-frame-pointer";
// Compiled here, not in the tests: the first time may take longer than a test may.
const builds = [
  { name: "o0_fp", flags: ["-O0", fp] },
  { name: "o0_nofp", flags: ["-O0", noFp] },
  { name: "o2_fp", flags: ["-O2", fp] },
  { name: "o2_nofp", flags: ["-O2", noFp] },
  { name: "o2_dwarf4", flags: ["-O2", noFp, "-gdwarf-4"] },
].map(({ name, flags }) => ({ flags, path: compile(name, "backtrace_fixture.c", flags) }));
const withPointers = builds[0]!.path;
const optimized = builds[3]!.path;
const stripped = compile("stripped", "backtrace_fixture.c", ["-O2", noFp, "-s"]);
const cpp = compile("cpp", "backtrace_fixture.cpp", ["-O0"]);
const definitions = {
  bt_store: { result: "i32" },
  bt_inlined: { result: "i32" },
  bt_sort: { result: "i32" },
  bt_jump: { result: "i32" },
  bt_bulky: { result: "i32" },
  bt_divide: { parameters: ["i32"], result: "i32" },
  bt_trap: { result: "i32" },
  bt_signal: { result: "i32" },
  bt_arguments: {
    parameters: ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32", "address"],
    result: "i32",
  },
} as const;

const tools: readonly [string, (path: string, address: bigint) => readonly ToolFrame[]][] = [
  [addr2lineTool, addr2line],
  ["llvm-symbolizer", llvmSymbolizer],
];

/** Numbers of the lines of a source that name a site. */
function sites(source: string): ReadonlyMap<string, number> {
  const text = readFileSync(fileURLToPath(new URL(source, import.meta.url)), "utf8");
  return new Map(
    text.split("\n").flatMap((line, index) => {
      const site = /\/\* ([\w ]+) \*\/$/.exec(line)?.[1];
      return site === undefined ? [] : [[site, index + 1] as const];
    }),
  );
}

const lines = sites("./backtrace_fixture.c");

/** "function:site" of each frame, innermost first; the line alone where it has no name. */
function places(frames: Frames, named: ReadonlyMap<string, number> = lines): string[] {
  const names = new Map([...named].map(([site, line]) => [line, site]));
  return frames.map(({ symbol, line }) => `${symbol}:${names.get(line ?? 0) ?? line}`);
}

/** Compares the frames of one library with what a tool says about the same addresses. */
function compare(frames: Frames, path: string, ask: typeof addr2line): void {
  const own = frames.filter(({ module }) => module === path);
  for (let index = 0; index < own.length;) {
    const { address, trust } = own[index]!;
    const at = trust === "context" ? address : address - 1n;
    const asked = at - codeAt(at)!.moduleBase;
    const expected = ask(path, asked);
    const group = own.slice(index, index + expected.length);
    const told = group.map(({ symbol, file, line, column }, place) => ({
      ...{ symbol, file, line },
      column: expected[place]!.column === null ? null : column,
    }));
    assert.deepEqual(told, expected, `0x${asked.toString(16)} of ${path}`);
    const inlined = group.map((_, place) => place + 1 < group.length);
    assert.deepEqual(group.map((frame) => frame.inlined), inlined);
    index += group.length;
  }
}

for (const { path, flags } of builds) {
  for (const [tool, ask] of tools) {
    test(`${tool} tells the same frames, compiled with ${flags.join(" ")}`, needs(tool), () => {
      using lib = dlopen(path, definitions);
      const { bt_arguments, bt_divide, ...others } = lib.symbols;
      const bodies: readonly (() => unknown)[] = [
        ...(arm64 ? [] : [() => bt_divide(0)]),
        ...[() => bt_arguments(1, 2, 3, 4, 5, 6, 7, 8, 48n)],
        ...Object.values(others),
      ];
      for (const body of bodies) {
        const frames = exceptionOf(body).info.backtrace();
        compare(frames, path, ask);
      }
    });
  }
}

for (const { path, flags } of builds) {
  test(`backtrace of faults at known lines, compiled with ${flags.join(" ")}`, () => {
    using lib = dlopen(path, definitions);
    const { symbols } = lib;
    const divide = (): unknown => symbols.bt_divide(0);
    const expected: readonly [() => unknown, readonly string[]][] = [
      [symbols.bt_store, [
        "store:store",
        "middle:middle",
        "middle:recursion",
        "middle:recursion",
        "middle:recursion",
        "bt_store:bt_store",
      ]],
      [symbols.bt_inlined, ["deref:deref", "twice:twice", "bt_inlined:bt_inlined"]],
      [divide, ["bt_divide:bt_divide"]],
      [symbols.bt_trap, ["bt_trap:bt_trap"]],
      [() => symbols.bt_arguments(1, 2, 3, 4, 5, 6, 7, 8, 48n), [
        "store:store",
        "bt_arguments:bt_arguments",
      ]],
    ];
    const skipped = arm64 ? divide : null; // It gives 0.
    for (const [body, wanted] of expected) {
      if (body === skipped) continue;
      const frames = exceptionOf(body).info.backtrace();
      assert.deepEqual(places(frames), wanted);
      assert.equal(frames[0]!.trust, "context");
      const callers = frames.filter(({ address }) => address !== frames[0]!.address);
      assert.ok(callers.every(({ trust }) => trust === "cfi"));
      assert.ok(frames.every(({ module, offset }) => module === path && offset >= 0n));
    }
  });

  test(`backtrace through the C library, compiled with ${flags.join(" ")}`, {
    ...notOnMusl("musl is built without unwind tables"),
  }, () => {
    using lib = dlopen(path, definitions);
    const frames = exceptionOf(lib.symbols.bt_sort).info.backtrace();
    assert.equal(places(frames)[0], "compare:compare");
    assert.equal(places(frames).at(-1), "bt_sort:bt_sort");
    const between = frames.slice(1, -1);
    assert.ok(between.length > 0 && between.every(({ module }) => /\blibc\b/.test(module ?? "")));
    assert.ok(
      between.some(({ symbol }) => /qsort/.test(symbol ?? "")),
      JSON.stringify(
        between.map(({ symbol }) => symbol),
      ),
    );
  });

  test(`backtrace of a fault in a signal handler, compiled with ${flags.join(" ")}`, () => {
    using lib = dlopen(path, definitions);
    const frames = exceptionOf(lib.symbols.bt_signal).info.backtrace();
    assert.equal(places(frames)[0], "on_signal:on_signal");
    // The kernel's frame holds the vector registers: with wide ones the copy may end in it.
    if (frames.some(({ symbol }) => symbol === "raise")) {
      assert.equal(places(frames).at(-1), "bt_signal:bt_signal");
    }
  });

  test(`backtrace after a jump to nowhere, compiled with ${flags.join(" ")}`, () => {
    using lib = dlopen(path, definitions);
    const frames = exceptionOf(lib.symbols.bt_jump).info.backtrace();
    assert.deepEqual(places(frames), ["null:null", "bt_jump:bt_jump"]);
    assert.deepEqual(frames.map(({ trust }) => trust), ["context", "scan"]);
    assert.equal(frames[0]!.address, 64n);
    assert.equal(frames[0]!.module, null);
  });
}

test("backtrace goes on by frame pointers where the copied stack ends", () => {
  using lib = dlopen(withPointers, definitions);
  const frames = exceptionOf(lib.symbols.bt_bulky).info.backtrace();
  assert.deepEqual(places(frames), ["store:store", "bulky:bulky", "bt_bulky:bt_bulky"]);
  assert.deepEqual(frames.map(({ trust }) => trust), ["context", "cfi", "frame-pointer"]);
});

test("backtrace of a stack overflow holds what the handler could follow", () => {
  using lib = dlopen(fixturePath, { fx_overflow: { parameters: ["u64"], result: "u64" } });
  const frames = exceptionOf(() => lib.symbols.fx_overflow(0n)).info.backtrace();
  assert.ok(frames.length >= 64 && frames.length <= 256, String(frames.length));
  assert.ok(frames.every(({ symbol }) => symbol === "fx_overflow"));
  assert.equal(frames[0]!.trust, "context");
});

test("backtrace of a library without symbols and debug information gives offsets", () => {
  using lib = dlopen(stripped, definitions);
  const frames = exceptionOf(lib.symbols.bt_store).info.backtrace();
  assert.equal(frames.length, 6);
  assert.deepEqual(frames.map(({ symbol }) => symbol), [null, null, null, null, null, "bt_store"]);
  const base = codeAt(frames[0]!.address)!.moduleBase;
  for (const { address, module, offset, symbol, line } of frames) {
    assert.equal(module, stripped);
    assert.equal(line, null);
    if (symbol === null) assert.equal(offset, address - base);
  }
});

test("backtrace of C++ gives names with namespaces and classes, without parameters", () => {
  const named = sites("./backtrace_fixture.cpp");
  using lib = dlopen(cpp, {
    cpp_area: { parameters: ["i32"], result: "i32" },
    cpp_sort: { result: "i32" },
    cpp_stream: { result: "i32" },
  });
  const frames = exceptionOf(() => lib.symbols.cpp_area(2)).info.backtrace();
  assert.deepEqual(places(frames, named), [
    "shapes::Box<int>::read:read",
    "shapes::(anonymous namespace)::hidden:hidden",
    "shapes::Circle::area:area",
    "cpp_area:cpp_area",
  ]);
  const sorted = exceptionOf(() => lib.symbols.cpp_sort()).info.backtrace();
  assert.match(places(sorted, named)[0]!, /operator\(\):lambda$/);
  assert.match(sorted[0]!.symbol!, /^cpp_sort/);
  assert.ok(sorted.some(({ symbol }) => symbol?.startsWith("std::") && symbol.includes("sort")));
  assert.equal(sorted.at(-1)!.symbol, "cpp_sort");
  const stream = exceptionOf(() => lib.symbols.cpp_stream()).info.backtrace();
  assert.equal(places(stream, named)[0], "(anonymous namespace)::Buffer::overflow:overflow");
  assert.equal(places(stream, named).at(-1), "cpp_stream:cpp_stream");
  const between = stream.slice(1, -1);
  assert.ok(between.length > 1 && between.every(({ symbol }) => symbol!.startsWith("std::")));
});

for (const [tool, ask] of tools) {
  test(`${tool} tells the same C++ names and places`, needs(tool), () => {
    using lib = dlopen(cpp, { cpp_area: { parameters: ["i32"], result: "i32" } });
    compare(exceptionOf(() => lib.symbols.cpp_area(2)).info.backtrace(), cpp, ask);
  });
}

test("backtrace takes a limit, leaves symbols out, and stays when the library closes", () => {
  const lib = dlopen(optimized, definitions);
  const { info } = exceptionOf(lib.symbols.bt_store);
  const all = info.backtrace();
  lib.close();
  assert.deepEqual(info.backtrace(), all);
  assert.deepEqual(info.backtrace({ limit: 2 }), all.slice(0, 2));
  assert.deepEqual(info.backtrace({ limit: 0 }), []);
  assert.throws(() => info.backtrace({ limit: -1 }), RangeError);
  const bare = exceptionOf(() => dlopen(optimized, definitions).symbols.bt_store()).info.backtrace({
    symbols: false,
  });
  assert.ok(
    bare.every(({ symbol, line, module }) =>
      symbol === null && line === null && module === optimized
    ),
  );
  assert.ok(Object.isFrozen(bare) && Object.isFrozen(bare[0]));
});

test("H8 symbolAddressOf gives the start of the function, and null after a bad jump", () => {
  const at = (instructionPointer: bigint): bigint | null => {
    const chunk = new DataView(new ArrayBuffer(exceptionLayout.byteLength));
    chunk.setBigUint64(exceptionLayout.instruction_pointer.offset, instructionPointer, true);
    return symbolAddressOf({ chunk, offset: 0, call: { library: "", symbol: "" } });
  };
  using lib = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64" },
    fx_jump: { parameters: ["address"] },
  });
  const read = exceptionOf(() => lib.symbols.fx_read(0n)).info;
  const [frame] = read.backtrace();
  assert.equal(frame!.symbol, "fx_read");
  assert.equal(at(read.instructionPointer), read.instructionPointer - frame!.offset);
  for (const address of [0n, 16n, 0xffff_8000_0000_0000n]) {
    const { instructionPointer } = exceptionOf(() => lib.symbols.fx_jump(address)).info;
    if (instructionPointer === address) assert.equal(at(instructionPointer), null);
  }
  assert.equal(symbolsProblem(), null);
});
