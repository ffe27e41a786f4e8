/** Slots: shared where that is safe, never reused under a function that is still held. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type CallOptions, dlopen, status } from "../mod.ts";
import { callsPass } from "./calls_support.ts";
import { exceptionOf, fixturePath } from "./support.ts";

const definitions = {
  fx_read: { parameters: ["address"], result: "u64" },
  fx_echo_i32: { parameters: ["i32"], result: "i32" },
} as const;

test("dlopen() twice counts twice in openSymbols, and closing one leaves the other working", () => {
  const before = status().openSymbols;
  const first = dlopen(fixturePath, definitions);
  assert.equal(status().openSymbols, before + 2);
  const second = dlopen(fixturePath, definitions);
  assert.equal(status().openSymbols, before + 4);
  first.close();
  assert.equal(status().openSymbols, before + 2);
  assert.throws(() => first.symbols.fx_echo_i32(1), { code: "CLOSED" });
  assert.equal(second.symbols.fx_echo_i32(1), 1);
  assert.equal(exceptionOf(() => second.symbols.fx_read(6n)).info.address, 6n);
  assert.deepEqual([first.exceptionCount, second.exceptionCount], [0, 1]);
  second.close();
  assert.equal(status().openSymbols, before);
  for (const { symbols } of [first, second]) {
    assert.throws(() => symbols.fx_echo_i32(1), { code: "CLOSED" });
    assert.throws(() => symbols.fx_read(0n), { code: "CLOSED" });
  }
});

test("dlopen() under other options keeps to its own", () => {
  const raise = { fx_raise: { parameters: ["u32"], result: "i32" } } as const;
  const all: CallOptions[] = [
    { signals: ["SIGABRT"] },
    { signals: ["SIGABRT", "SIGFPE"] },
    { signals: ["SIGABRT", "SIGSEGV"] },
    { signals: ["SIGABRT"] },
  ];
  const libraries = all.map((options) =>
    dlopen(fixturePath, { ...raise, ...definitions }, options)
  );
  for (const { symbols } of libraries) {
    assert.equal(exceptionOf(() => symbols.fx_raise(6)).info.type, "abort");
  }
  assert.equal(exceptionOf(() => libraries[1]!.symbols.fx_raise(8)).info.type, "arithmetic");
  assert.equal(exceptionOf(() => libraries[2]!.symbols.fx_read(8n)).info.address, 8n);
  libraries[0]!.close();
  assert.equal(exceptionOf(() => libraries[3]!.symbols.fx_raise(6)).info.type, "abort");
  for (const library of libraries) library.close();
});

test("dlopen() names the exception after the handle that was called, not the slot", () => {
  using first = dlopen(fixturePath, { fx_read: definitions.fx_read });
  using second = dlopen(new URL(`file://${fixturePath}`), {
    other: { ...definitions.fx_read, name: "fx_read" },
  });
  using third = dlopen(fixturePath, { fx_read: { ...definitions.fx_read, result: "i32" } });
  const libraries = [
    exceptionOf(() => first.symbols.fx_read(1n)),
    exceptionOf(() => second.symbols.other(2n)),
    exceptionOf(() => third.symbols.fx_read(3n)),
  ];
  assert.deepEqual(libraries.map(({ info }) => info.address), [1n, 2n, 3n]);
  assert.deepEqual(
    [first.exceptionCount, second.exceptionCount, third.exceptionCount],
    [1, 1, 1],
  );
});

test("dlopen() with other types for the same function shares what can be shared", () => {
  using wide = dlopen(fixturePath, {
    a: { name: "fx_echo_u64", parameters: ["u64"], result: "u64" },
    b: { name: "fx_echo_u64", parameters: ["i64"], result: "i64" },
    c: { name: "fx_echo_u64", parameters: ["u32"], result: "u32" },
    d: { name: "fx_echo_u64", parameters: ["bool"], result: "bool" },
    e: { name: "fx_echo_u64", parameters: Array(9).fill("u64") as "u64"[], result: "u64" },
  });
  const { a, b, c, d, e } = wide.symbols;
  assert.equal(a(2n ** 64n - 1n), 2n ** 64n - 1n);
  assert.equal(b(-1n), -1n);
  assert.equal(c(2 ** 32 - 1), 2 ** 32 - 1);
  assert.equal(d(true), true);
  assert.equal((e as (...values: bigint[]) => bigint)(9n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 1n), 9n);
});

test("a captured function of a closed library never calls another whose slot it was", () => {
  const before = status().openSymbols;
  const captured: ((value: number) => unknown)[] = [];
  for (let round = 0; round < 100; round++) {
    const library = dlopen(fixturePath, {
      fx_echo_i32: { ...definitions.fx_echo_i32 },
      fx_note: { parameters: ["u64"] },
    });
    assert.equal(library.symbols.fx_echo_i32(round), round);
    captured.push(library.symbols.fx_echo_i32, library.symbols.fx_note);
    library.close();
  }
  assert.equal(status().openSymbols, before);
  // These take the slots that were given back.
  using noted = dlopen(fixturePath, {
    fx_noted: { result: "u64" },
    fx_note: { parameters: ["u64"] },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  });
  const notes = noted.symbols.fx_noted();
  for (const call of captured) assert.throws(() => call(1), { code: "CLOSED" });
  assert.equal(noted.symbols.fx_noted(), notes);
  noted.symbols.fx_note(1);
  assert.equal(noted.symbols.fx_noted(), notes + 1n);
});

test("dlopen() and close() a thousand times leave nothing behind", () => {
  const before = status().openSymbols;
  for (let round = 0; round < 1000; round++) {
    using library = dlopen(fixturePath, definitions);
    if (round % 50 === 0) {
      assert.equal(exceptionOf(() => library.symbols.fx_read(7n)).info.address, 7n);
    }
  }
  assert.equal(status().openSymbols, before);
});

for (
  const name of [
    ...["overflow", "stackOverflow", "workerEnds", "workerShares", "closedDuringCall"],
    ...["capturedAndCollected", "manyShared"],
  ]
) {
  test(`slots in a process of its own: ${name}`, () => callsPass("slots", name));
}
