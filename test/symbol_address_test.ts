/** `info.symbolAddress`: the start of the function that faulted, against what dlsym() gives. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { catchException, dlopen, HardwareException, throwException } from "../mod.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture } from "./support.ts";

const { symbols } = openFixture();
const libc = dlopen("libc.so.6", {
  dlopen: { parameters: ["cstring", "i32"], result: "address" },
  dlsym: { parameters: ["address", "cstring"], result: "address" },
  div: { parameters: ["i32", "i32"], result: "i64" },
}).symbols;
const now = 2;

/** Where the loader says that a function of `path` begins. */
function dlsym(path: string, name: string): bigint {
  const address = libc.dlsym(libc.dlopen(path, now), name);
  assert.notEqual(address, 0n, name);
  return address;
}

test("H34 ExceptionInfo.symbolAddress is the start of the function, as dlsym() gives it", () => {
  const cases: readonly [string, string, () => unknown][] = [
    [fixturePath, "fx_read", () => symbols.fx_read(0n)],
    [fixturePath, "fx_write", () => symbols.fx_write(0x10n, 1)],
    [fixturePath, "fx_divide", () => symbols.fx_divide(1, 0)],
    [fixturePath, "fx_ud2", () => symbols.fx_ud2()],
    ["libc.so.6", "div", () => libc.div(1, 0)],
  ];
  for (const [path, name, body] of cases) {
    // The C library divides as the CPU does: on arm64 that gives 0.
    if (arm64 && name === "div") continue;
    const { info } = exceptionOf(body);
    assert.equal(info.symbolAddress, dlsym(path, name), name);
    assert.ok(info.instructionPointer >= info.symbolAddress!, name);
  }
});

test("H34 ExceptionInfo.symbolAddress with inlined functions is the outer one's start", () => {
  const { library, path } = openReportFixture();
  const { info } = exceptionOf(() => library.symbols.list_sum(shortList));
  const frames = info.backtrace();
  const outermost = frames.find(({ inlined }) => !inlined)!;
  assert.equal(info.symbolAddress, outermost.address - outermost.offset);
  assert.ok(info.symbolAddress! >= frames[0]!.address - 4096n, path);
});

test("H8 ExceptionInfo.symbolAddress is null after a jump to a bad address", () => {
  const data = symbols.fx_map(4096, 3);
  const code = symbols.fx_map(4096, 7);
  // ud2 in code that no file has symbols for.
  symbols.fx_write(code, 0x0b0fn);
  for (const address of [0n, 0x1234n, data, code]) {
    const { info } = exceptionOf(() => symbols.fx_jump(address));
    assert.equal(info.symbolAddress, null, address.toString(16));
  }
  using faults = dlopen(fixturePath, { fx_data: {} });
  assert.equal(exceptionOf(() => faults.symbols.fx_data()).info.symbolAddress, null);
});

test("H35 ExceptionInfo.symbolAddress survives JSON and structured clone", () => {
  for (const body of [() => symbols.fx_read(0n), () => symbols.fx_jump(0x10n)]) {
    const error = exceptionOf(body);
    const { symbolAddress } = error.info;
    const written = error.toJSON() as { info: Record<string, unknown> };
    const expected = symbolAddress === null ? null : `0x${symbolAddress.toString(16)}`;
    assert.equal(written.info.symbolAddress, expected);
    const again = HardwareException.fromJSON(JSON.parse(JSON.stringify(error)));
    assert.equal(again.info.symbolAddress, symbolAddress);
    assert.equal(structuredClone(exceptionOf(body).info).symbolAddress, symbolAddress);
    assert.equal(HardwareException.fromJSON(written).info.symbolAddress, symbolAddress);
  }
  const thrown = catchException(() => throwException());
  assert.equal(thrown.ok ? undefined : thrown.error.info.symbolAddress, null);
});
