/** Guarded calls where `new Function` is refused. */
import { strict as assert } from "node:assert";
import { dlopen, HardwareException } from "../../mod.ts";
import { exceptionOf, fixturePath, runCase } from "../support.ts";

function all(): void {
  assert.throws(() => new Function("return 1"), EvalError);
  using library = dlopen(fixturePath, {
    fx_echo_bool: { parameters: ["bool"], result: "bool" },
    fx_echo_i8: { parameters: ["i8"], result: "i8" },
    fx_echo_u64: { parameters: ["u64"], result: "u64" },
    fx_echo_f32: { parameters: ["f32"], result: "f32" },
    pointer: { name: "fx_echo_u64", parameters: ["address"], result: "pointer" },
    fx_note: { parameters: ["i32"] },
    fx_noted: { result: "u64" },
    fx_read: { parameters: ["address"], result: "u64" },
  });
  const { symbols } = library;
  assert.equal(symbols.fx_echo_bool(true), true);
  assert.equal(symbols.fx_echo_i8(200), -56);
  assert.equal(symbols.fx_echo_u64(-1), 2n ** 64n - 1n);
  assert.equal(symbols.fx_echo_f32(0.1), Math.fround(0.1));
  assert.equal(symbols.pointer(0n), null);
  assert.equal(symbols.fx_note(1), undefined);
  assert.throws(() => (symbols.fx_note as () => void)(), TypeError);
  assert.throws(() => symbols.fx_note("1" as never), TypeError);
  assert.equal(symbols.fx_noted(), 1n);
  assert.equal(symbols.fx_echo_u64.name, "fx_echo_u64");
  assert.deepEqual([1n, 2n].map(symbols.fx_echo_u64), [1n, 2n]);
  for (let round = 0; round < 100; round++) {
    const error = exceptionOf(() => symbols.fx_read(16n));
    assert.ok(error instanceof HardwareException);
    assert.equal(error.info.address, 16n);
  }
  assert.equal(library.exceptionCount, 100);
  library.close();
  assert.throws(() => symbols.fx_noted(), { code: "CLOSED" });
}

await runCase(import.meta.url, { all });
