/** Code that a library makes at run time is recoverable; the runtime's own code is not. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { callable, callback, dlopen } from "../mod.ts";
import { callsDie, callsPass, openCalls } from "./calls_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture } from "./support.ts";

const fixture = openFixture();
const cache = dlopen(fixturePath, { fx_flush: { parameters: ["address", "u64"] } }).symbols;
const calls = openCalls();
const libc = dlopen("libc.so.6", {
  memcpy: { parameters: ["address", "buffer", "usize"], result: "address" },
  dlopen: { parameters: ["buffer", "i32"], result: "address" },
  dlsym: { parameters: ["address", "buffer"], result: "address" },
});
const text = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${value}\0`);

/** A page with these instructions, readable, writable and executable. */
function pageOf(...code: readonly number[]): bigint {
  const page = fixture.symbols.fx_map(4096n, 7);
  libc.symbols.memcpy(page, Uint8Array.from(code), code.length);
  cache.fx_flush(page, BigInt(code.length));
  return page;
}

/** Instructions of arm64 as bytes. */
function words(...instructions: readonly number[]): number[] {
  return [...new Uint8Array(Uint32Array.from(instructions).buffer)];
}

/** What the file of the mapping that holds an address is; "" when it has none. */
function fileAt(address: bigint): string {
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [range = "", , , , , ...path] = line.split(/ +/);
    const [start = "", end = ""] = range.split("-");
    if (end !== "" && address >= BigInt(`0x${start}`) && address < BigInt(`0x${end}`)) {
      return path.join(" ");
    }
  }
  assert.fail(`nothing is mapped at 0x${address.toString(16)}`);
}

/** Why a library cannot be used; false if it can. */
function missing(path: string): string | false {
  try {
    dlopen(path, {}).close();
    return false;
  } catch {
    return `${path} is not installed here`;
  }
}

test("callable() recovers from faults in pages that mmap made executable", () => {
  // mov (%rdi),%rax; ret, or ldr x0, [x0]; ret
  const code = arm64 ? words(0xf9400000, 0xd65f03c0) : [0x48, 0x8b, 0x07, 0xc3];
  const load = callable(pageOf(...code), {
    parameters: ["address"],
    result: "u64",
    name: "made",
  });
  const page = pageOf(1, 2, 3, 4, 5, 6, 7, 8);
  for (let round = 0; round < 100; round++) {
    const { info } = exceptionOf(() => load(BigInt(round)));
    assert.equal(info.address, BigInt(round));
    assert.equal(fileAt(info.instructionPointer), "");
    assert.equal(load(page), 0x0807060504030201n);
  }
});

test("callable() recovers from every kind of fault in generated code", () => {
  const onArm64: readonly (readonly [readonly number[], string])[] = [
    [words(0), "illegal-instruction"],
    [words(0xd4200000), "breakpoint"],
    // mrs x0, sctlr_el1
    [words(0xd5381000), "illegal-instruction"],
    // mov x0, #8; br x0
    [words(0xd2800100, 0xd61f0000), "access-violation"],
    // str x0, [sp, #-16]!; b to it: a stack overflow
    [words(0xf81f0fe0, 0x17ffffff), "stack-overflow"],
  ];
  const kinds: readonly (readonly [readonly number[], string])[] = arm64 ? onArm64 : [
    [[0x0f, 0x0b], "illegal-instruction"],
    [[0xcc, 0xc3], "breakpoint"],
    [[0xf4, 0xc3], "general-protection"],
    [[0x31, 0xc9, 0x31, 0xd2, 0xf7, 0xf1, 0xc3], "arithmetic"],
    [[0xff, 0x24, 0x25, 0x08, 0, 0, 0], "access-violation"],
    // push %rax; jmp to it: a stack overflow
    [[0x50, 0xeb, 0xfd], "stack-overflow"],
  ];
  for (const [code, type] of kinds) {
    const made = callable(pageOf(...code), {});
    for (let round = 0; round < 5; round++) assert.equal(exceptionOf(made).info.type, type);
  }
});

test("callable() runs generated code that calls back, and faults after that", () => {
  // push %rbx; call *%rdi; pop %rbx; mov 0x10,%eax; ret
  // str x30, [sp, #-16]!; blr x0; mov x0, #0x10; ldr x0, [x0]; ldr x30, [sp], #16; ret
  const code = arm64
    ? words(0xf81f0ffe, 0xd63f0000, 0xd2800200, 0xf9400000, 0xf84107fe, 0xd65f03c0)
    : [0x53, 0xff, 0xd7, 0x5b, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0, 0xc3];
  const made = callable(pageOf(...code), { parameters: ["function"] });
  let runs = 0;
  using body = callback({}, () => {
    runs++;
    assert.equal(exceptionOf(() => calls.symbols.cx_load(4n)).info.address, 4n);
  });
  for (let round = 0; round < 50; round++) {
    assert.equal(exceptionOf(() => made(body)).info.address, 0x10n);
  }
  assert.equal(runs, 50);
});

test("dlopen() recovers from faults in what PCRE2's JIT made", {
  skip: missing("libpcre2-8.so.0"),
}, () => {
  const { symbols } = dlopen("libpcre2-8.so.0", {
    pcre2_compile_8: {
      parameters: ["buffer", "usize", "u32", "buffer", "buffer", "address"],
      result: "address",
    },
    pcre2_jit_compile_8: { parameters: ["address", "u32"], result: "i32" },
    pcre2_match_data_create_8: { parameters: ["u32", "address"], result: "address" },
    pcre2_jit_match_8: {
      parameters: ["address", "address", "usize", "usize", "u32", "address", "address"],
      result: "i32",
    },
    match: {
      name: "pcre2_jit_match_8",
      parameters: ["address", "buffer", "usize", "usize", "u32", "address", "address"],
      result: "i32",
    },
  }, {
    // Nothing says how to unwind this code, and a stale word of its stack can look like a caller.
    afterException: "continue",
  });
  const pattern = new TextEncoder().encode("a+(b|c)d*e");
  const size = BigInt(pattern.length);
  const [code, at] = [new Int32Array(1), new BigUint64Array(1)];
  const compiled = symbols.pcre2_compile_8(pattern, size, 0, code, at, 0n);
  assert.notEqual(compiled, 0n);
  assert.equal(symbols.pcre2_jit_compile_8(compiled, 1), 0, "PCRE2 was built without JIT");
  const data = symbols.pcre2_match_data_create_8(8, 0n);
  const subject = new TextEncoder().encode("xxaaacdde");
  for (let round = 0; round < 200; round++) {
    const { info } = exceptionOf(() =>
      symbols.pcre2_jit_match_8(compiled, 0x5000n, 100n, 0n, 0, data, 0n)
    );
    assert.ok(info.address! >= 0x5000n && info.address! < 0x6000n);
    assert.equal(info.call?.symbol, "pcre2_jit_match_8");
    assert.ok(!fileAt(info.instructionPointer).includes("libpcre2"), "it was not in JIT code");
    assert.equal(symbols.match(compiled, subject, 9n, 0n, 0, data, 0n), 2);
  }
});

test("callable() recovers from faults behind a closure of libffi, and calls back through one", {
  skip: missing("libffi.so.8"),
}, () => {
  const ffi = dlopen("libffi.so.8", {
    ffi_closure_alloc: { parameters: ["usize", "buffer"], result: "address" },
    ffi_prep_cif: { parameters: ["buffer", "u32", "u32", "address", "address"], result: "i32" },
    ffi_prep_closure_loc: {
      parameters: ["address", "buffer", "address", "address", "address"],
      result: "i32",
    },
  }).symbols;
  const handle = libc.symbols.dlopen(text("libffi.so.8"), 2);
  const voidType = libc.symbols.dlsym(handle, text("ffi_type_void"));
  const cif = new Uint8Array(64);
  assert.equal(ffi.ffi_prep_cif(cif, 2, 0, voidType, 0n), 0);
  const closureOf = (target: bigint): () => void => {
    const code = new BigUint64Array(1);
    const closure = ffi.ffi_closure_alloc(64n, code);
    assert.notEqual(closure, 0n);
    assert.equal(ffi.ffi_prep_closure_loc(closure, cif, target, 7n, code[0]!), 0);
    return callable(code[0]!, {});
  };
  const wild = closureOf(0x1238n);
  let data: bigint[] = [];
  using body = callback(
    { parameters: ["address", "address", "address", "address"] },
    (...args) => {
      data = args as bigint[];
      assert.equal(exceptionOf(() => calls.symbols.cx_load(4n)).info.address, 4n);
    },
  );
  const back = closureOf(body.address);
  for (let round = 0; round < 50; round++) {
    assert.equal(exceptionOf(wild).info.instructionPointer, 0x1238n);
    back();
    assert.equal(data[3], 7n);
  }
});

test("callback() whose WebAssembly traps leaves generated code of a library recoverable", () => {
  callsPass("generated_code", "trapsBeside");
});

for (const name of ["engineFault", "runtimeFault", "engineFaultInWorker"]) {
  test(`a fault of the runtime or its engine is never recovered: ${name}`, () => {
    callsDie("SIGSEGV", "generated_code", name);
  });
}

test("dlopen() knows the fixture's own code from generated code", () => {
  const { info } = exceptionOf(() => fixture.symbols.fx_read(3n));
  assert.ok(fixturePath.endsWith(fileAt(info.instructionPointer).split("/").at(-1)!));
});
