import { strict as assert } from "node:assert";
import { after, describe, test } from "node:test";
import { dlopen } from "../mod.ts";
import { exceptionOf, fixturePath, missingPath, refusal } from "./foreign_support.ts";

const scalarTypes = [
  "bool",
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "isize",
  "usize",
  "f32",
  "f64",
] as const;

const library = dlopen(fixturePath, {
  fx_static_page_address: { result: "address" },
  fx_count: { result: "u32" },
  fx_protect: { parameters: ["address", "u64", "u32"], result: "i32" },
  memory: { name: "fx_read", parameters: ["pointer"], result: "u64" },
  echo: { name: "fx_echo_u64", parameters: ["pointer"], result: "address" },
});
const { symbols } = library;
after(() => library.close());

/** Runs `body` while a page that holds a variable may not be accessed. */
function hidden(body: (page: bigint) => void): void {
  const page = symbols.fx_static_page_address();
  assert.equal(symbols.fx_protect(page, 4_096, 0), 0);
  try {
    body(page);
  } finally {
    assert.equal(symbols.fx_protect(page, 4_096, 3), 0);
  }
}

describe("a static of a scalar type", () => {
  test("is the value of the variable", () => {
    using opened = dlopen(fixturePath, {
      yes: { name: "fx_static_true", type: "bool" },
      no: { name: "fx_static_false", type: "bool" },
      fx_static_i8: { type: "i8" },
      fx_static_u8: { type: "u8" },
      fx_static_i16: { type: "i16" },
      fx_static_u16: { type: "u16" },
      fx_static_i32: { type: "i32" },
      fx_static_u32: { type: "u32" },
      fx_static_i64: { type: "i64" },
      fx_static_u64: { type: "u64" },
      isize: { name: "fx_static_i64", type: "isize" },
      usize: { name: "fx_static_u64", type: "usize" },
      fx_static_f32: { type: "f32" },
      fx_static_f64: { type: "f64" },
    });
    assert.deepEqual({ ...opened.symbols }, {
      yes: true,
      no: false,
      fx_static_i8: -128,
      fx_static_u8: 255,
      fx_static_i16: -32_768,
      fx_static_u16: 65_535,
      fx_static_i32: -(2 ** 31),
      fx_static_u32: 2 ** 32 - 1,
      fx_static_i64: -(2n ** 63n),
      fx_static_u64: 2n ** 64n - 1n,
      isize: -(2n ** 63n),
      usize: 2n ** 64n - 1n,
      fx_static_f32: Math.fround(0.1),
      fx_static_f64: -0.1,
    });
  });

  test("need not be aligned", () => {
    using opened = dlopen(fixturePath, {
      address: { name: "fx_static_odd", type: "address" },
      u8: { name: "fx_static_odd", type: "u8" },
      u16: { name: "fx_static_odd", type: "u16" },
      u32: { name: "fx_static_odd", type: "u32" },
      u64: { name: "fx_static_odd", type: "u64" },
      f64: { name: "fx_static_odd", type: "f64" },
    });
    const { address, u8, u16, u32, u64, f64 } = opened.symbols;
    assert.equal(address % 2n, 1n);
    assert.deepEqual([u8, u16, u32, u64], [1, 0x0201, 0x04030201, 0x0807060504030201n]);
    const bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
    assert.equal(f64, new Float64Array(bytes.buffer)[0]);
  });

  test("is read once, at open", () => {
    const definitions = {
      fx_static_counter: { type: "u32" },
      fx_count: { result: "u32" },
    } as const;
    using opened = dlopen(fixturePath, definitions);
    const before = opened.symbols.fx_static_counter;
    assert.equal(opened.symbols.fx_count(), before + 1);
    assert.equal(opened.symbols.fx_static_counter, before);
    using again = dlopen(fixturePath, definitions);
    assert.equal(again.symbols.fx_static_counter, before + 1);
  });

  test("cannot be changed", () => {
    using opened = dlopen(fixturePath, { fx_static_u8: { type: "u8" } });
    assert.throws(() => Object.assign(opened.symbols, { fx_static_u8: 1 }), TypeError);
    assert.equal(opened.symbols.fx_static_u8, 255);
  });

  test("stays after close()", () => {
    const opened = dlopen(fixturePath, { fx_static_u8: { type: "u8" } });
    opened.close();
    assert.equal(opened.symbols.fx_static_u8, 255);
  });
});

describe("a static of another type", () => {
  test('"address" is the address as a bigint', () => {
    using opened = dlopen(fixturePath, { fx_static_page: { type: "address" } });
    assert.equal(opened.symbols.fx_static_page, symbols.fx_static_page_address());
  });

  test('"pointer", "buffer" and "function" are the address as a pointer of the runtime', () => {
    using opened = dlopen(fixturePath, {
      pointer: { name: "fx_static_page", type: "pointer" },
      buffer: { name: "fx_static_page", type: "buffer" },
      function: { name: "fx_static_page", type: "function" },
      code: { name: "fx_echo_u64", type: "function" },
    });
    const address = symbols.fx_static_page_address();
    for (
      const pointer of [opened.symbols.pointer, opened.symbols.buffer, opened.symbols.function]
    ) {
      assert.notEqual(typeof pointer, "bigint");
      assert.equal(symbols.echo(pointer), address);
      assert.equal(symbols.memory(pointer), 0x7070_7070_7070_7070n);
    }
    assert.notEqual(opened.symbols.code, null);
  });

  test("that gives an address does not touch the variable", () => {
    hidden((page) => {
      using opened = dlopen(fixturePath, {
        address: { name: "fx_static_page", type: "address" },
        pointer: { name: "fx_static_page", type: "pointer" },
        buffer: { name: "fx_static_page", type: "buffer" },
        function: { name: "fx_static_page", type: "function" },
      });
      assert.equal(opened.symbols.address, page);
      assert.equal(symbols.echo(opened.symbols.pointer), page);
    });
  });

  test('"cstring" is the text at the address of the variable', () => {
    using opened = dlopen(fixturePath, {
      fx_static_text: { type: "cstring" },
      fx_static_empty: { type: "cstring" },
    });
    assert.equal(opened.symbols.fx_static_text, "\ufeffGrüße\ufffd");
    assert.equal(opened.symbols.fx_static_empty, "");
  });
});

describe("a static that cannot be read", () => {
  test("is a HardwareException from dlopen() that names it", () => {
    hidden((page) => {
      for (const type of [...scalarTypes, "cstring"] as const) {
        const error = exceptionOf(() => dlopen(fixturePath, { fx_static_page: { type } }));
        assert.equal(error.code, "SEGV_ACCERR", type);
        assert.equal(error.info.address, page, type);
        assert.equal(error.info.access, "read", type);
        assert.equal(error.info.call?.symbol, "fx_static_page", type);
        assert.ok(error.info.call?.library.includes("fixture.so"));
      }
      const named = { other: { name: "fx_static_page", type: "i32" } } as const;
      assert.equal(
        exceptionOf(() => dlopen(fixturePath, named)).info.call?.symbol,
        "fx_static_page",
      );
    });
  });

  test("leaves nothing open, and the next open works", () => {
    hidden(() => {
      const definitions = {
        fx_echo_u64: { parameters: ["u64"], result: "u64" },
        fx_static_page: { type: "u8" },
      } as const;
      // More than there are thunks.
      for (let i = 0; i < 1_500; i++) exceptionOf(() => dlopen(fixturePath, definitions));
    });
    using opened = dlopen(fixturePath, { fx_static_page: { type: "u8" } });
    assert.equal(opened.symbols.fx_static_page, 0x70);
  });
});

describe("statics among other symbols", () => {
  test("symbols keeps the order of the definitions", () => {
    using opened = dlopen(fixturePath, {
      zebra: { name: "fx_static_u8", type: "u8" },
      fx_echo_u64: { args: ["u64"], returns: "u64" },
      missing: { type: "i32", optional: true },
      apple: { name: "fx_static_i8", type: "i8" },
      absent: { parameters: [], optional: true },
      mango: { name: "fx_echo_i32", parameters: ["i32"], result: "i32" },
    });
    const keys = ["zebra", "fx_echo_u64", "missing", "apple", "absent", "mango"];
    assert.deepEqual(Object.keys(opened.symbols), keys);
    assert.equal(opened.symbols.zebra, 255);
    assert.equal(opened.symbols.apple, -128);
    assert.equal(opened.symbols.missing, undefined);
    assert.ok("missing" in opened.symbols && "absent" in opened.symbols);
    assert.equal(opened.symbols.mango(-5), -5);
    assert.equal(opened.symbols.fx_echo_u64(5), 5n);
  });

  test("an optional static that exists is its value", () => {
    using opened = dlopen(fixturePath, { fx_static_u8: { type: "u8", optional: true } });
    assert.equal(opened.symbols.fx_static_u8, 255);
  });

  test("a missing one is SYMBOL_NOT_FOUND with its name in the library", () => {
    const missing = { key: { name: "fx_no_such_variable", type: "i32" } } as const;
    assert.throws(() => dlopen(fixturePath, missing), (error: unknown) => {
      assert.ok(error instanceof Error);
      assert.equal((error as Error & { code: string }).code, "SYMBOL_NOT_FOUND");
      assert.match(error.message, /fx_no_such_variable in .*fixture\.so/);
      return true;
    });
  });

  test("a library may have statics alone", () => {
    using opened = dlopen(fixturePath, { fx_static_u16: { type: "u16" } });
    assert.deepEqual({ ...opened.symbols }, { fx_static_u16: 65_535 });
    assert.equal(opened.exceptionCount, 0);
  });
});

describe("a definition of a static that is wrong", () => {
  test("names the type and the symbol, before anything is opened", () => {
    for (const type of ["void", "char", "int", "", "toString", "__proto__", "i64_fast"]) {
      const message = refusal({ fx_static: { type } });
      assert.match(message, /fx_static of .*no_such_library/, type);
      assert.ok(message.includes(JSON.stringify(type)), message);
    }
    for (const type of [undefined, null, 5, 5n, [], { struct: ["i32"] }]) {
      assert.match(refusal({ fx_static: { type } }), /fx_static of .*no_such_library/);
    }
  });

  test("may not have properties of a function, or ones that are not known", () => {
    for (const name of ["parameters", "result", "args", "returns", "ptr", "signals", "Type"]) {
      assert.match(refusal({ fx_static: { type: "i32", [name]: [] } }), new RegExp(`"${name}"`));
    }
  });

  test("needs a name and a boolean", () => {
    for (const name of ["", "a\0b", 5, null]) {
      assert.match(refusal({ fx_static: { type: "i32", name } }), /name/);
    }
    for (const optional of [1, "yes", null]) {
      assert.match(refusal({ fx_static: { type: "i32", optional } }), /optional/);
    }
  });

  test("is refused before a missing library is noticed", () => {
    const good = { fx_static: { type: "i32" } } as const;
    assert.throws(() => dlopen(missingPath, good), { code: "LIBRARY_NOT_FOUND" });
  });
});

describe("statics of libc", () => {
  test("environ, stdout and program_invocation_name", () => {
    using libc = dlopen("libc.so.6", {
      environ: { type: "pointer" },
      environAddress: { name: "environ", type: "address" },
      environValue: { name: "environ", type: "u64" },
      stdout: { type: "address" },
      program_invocation_name: { type: "u64" },
      strlen: { parameters: ["address"], result: "usize" },
      textAt: { name: "strstr", parameters: ["address", "cstring"], result: "cstring" },
      fileno: { parameters: ["address"], result: "i32" },
      stdoutFile: { name: "stdout", type: "u64" },
    });
    const { symbols: c } = libc;
    assert.notEqual(c.environ, null);
    assert.notEqual(c.environAddress, 0n);
    assert.notEqual(c.environValue, c.environAddress);
    assert.equal(c.fileno(c.stdoutFile), 1);
    assert.notEqual(c.stdout, 0n);
    const name = c.textAt(c.program_invocation_name, "");
    assert.match(name ?? "", /(?:bun|deno)/);
    assert.equal(
      c.strlen(c.program_invocation_name),
      BigInt(new TextEncoder().encode(name!).length),
    );
  });
});
