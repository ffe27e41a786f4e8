/** Exceptions as plain data: through JSON and structured clone, and back. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { catchException, dlopen, HardwareException, throwException } from "../mod.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, openFixture } from "./support.ts";

const { symbols } = openFixture();

function again(error: HardwareException): HardwareException {
  return HardwareException.fromJSON(JSON.parse(JSON.stringify(error)));
}

const samples: readonly (readonly [string, () => unknown])[] = [
  ["a read", () => symbols.fx_read(0x10n)],
  ["a write in the kernel's half", () => symbols.fx_write(0xffff_8000_0000_0000n, 1)],
  ["a jump", () => symbols.fx_jump(0x10n)],
  ["a general protection fault", () => symbols.fx_read(2n ** 63n)],
  ["a division", () => symbols.fx_divide(1, 0)],
  ["a suspect exception", () => symbols.fx_block_and_read(0n)],
  ["throwException()", () => throwException({ page: 7 })],
];

for (const [name, body] of samples) {
  test(`HardwareException.fromJSON() gives back ${name}`, () => {
    const error = exceptionOf(body);
    for (
      const copy of [again(error), HardwareException.fromJSON(structuredClone(error.toJSON()))]
    ) {
      assert.ok(copy instanceof HardwareException && copy instanceof Error);
      assert.deepEqual({ ...copy.info }, { ...error.info });
      assert.equal(copy.code, error.code);
      assert.equal(copy.message, error.message);
      assert.equal(copy.stack, error.stack);
      assert.deepEqual(copy.additional, error.additional);
      assert.ok(Object.isFrozen(copy.info));
      assert.deepEqual(copy.toJSON(), error.toJSON());
    }
  });
}

interface Written {
  format: unknown;
  version: unknown;
  message: unknown;
  additional?: unknown;
  info: Record<string, unknown>;
}

function written(): Written {
  return structuredClone(exceptionOf(() => symbols.fx_write(0xabcn, 1)).toJSON()) as Written;
}

test("HardwareException.toJSON() has the documented shape", () => {
  const { format, version, message, info } = written();
  assert.deepEqual([format, version, typeof message], ["faultline.exception", 1, "string"]);
  assert.equal(info.address, "0xabc");
  assert.match(String(info.instructionPointer), /^0x[0-9a-f]+$/);
  const registers = info.registers as Record<string, unknown>;
  assert.equal(registers[arm64 ? "x0" : "rdi"], "0xabc");
  assert.equal(bytesOf(info.siginfo).byteLength, 128);
  assert.match(
    (info.instruction as { bytes: string }).bytes,
    arm64 ? /^[0-9a-f]{8}$/ : /^[0-9a-f]{30}$/,
  );
});

function bytesOf(text: unknown): Uint8Array {
  return Uint8Array.from(atob(String(text)), (letter) => letter.charCodeAt(0));
}

test("HardwareException.toJSON() attaches what JSON keeps", () => {
  const loop: { self?: unknown } = {};
  loop.self = loop;
  const cases: readonly [unknown, unknown][] = [
    [undefined, undefined],
    [null, null],
    ["text", "text"],
    [{ size: 16n, f: () => {} }, { size: "0x10" }],
    [() => {}, undefined],
    [Symbol("x"), undefined],
    [loop, undefined],
  ];
  for (const [value, expected] of cases) {
    const result = catchException(() => throwException(value));
    assert.ok(!result.ok);
    structuredClone(result.error.toJSON());
    assert.deepEqual(again(result.error).additional, expected);
  }
});

test("HardwareException.fromJSON() refuses other shapes with the field's name", () => {
  const cases: readonly [string, (value: Written) => unknown][] = [
    ["JSON", () => null],
    ["JSON", () => []],
    ["JSON", () => "x"],
    ["format", () => ({})],
    ["format", (value) => ({ ...value, format: "other" })],
    ["version", (value) => ({ ...value, version: "1" })],
    ["version", (value) => ({ ...value, version: 0 })],
    ["message", (value) => ({ ...value, message: 1 })],
    ["stack", (value) => ({ ...value, stack: 1 })],
    ["info", (value) => ({ ...value, info: undefined })],
    ["info.registers", (value) => ({ ...value, info: { ...value.info, registers: [] } })],
    [
      "info.registers.flags",
      (value) => ({
        ...value,
        info: {
          ...value.info,
          registers: { instructionPointer: "0x1", stackPointer: "0x1", framePointer: "0x1" },
        },
      }),
    ],
    ["info.call.symbol", (value) => ({ ...value, info: { ...value.info, call: { library: "" } } })],
    ["info.suspects[1]", (value) => ({ ...value, info: { ...value.info, suspects: ["a", 1] } })],
  ];
  for (const [field, change] of cases) {
    assert.throws(
      () => HardwareException.fromJSON(change(written())),
      (error: Error) => error instanceof TypeError && error.message.includes(`its ${field} must`),
      field,
    );
  }
});

test("HardwareException.fromJSON() refuses each field of info by name", () => {
  const bad: Readonly<Record<string, unknown>> = {
    address: "16",
    siginfo: "*",
    context: 5,
    instruction: { bytes: "abc", text: null },
    bounds: { lower: "0x1" },
    synthData: "0x11111111111111111",
    suspects: "free",
  };
  for (const name of Object.keys(written().info)) {
    const value = written();
    value.info[name] = name in bad ? bad[name] : Symbol.iterator;
    assert.throws(
      () => HardwareException.fromJSON(value),
      (error: Error) => error instanceof TypeError && error.message.includes(`info.${name}`),
      name,
    );
    delete value.info[name];
    assert.throws(() => HardwareException.fromJSON(value), TypeError, `${name} missing`);
  }
});

test("HardwareException.fromJSON() ignores what later versions may add", () => {
  const value = { ...written(), version: 2, later: true };
  value.info.later = {};
  assert.equal(HardwareException.fromJSON(value).info.address, 0xabcn);
});

test("HardwareException from JSON can be thrown and caught as a value", () => {
  using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
  const copy = again(exceptionOf(() => libc.symbols.strlen(0n)));
  const result = catchException(() => {
    throw copy;
  });
  assert.equal(result.ok ? null : result.error, copy);
});
