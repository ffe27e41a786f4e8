/** Guarded functions from addresses. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { callable, dlopen, type NativeType, status } from "../mod.ts";
import { callsPass, callsPath } from "./calls_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture } from "./support.ts";

const text = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${value}\0`);
const loader = dlopen("libc.so.6", {
  dlopen: { parameters: ["buffer", "i32"], result: "address" },
  dlsym: { parameters: ["address", "buffer"], result: "address" },
});

/** The address of a symbol, as a library gives it. */
function addressOf(symbol: string, library: string = fixturePath): bigint {
  const handle = loader.symbols.dlopen(text(library), 2);
  assert.notEqual(handle, 0n);
  const address = loader.symbols.dlsym(handle, text(symbol));
  assert.notEqual(address, 0n, symbol);
  return address;
}

test("callable() calls functions that dlsym gave", () => {
  const abs = callable(addressOf("abs", "libc.so.6"), { parameters: ["i32"], result: "i32" });
  const cos = callable(addressOf("cos", "libm.so.6"), { parameters: ["f64"], result: "f64" });
  for (let round = 0; round < 20_000; round++) {
    assert.equal(abs(-round), round);
    assert.equal(cos(0), 1);
  }
});

test("callable() calls functions of a table", () => {
  const names = ["fx_echo_i32", "fx_echo_f64", "fx_echo_u64", "fx_read", "fx_divide"];
  const table = BigUint64Array.from(names, (name) => addressOf(name));
  assert.equal(callable(table[0]!, { parameters: ["i32"], result: "i32" })(-5), -5);
  assert.equal(callable(table[1]!, { parameters: ["f64"], result: "f64" })(0.1), 0.1);
  assert.equal(callable(table[2]!, { parameters: ["u64"], result: "u64" })(2n ** 63n), 2n ** 63n);
  const read = callable(table[3]!, { parameters: ["address"], result: "u64" });
  const divide = callable(table[4]!, { parameters: ["i32", "i32"], result: "i32" });
  for (let round = 0; round < 50; round++) {
    assert.equal(exceptionOf(() => read(BigInt(round))).info.address, BigInt(round));
    assert.equal(exceptionOf(() => divide(1, 0)).code, "FPE_INTDIV");
    assert.equal(divide(round * 2, 2), round);
  }
});

test("callable() passes arguments through the stack", () => {
  const mixed = [
    ...["i8", "u16", "i32", "u32", "i64", "u64"] as const,
    ...["f32", "f64", "f64", "f32", "f64", "f64", "f64", "f64"] as const,
  ] as const;
  const mix = callable(addressOf("fx_mix"), { parameters: mixed, result: "f64" });
  assert.equal(mix(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 239);
  const parameters: NativeType[] = Array.from({ length: 20 }, () => "u64");
  const wide = callable(addressOf("fx_echo_u64"), { parameters, result: "u64" });
  const call = wide as (...values: unknown[]) => unknown;
  assert.equal(call(...Array.from({ length: 20 }, (_, index) => BigInt(index + 3))), 3n);
});

test("callable() calls variadic functions, floats included", () => {
  const out = new Uint8Array(64);
  const print = callable(addressOf("snprintf", "libc.so.6"), {
    parameters: ["buffer", "usize", "buffer", "f64", "i32", "f64"],
    result: "i32",
  });
  for (let round = 0; round < 100; round++) {
    const length = print(out, 64n, text("%.2f %d %.3f"), 1.5, round, 2.25);
    assert.equal(new TextDecoder().decode(out.subarray(0, length)), `1.50 ${round} 2.250`);
  }
});

test("callable() takes 40 arguments, or refuses them by name", () => {
  const parameters: NativeType[] = Array.from({ length: 40 }, () => "u64");
  const values = parameters.map((_, index) => BigInt(index + 3));
  let wide: (...values: unknown[]) => unknown;
  try {
    const definition = { parameters, result: "u64", name: "wide" } as const;
    wide = callable(addressOf("fx_echo_u64"), definition) as typeof wide;
  } catch (error) {
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /wide\(\) of .*argument/);
    return;
  }
  assert.equal(wide(...values), 3n);
});

test("callable() refuses what is no address", () => {
  for (const wrong of [0n, 0, 5, "0x10", null, undefined, {}, NaN]) {
    assert.throws(() => callable(wrong as never, {}), {
      name: "TypeError",
      message: /Cannot call a function at .*bigint/,
    });
  }
  for (const wrong of [-1n, -(2n ** 63n), 2n ** 64n, 2n ** 70n]) {
    assert.throws(() => callable(wrong, {}), { name: "RangeError", message: /2n \*\* 64n/ });
  }
});

test("callable() refuses wrong definitions", () => {
  const address = addressOf("fx_echo_i32");
  for (const wrong of [undefined, null, 5, "i32", { parameters: ["i33"] }, { result: "x" }]) {
    assert.throws(() => callable(address, wrong as never), TypeError);
  }
  assert.throws(() => callable(address, { unknown: 1 } as never), /"unknown"/);
});

test("callable() shows its name, or its address, in messages", () => {
  const address = addressOf("fx_read");
  const definition = { parameters: ["address"], result: "u64" } as const;
  const named = callable(address, { ...definition, name: "my_reader" });
  assert.equal(named.name, "my_reader");
  const error = exceptionOf(() => named(9n));
  assert.match(error.message, /^my_reader\(\) of /);
  assert.equal(error.info.call?.symbol, "my_reader");
  const plain = callable(address, definition);
  const hexadecimal = `0x${address.toString(16)}`;
  assert.equal(plain.name, hexadecimal);
  assert.ok(exceptionOf(() => plain(9n)).message.startsWith(`${hexadecimal}() of `));
  assert.throws(() => plain(5 as never), {
    name: "TypeError",
    message: new RegExp(`^Cannot call ${hexadecimal}\\(\\) of .*argument 1 of 1 \\(address\\)`),
  });
});

for (const address of [1n, 0x1234n, 0x7000_0000_0000n, 2n ** 64n - 1n, 0xffff_8000_0000_0000n]) {
  test(`callable() at 0x${address.toString(16)} is an access violation there (H8)`, () => {
    const wild = callable(address, { result: "i32" });
    for (let round = 0; round < 20; round++) {
      const { info, code } = exceptionOf(() => wild());
      assert.equal(code, "SEGV_MAPERR");
      assert.deepEqual([info.type, info.access], ["access-violation", "execute"]);
      assert.equal(info.instructionPointer, address);
      assert.equal(info.address, address);
    }
  });
}

test("callable() at data is an access violation that names the protection (H8)", () => {
  const address = addressOf("fx_data");
  const { info, code } = exceptionOf(() => callable(address, {})());
  assert.deepEqual([code, info.access], ["SEGV_ACCERR", "execute"]);
  assert.equal(info.instructionPointer, address);
});

for (const stack of [false, true]) {
  test(`callable() at a wild address with arguments ${stack ? "on stack" : "in registers"}`, () => {
    const parameters: NativeType[] = Array.from({ length: stack ? 12 : 4 }, () => "u64");
    const wild = callable(0x4321n, { parameters }) as (...values: unknown[]) => unknown;
    for (let round = 0; round < 20; round++) {
      const { info } = exceptionOf(() => wild(...parameters.map(() => 1n)));
      assert.equal(info.instructionPointer, 0x4321n);
    }
  });
}

test("callable() in an unmapped library is an exception, not an end", () => {
  const { symbols } = openFixture();
  const page = symbols.fx_map(4096n, 7);
  using memory = dlopen("libc.so.6", {
    memcpy: { parameters: ["address", "buffer", "usize"], result: "address" },
  });
  using cache = dlopen(fixturePath, { fx_flush: { parameters: ["address", "u64"] } });
  // mov eax, 42; ret, or mov w0, #42; ret
  const code = arm64
    ? Uint8Array.of(0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6)
    : Uint8Array.of(0xb8, 42, 0, 0, 0, 0xc3);
  memory.symbols.memcpy(page, code, code.length);
  cache.symbols.fx_flush(page, BigInt(code.length));
  const made = callable(page, { result: "i32" });
  assert.equal(made(), 42);
  assert.equal(symbols.fx_unmap(page, 4096n), 0);
  assert.equal(exceptionOf(() => made()).info.instructionPointer, page);
});

test("callable() with options: signals and nonblocking, and wrong ones", async () => {
  const raise = callable(addressOf("fx_raise"), {
    parameters: ["u32"],
    result: "i32",
    signals: ["SIGABRT"],
  });
  for (let round = 0; round < 5; round++) {
    assert.equal(exceptionOf(() => raise(6)).info.type, "abort");
  }
  const echo = callable(addressOf("fx_echo_i32"), {
    parameters: ["i32"],
    result: "i32",
    nonblocking: true,
  });
  assert.equal(await echo(7), 7);
  assert.throws(() => callable(1n, { exceptions: "other" } as never), TypeError);
});

test("callable() shares the slot of the same function, and counts", () => {
  const before = status().openSymbols;
  const address = addressOf("cx_load", callsPath);
  const made = [1, 2, 3].map(() => callable(address, { parameters: ["address"], result: "u64" }));
  assert.equal(status().openSymbols, before + 3);
  for (const one of made) assert.equal(exceptionOf(() => one(6n)).info.address, 6n);
});

for (const name of ["nonCanonical", "collected", "collectedKeepsOthers", "manyCollected"]) {
  test(`callable() in a process of its own: ${name}`, () => callsPass("callables", name));
}
