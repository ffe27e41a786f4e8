import { strict as assert } from "node:assert";
import { after, describe, test } from "node:test";
import { dlopen } from "../mod.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, lacks, rawCallback, refusal } from "./foreign_support.ts";

const library = dlopen(fixturePath, {
  fx_string_length: { parameters: ["cstring"], result: "i64" },
  fx_byte_at: { parameters: ["cstring", "u64"], result: "u8" },
  fx_sum_two_strings: { parameters: ["cstring", "cstring"], result: "u64" },
  fx_sum_string_after: { parameters: ["cstring", "function"], result: "u64" },
  fx_noted: { result: "u64" },
  note: { name: "fx_note", parameters: ["cstring"] },
  addressOf: { name: "fx_echo_u64", parameters: ["buffer"], result: "address" },
  passed: { name: "fx_echo_u64", parameters: ["cstring"], result: "address" },
  text: { name: "fx_echo_u64", parameters: ["buffer"], result: "cstring" },
  textAt: { name: "fx_echo_u64", parameters: ["address"], result: "cstring" },
  round: { name: "fx_echo_u64", parameters: ["cstring"], result: "cstring" },
  fx_map: { parameters: ["u64", "u32"], result: "address" },
  fx_unmap: { parameters: ["address", "u64"], result: "i32" },
  fx_protect: { parameters: ["address", "u64", "u32"], result: "i32" },
  fx_map_short_file: { parameters: ["u64"], result: "address" },
});
const { symbols } = library;
after(() => library.close());

const libc = dlopen("libc.so.6", {
  memset: { parameters: ["address", "i32", "usize"], result: "address" },
  memcpy: { parameters: ["address", "buffer", "usize"], result: "address" },
  strlen: { parameters: ["cstring"], result: "usize" },
});
after(() => libc.close());

const encoder = new TextEncoder();
const terminated = (...bytes: number[]): Uint8Array => new Uint8Array([...bytes, 0]);

describe("a cstring argument", () => {
  test("is NUL-terminated UTF-8", () => {
    for (const text of ["", "a", "Grüße", "日本語", "😀", "\ufeffmark", "\u{10ffff}"]) {
      const bytes = encoder.encode(text);
      assert.equal(symbols.fx_string_length(text), BigInt(bytes.length), text);
      bytes.forEach((byte, index) => assert.equal(symbols.fx_byte_at(text, index), byte));
      assert.equal(symbols.fx_byte_at(text, bytes.length), 0);
    }
  });

  test("has U+FFFD for half of a surrogate pair", () => {
    assert.equal(symbols.round("a\ud83db\ude00c"), "a\ufffdb\ufffdc");
  });

  test("may be long", () => {
    const text = "0123456789abcdef".repeat(65_536);
    assert.equal(symbols.fx_string_length(text), 1_048_576n);
    assert.equal(symbols.fx_byte_at(text, 1_048_575), "f".charCodeAt(0));
    assert.equal(symbols.fx_byte_at(text, 1_048_576), 0);
  });

  test("with a zero inside is a TypeError, and native code does not run", () => {
    const before = symbols.fx_noted();
    for (const text of ["\0", "a\0", "\0a", "a\0b", `${"x".repeat(100_000)}\0`]) {
      assert.throws(() => symbols.note(text), (error: unknown) => {
        assert.ok(error instanceof TypeError);
        assert.match(error.message, /fx_note\(\) of .*argument 1 of 1 \(cstring\).*zero inside/);
        return true;
      });
    }
    assert.equal(symbols.fx_noted(), before);
  });

  test("null is the null pointer", () => {
    assert.equal(symbols.fx_string_length(null), -1n);
    assert.equal(symbols.passed(null), 0n);
  });

  test("memory passes as it is: its own address, byteOffset included, and no copy", () => {
    const bytes = terminated(0x61, 0x62, 0x63, 0x64);
    assert.equal(symbols.passed(bytes), symbols.addressOf(bytes));
    assert.equal(symbols.passed(bytes.buffer as ArrayBuffer), symbols.addressOf(bytes));
    const rest = bytes.subarray(2);
    assert.equal(symbols.passed(rest), symbols.addressOf(bytes) + 2n);
    assert.equal(symbols.fx_string_length(rest), 2n);
    assert.equal(symbols.fx_string_length(new DataView(bytes.buffer as ArrayBuffer, 1)), 3n);
    assert.equal(symbols.fx_string_length(new Uint16Array(bytes.buffer as ArrayBuffer, 2, 1)), 2n);
    assert.equal(symbols.fx_string_length(terminated(0x61, 0, 0x62)), 1n);
  });

  test("a SharedArrayBuffer works, and a view of one", () => {
    const shared = new SharedArrayBuffer(8);
    const view = new Uint8Array(shared);
    view.set([0x68, 0x69]);
    assert.equal(symbols.fx_string_length(shared), 2n);
    assert.equal(symbols.fx_string_length(view), 2n);
    assert.equal(symbols.fx_string_length(view.subarray(1)), 1n);
    assert.equal(symbols.round(view), "hi");
    assert.equal(libc.symbols.strlen(shared), 2n);
  });

  test("an empty buffer passes its address or null", () => {
    for (const empty of [new Uint8Array(0), new ArrayBuffer(0), new SharedArrayBuffer(0)]) {
      assert.equal(typeof symbols.passed(empty), "bigint");
    }
  });

  test("a detached buffer is a TypeError", () => {
    const view = terminated(0x61);
    structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
    assert.throws(() => symbols.passed(view), /transferred/);
    assert.throws(() => symbols.passed(view), TypeError);
    assert.throws(() => symbols.passed(view.buffer as ArrayBuffer), TypeError);
  });

  test("of any other kind is a TypeError, and native code does not run", () => {
    const note = symbols.note as (...args: unknown[]) => void;
    const before = symbols.fx_noted();
    const wrong = [
      undefined,
      0,
      1,
      1n,
      true,
      {},
      [],
      ["a"],
      new String("a"),
      Symbol("a"),
      () => {},
    ];
    for (const value of wrong) {
      assert.throws(() => note(value), (error: unknown) => {
        assert.ok(error instanceof TypeError, String(error));
        assert.match(error.message, /argument 1 of 1 \(cstring\) takes a string, a buffer or null/);
        return true;
      });
    }
    assert.throws(() => note(), TypeError);
    assert.equal(symbols.fx_noted(), before);
    note("extra arguments", "are", "ignored");
    assert.equal(symbols.fx_noted(), before + 1n);
  });

  test("two in one call have memory of their own", () => {
    assert.equal(symbols.fx_sum_two_strings("a", "b"), 97n + 98_000n);
    assert.equal(symbols.fx_sum_two_strings("a", "a"), 97n + 97_000n);
  });
});

describe("a cstring argument stays in memory until the call is over", () => {
  /** Throws away as much memory as makes both runtimes collect. */
  function collect(): void {
    let waste: unknown[] = [];
    for (let i = 0; i < 200; i++) waste = [waste.length, new Uint8Array(200_000).fill(i)];
    for (let i = 0; i < 2_000; i++) waste = [waste.length, encoder.encode("z".repeat(1_000))];
    assert.equal(waste.length, 2);
  }

  test("while a callback collects garbage", () => {
    using stack = new DisposableStack();
    const callback = rawCallback((value) => {
      collect();
      return value;
    });
    stack.defer(() => callback.close());
    const pointer = callback.pointer;
    for (let i = 0; i < 100; i++) {
      const length = 10 + i * 100;
      const sum = symbols.fx_sum_string_after("a".repeat(length), pointer);
      assert.equal(sum, 97n * BigInt(length));
    }
  });

  test("while callbacks make calls with strings of their own", () => {
    let depth = 0;
    using stack = new DisposableStack();
    const callback = rawCallback(() => {
      collect();
      depth++;
      if (depth % 5 !== 0) nested();
      assert.equal(symbols.round(`inside ${depth}`), `inside ${depth}`);
      assert.equal(exceptionOf(() => symbols.textAt(0x10n)).info.address, 0x10n);
      assert.throws(() => symbols.round("a\0"), TypeError);
      return 0;
    });
    stack.defer(() => callback.close());
    function nested(): void {
      const text = String.fromCharCode(97 + depth % 5).repeat(1_000);
      const expected = BigInt(text.charCodeAt(0)) * 1_000n;
      assert.equal(symbols.fx_sum_string_after(text, callback.pointer), expected);
    }
    for (depth = 0; depth < 50; depth++) nested();
  });
});

describe("a cstring result", () => {
  test("is a string, or null for the null pointer", () => {
    assert.equal(symbols.textAt(0n), null);
    assert.equal(symbols.textAt(null), null);
    assert.equal(symbols.text(terminated()), "");
    assert.equal(symbols.text(terminated(0x61)), "a");
    assert.equal(symbols.round("Grüße 日本語 😀"), "Grüße 日本語 😀");
    assert.equal(symbols.text(terminated(0x61, 0, 0x62)), "a");
  });

  test("keeps a byte order mark, wherever it is", () => {
    assert.equal(symbols.text(terminated(0xef, 0xbb, 0xbf)), "\ufeff");
    assert.equal(symbols.text(terminated(0xef, 0xbb, 0xbf, 0x61)), "\ufeffa");
    assert.equal(symbols.round("\ufeff\ufeffa\ufeff"), "\ufeff\ufeffa\ufeff");
    const long = "\ufeff" + "x".repeat(10_000);
    assert.equal(symbols.round(long), long);
  });

  test("has U+FFFD for invalid bytes", () => {
    const cases: readonly (readonly [readonly number[], string])[] = [
      [[0xff], "\ufffd"],
      [[0x61, 0x80, 0x62], "a\ufffdb"],
      [[0xc3], "\ufffd"],
      [[0xc3, 0x28], "\ufffd("],
      [[0xe2, 0x82], "\ufffd"],
      [[0xe2, 0x82, 0x61], "\ufffda"],
      [[0xf0, 0x9f, 0x98], "\ufffd"],
      [[0xc0, 0x80], "\ufffd\ufffd"],
      [[0xed, 0xa0, 0x80], "\ufffd\ufffd\ufffd"],
      [[0xf4, 0x90, 0x80, 0x80], "\ufffd\ufffd\ufffd\ufffd"],
      [[0xfe, 0xff], "\ufffd\ufffd"],
    ];
    for (const [bytes, expected] of cases) {
      assert.equal(symbols.text(terminated(...bytes)), expected, bytes.join());
      const filled = terminated(...Array.from({ length: 5_000 }, () => 0x78), ...bytes);
      assert.equal(symbols.text(filled), "x".repeat(5_000) + expected, bytes.join());
    }
  });

  test("starts at any alignment and has any length", () => {
    const bytes = new Uint8Array(8_300);
    for (let start = 0; start < 20; start++) {
      for (const length of [0, 1, 2, 15, 16, 17, 31, 33, 4_095, 4_096, 4_097, 8_191, 8_192]) {
        bytes.fill(0x41).fill(0x62, start, start + length)[start + length] = 0;
        assert.equal(symbols.text(bytes.subarray(start)), "b".repeat(length));
      }
    }
  });

  test("may be long", () => {
    const text = "Grüße, 16 bytes".repeat(65_536);
    assert.ok(symbols.round(text) === text);
    const ascii = "x".repeat(16 * 1_048_576);
    assert.ok(symbols.round(ascii) === ascii);
  });

  test("of one call does not change with the next", () => {
    const results = Array.from({ length: 50 }, (_, index) => symbols.round(`text ${index}`));
    results.forEach((result, index) => assert.equal(result, `text ${index}`));
  });

  test("names the symbol in the library, its optional name included", () => {
    const { call } = exceptionOf(() => symbols.textAt(0x10n)).info;
    assert.equal(call?.symbol, "fx_echo_u64");
    assert.ok(call?.library.includes("fixture.so"));
  });
});

describe("a cstring result that cannot be read", () => {
  const page = 4_096n;

  /** Two pages of which the second is gone, filled with "x". */
  function cutOff(body: (end: bigint) => void): void {
    const address = symbols.fx_map(8_192, 3);
    libc.symbols.memset(address, 0x78, 8_192);
    assert.equal(symbols.fx_unmap(address + page, 4_096), 0);
    try {
      body(address + page);
    } finally {
      symbols.fx_unmap(address, 4_096);
    }
  }

  test("throws what the CPU says", () => {
    const low = exceptionOf(() => symbols.textAt(0x10n));
    assert.deepEqual([low.code, low.info.address, low.info.access], ["SEGV_MAPERR", 0x10n, "read"]);
    const odd = exceptionOf(() => symbols.textAt(0x4141_4141_4141_4141n));
    if (arm64) assert.equal(odd.info.type, "access-violation");
    else assert.deepEqual([odd.info.type, odd.info.address], ["general-protection", null]);
    const high = exceptionOf(() => symbols.textAt(2n ** 64n - 1n));
    assert.equal(high.info.signal, "SIGSEGV");
  });

  test("names the symbol in its message", () => {
    assert.match(
      exceptionOf(() => symbols.textAt(0x10n)).message,
      /^fx_echo_u64\(\) of .*fixture\.so read address 0x10, where nothing is mapped/,
    );
  });

  test("throws at the first byte that is missing, wherever the string starts", () => {
    cutOff((end) => {
      for (const length of [1n, 2n, 7n, 15n, 16n, 17n, 100n, page - 1n, page]) {
        const { code, info } = exceptionOf(() => symbols.textAt(end - length));
        assert.deepEqual([code, info.address, info.access], ["SEGV_MAPERR", end, "read"]);
      }
      const { info } = exceptionOf(() => symbols.textAt(end + 5n));
      assert.equal(info.address, end + 5n);
    });
  });

  test("is read when its zero is the last byte there is", () => {
    cutOff((end) => {
      libc.symbols.memset(end - 1n, 0, 1);
      for (const length of [0, 1, 2, 7, 15, 16, 17, 100, 4_095]) {
        assert.equal(symbols.textAt(end - 1n - BigInt(length)), "x".repeat(length));
      }
    });
  });

  test("in a page that may not be read is SEGV_ACCERR", () => {
    const address = symbols.fx_map(4_096, 0);
    const { code, info } = exceptionOf(() => symbols.textAt(address + 1n));
    assert.deepEqual([code, info.address], ["SEGV_ACCERR", address + 1n]);
    symbols.fx_protect(address, 4_096, 3);
    libc.symbols.memcpy(address, terminated(0x6f, 0x6b), 3);
    assert.equal(symbols.textAt(address), "ok");
    symbols.fx_unmap(address, 4_096);
  });

  test("past the end of a mapped file is SIGBUS", () => {
    const address = symbols.fx_map_short_file(4_096);
    libc.symbols.memset(address, 0x78, 4_096);
    const { code, info } = exceptionOf(() => symbols.textAt(address + 4_000n));
    assert.deepEqual([code, info.signal, info.address], ["BUS_ADRERR", "SIGBUS", address + page]);
    symbols.fx_unmap(address, 8_192);
  });

  test("counts, and every later read works", () => {
    const before = library.exceptionCount;
    for (let i = 0; i < 2_000; i++) {
      exceptionOf(() => symbols.textAt(BigInt(1 + i)));
      assert.equal(symbols.round("fine"), "fine");
    }
    assert.equal(library.exceptionCount, before + 2_000);
  });

  test("is caught whatever the signals of the call are", () => {
    using other = dlopen(fixturePath, {
      fx_echo_u64: { parameters: ["u64"], result: "cstring", signals: ["SIGFPE"] },
    });
    assert.equal(exceptionOf(() => other.symbols.fx_echo_u64(1)).code, "SEGV_MAPERR");
  });
});

describe("cstring with libraries of the system", () => {
  test("libc finds and compares text", () => {
    using c = dlopen("libc.so.6", {
      getenv: { parameters: ["cstring"], result: "cstring" },
      setenv: { parameters: ["cstring", "cstring", "i32"], result: "i32" },
      strerror: { parameters: ["i32"], result: "cstring" },
      strchr: { parameters: ["cstring", "i32"], result: "cstring" },
      strcmp: { parameters: ["cstring", "cstring"], result: "i32" },
      atoi: { parameters: ["cstring"], result: "i32" },
    });
    assert.equal(c.symbols.getenv("FAULTLINE_NO_SUCH_VARIABLE"), null);
    assert.equal(c.symbols.setenv("FAULTLINE_TEST", "Grüße", 1), 0);
    assert.equal(c.symbols.getenv("FAULTLINE_TEST"), "Grüße");
    assert.equal(c.symbols.strerror(2), "No such file or directory");
    const buffer = encoder.encode("key=value\0");
    assert.equal(c.symbols.strchr(buffer, 0x3d), "=value");
    assert.equal(c.symbols.strchr(buffer, 0x21), null);
    assert.equal(c.symbols.strcmp("a", "a"), 0);
    assert.ok(c.symbols.strcmp("a", "b") < 0);
    assert.deepEqual(["1", "22", "333x"].map(c.symbols.atoi), [1, 22, 333]);
  });

  test("zlib tells its version", { skip: lacks("libz.so.1") }, () => {
    using z = dlopen("libz.so.1", { zlibVersion: { result: "cstring" } });
    assert.match(z.symbols.zlibVersion() ?? "", /^1\.\d+/);
  });

  test("SQLite tells its version", { skip: lacks("libsqlite3.so.0") }, () => {
    using sqlite = dlopen("libsqlite3.so.0", {
      sqlite3_libversion: { result: "cstring" },
      sqlite3_libversion_number: { result: "i32" },
      sqlite3_errstr: { parameters: ["i32"], result: "cstring" },
      sqlite3_strglob: { parameters: ["cstring", "cstring"], result: "i32" },
      sqlite3_version: { type: "cstring" },
    });
    const version = sqlite.symbols.sqlite3_libversion()!;
    const [major, minor, patch] = version.split(".").map(Number);
    assert.equal(
      sqlite.symbols.sqlite3_libversion_number(),
      major! * 1_000_000 + minor! * 1_000 + patch!,
    );
    assert.equal(sqlite.symbols.sqlite3_version, version);
    assert.equal(sqlite.symbols.sqlite3_errstr(1), "SQL logic error");
    assert.equal(sqlite.symbols.sqlite3_strglob("fault*", "faultline"), 0);
    assert.notEqual(sqlite.symbols.sqlite3_strglob("fault*", "vault"), 0);
  });
});

test("a type that is not known is refused by name, with cstring among what may be used", () => {
  const message = refusal({ f: { parameters: ["cString"] } });
  assert.match(message, /f\(\) of .*no_such_library.*parameter 1.*"cString"/);
  assert.match(message, /\bcstring\b/);
});
