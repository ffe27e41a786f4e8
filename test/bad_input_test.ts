/** Wrong input: each a clear error, and nothing breaks. */
import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { dlopen, status } from "../mod.ts";
import { isMusl, notOnMusl } from "./musl_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-"));
after(() => rmSync(folder, { recursive: true }));

const good = openFixture();
const counted = dlopen(fixturePath, {
  fx_note: { parameters: ["i32"] },
  noteWide: { name: "fx_note", parameters: ["u64"] },
  noteAddress: { name: "fx_note", parameters: ["address"] },
  noteBool: { name: "fx_note", parameters: ["bool"] },
  noteBuffer: { name: "fx_note", parameters: ["buffer"] },
  noteFloat: { name: "fx_note", parameters: ["f64"] },
  noteTwo: { name: "fx_note", parameters: ["i32", "address"] },
  fx_noted: { result: "u64" },
}).symbols;

/** Checks that good calls still work, guarded ones too. */
function stillWorks(): void {
  assert.equal(good.symbols.fx_echo_i32(11), 11);
  assert.equal(exceptionOf(() => good.symbols.fx_read(3n)).info.address, 3n);
}

/** Opens what must be refused. */
function refused(
  path: unknown,
  symbols: unknown,
  error: { name?: string; code?: string; message: RegExp },
  options?: unknown,
): void {
  const { openSymbols } = status();
  assert.throws(() => dlopen(path as string, symbols as never, options as never), error);
  assert.equal(status().openSymbols, openSymbols);
  stillWorks();
}

/** A definition of one symbol that must be refused. */
function badDefinition(definition: unknown, message: RegExp): void {
  refused(fixturePath, { fx_ud2: definition }, { name: "TypeError", message });
}

const anyCall = counted as unknown as Record<string, (...args: unknown[]) => unknown>;

/** A call that must be refused before native code runs. */
function badCall(name: string, args: unknown[], message: RegExp): void {
  const before = counted.fx_noted();
  assert.throws(() => anyCall[name]!(...args), { name: "TypeError", message });
  assert.equal(counted.fx_noted(), before);
}

const neverUnloads = "musl unloads no library";

test("dlopen()'s functions refuse missing arguments, and native code does not run", () => {
  const message = /Cannot call fx_note\(\) of .*fixture\.so as its argument 1 of 1 .*undefined/;
  const names = ["fx_note", "noteWide", "noteAddress", "noteBool", "noteBuffer", "noteFloat"];
  for (const name of names) badCall(name, [], message);
  badCall("noteTwo", [1], /argument 2 of 2 \(address\) takes a bigint or null: .* undefined/);
  badCall("noteTwo", [], /argument 1 of 2 \(i32\) takes a number: current value is undefined/);
  stillWorks();
});

test("dlopen()'s functions convert nothing but numbers to 64-bit integers", () => {
  const object = { valueOf: () => 1, toString: () => "1" };
  const never = ["1", "", null, undefined, {}, [], [1], object, () => 1, Symbol("s"), new Date()];
  const boxed = [new Number(1), new String("1"), new Boolean(true), Object(1n)];
  for (const value of [...never, ...boxed]) {
    badCall("fx_note", [value], /argument 1 of 1 \(i32\) takes a number: current value is/);
    badCall("noteFloat", [value], /argument 1 of 1 \(f64\) takes a number: current value is/);
    badCall("noteWide", [value], /argument 1 of 1 \(u64\) takes a number or a bigint: current/);
    badCall("noteBool", [value], /argument 1 of 1 \(bool\) takes true or false: current value is/);
    if (value === null) continue;
    badCall("noteAddress", [value], /argument 1 of 1 \(address\) takes a bigint or null: current/);
    badCall("noteBuffer", [value], /argument 1 of 1 \(buffer\) takes a typed array, a DataView/);
  }
  for (const name of ["fx_note", "noteFloat", "noteBool", "noteBuffer"]) {
    badCall(name, [1n], /argument 1 of 1 .*current value is 1n/);
  }
  for (const name of ["noteBool", "noteAddress", "noteBuffer"]) {
    badCall(name, [1], /argument 1 of 1 .*current value is 1$/);
  }
  for (const name of ["fx_note", "noteFloat", "noteWide", "noteAddress", "noteBuffer"]) {
    badCall(name, [true], /argument 1 of 1 .*current value is true/);
  }
  stillWorks();
});

test("dlopen()'s functions refuse odd objects with an error of their own", () => {
  const hostile = {
    get constructor(): never {
      throw new Error("hostile");
    },
  };
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  const odd = [Object.create(null), { constructor: 1 }, hostile, proxy];
  for (const value of odd) {
    badCall(
      "fx_note",
      [value],
      /argument 1 of 1 \(i32\) takes a number: current value is an object/,
    );
  }
  stillWorks();
});

test("dlopen()'s functions stay correct when they refuse between good calls", () => {
  for (let round = 0; round < 20_000; round++) {
    const before = counted.fx_noted();
    counted.noteTwo(round, 1n);
    if (round % 100 === 0) badCall("noteTwo", [round, round], /argument 2 of 2/);
    assert.equal(counted.fx_noted(), before + 1n);
  }
});

test("dlopen() refuses unknown types, by name and position", () => {
  for (const type of ["int", "I32", "", "i128", "constructor", "__proto__", "toString"]) {
    badDefinition({ parameters: ["i32", type] }, new RegExp(`parameter 2 has the type "${type}"`));
    badDefinition({ result: type }, new RegExp(`its result has the type "${type}", which is not`));
  }
  for (const type of [null, 1, true, undefined, {}, Symbol("i32")]) {
    badDefinition(
      { parameters: [type] },
      /Cannot define fx_ud2\(\) of .* parameter 1 has the type/,
    );
    if (type === undefined) continue;
    badDefinition({ result: type }, /Cannot define fx_ud2\(\) of .* its result has the type/);
  }
  badDefinition(
    { parameters: ["void"] },
    /parameter 1 has the type "void", which is not supported/,
  );
  // deno-lint-ignore no-sparse-arrays
  badDefinition({ parameters: [, "i32"] }, /parameter 1 has the type undefined/);
});

test("dlopen() refuses odd objects as types, without taking them for their text", () => {
  badDefinition({ parameters: [["i32"]] }, /parameter 1 has the type (?!i32,)/);
  badDefinition({ parameters: [Object.create(null)] }, /parameter 1 has the type/);
});

test("dlopen() refuses structs by value in so many words", () => {
  badDefinition({ parameters: [{ struct: ["i32"] }] }, /parameter 1 has .* a struct by value/);
  badDefinition({ result: { struct: ["i32", "f64"] } }, /result has .* a struct by value/);
});

test("dlopen() refuses definitions that are no objects", () => {
  for (const definition of [null, undefined, 1, "i32", [], ["i32"], true]) {
    badDefinition(definition, /Cannot define fx_ud2\(\) of .* as its definition is not an object/);
  }
  badDefinition(() => {}, /Cannot define fx_ud2\(\) of .* as its definition is not an object/);
  badDefinition({ parameters: "i32" }, /its parameters are not an array of type names/);
  badDefinition({ parameters: null }, /its parameters are not an array of type names/);
  badDefinition({ parameters: { length: 0 } }, /its parameters are not an array of type names/);
  badDefinition({ name: "" }, /its name is not a symbol's name/);
  badDefinition({ name: 5 }, /its name is not a symbol's name/);
  badDefinition({ name: "fx_ud2\0x" }, /its name is not a symbol's name/);
  badDefinition({ optional: 1 }, /"optional" is neither true nor false/);
});

test("dlopen() refuses properties that it does not know, instead of ignoring them", () => {
  badDefinition({ paramters: ["i32"] }, /the property "paramters", which is not supported: use/);
  badDefinition({ callback: true }, /the property "callback", which is not supported/);
  const message = /the options for .* the property "signal", which is not supported: use/;
  refused(fixturePath, {}, { name: "TypeError", message }, { signal: ["SIGFPE"] });
  for (const options of [null, 1, "x", []]) {
    const error = { name: "TypeError", message: /Cannot use the options for .* not an object/ };
    refused(fixturePath, {}, error, options);
  }
});

test("dlopen() refuses signals that it does not know", () => {
  const message = /Cannot select signals as .*: pass an array of names out of SIGSEGV/;
  for (const signals of ["SIGSEGV", ["SIGKILL"], ["SIGINT"], [11], null, {}]) {
    badDefinition({ signals }, message);
    refused(fixturePath, {}, { name: "TypeError", message }, { signals });
  }
});

test("dlopen() refuses symbols that are no object of definitions", () => {
  const message = /Cannot open .* as its symbols are not an object: pass \{ name: definition \}/;
  for (const symbols of [null, undefined, 1, "fx_ud2", [], ["fx_ud2"]]) {
    refused(fixturePath, symbols, { name: "TypeError", message });
  }
});

test("dlopen() says which symbol is missing, with code SYMBOL_NOT_FOUND", () => {
  const message = /Cannot find fx_nothing in .*fixture\.so: check its spelling, or define it/;
  const error = { name: "FaultlineError", code: "SYMBOL_NOT_FOUND", message };
  refused(fixturePath, { fx_ud2: {}, fx_nothing: {} }, error);
  refused(fixturePath, { fx_ud2: { name: "fx_nothing" } }, error);
});

test("dlopen() says why a library cannot be opened, with code LIBRARY_NOT_FOUND", () => {
  const other = new Uint8Array(readFileSync(fixturePath));
  const cut = other.slice(0, 200);
  other[18] = arm64 ? 62 : 183; // e_machine: the other one.
  const files: Record<string, Uint8Array | string> = {
    // musl does not look at the machine.
    ...(isMusl ? {} : { "other.so": other }),
    "cut.so": cut,
    "empty.so": "",
    "text.so": "hello\n".repeat(100),
  };
  const paths = Object.entries(files).map(([name, content]) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  });
  for (const path of [...paths, folder, join(folder, "missing.so"), "lib%s%n-missing.so.9"]) {
    const message = new RegExp(
      `^Cannot open ${path.replaceAll(".", "\\.")} as the loader refuses it: .{5}`,
    );
    refused(path, { fx_ud2: {} }, { name: "FaultlineError", code: "LIBRARY_NOT_FOUND", message });
  }
  const absent = new URL(`file://${folder}/missing%20too.so`);
  const message = /Cannot open .*\/missing too\.so as the loader refuses it/;
  refused(absent, {}, { code: "LIBRARY_NOT_FOUND", message });
});

test("dlopen() refuses paths that are none", () => {
  const message = /Cannot open a library as its path must be a string .*: current value is/;
  const values = ["", "a\0b", `${fixturePath}\0`, 5, null, undefined, {}, [], true, Symbol("x")];
  for (const path of values) refused(path, { fx_ud2: {} }, { name: "TypeError", message });
  const scheme = { name: "TypeError", message: /file/ };
  refused(new URL("http://localhost/x.so"), { fx_ud2: {} }, scheme);
  refused(new URL("data:text/plain,x"), { fx_ud2: {} }, scheme);
});

test("dlopen() refuses an object without text as a path", () => {
  const message = /Cannot open a library as its path must be a string .*: current value is/;
  refused(Object.create(null), { fx_ud2: {} }, { name: "TypeError", message });
});

test("dlopen() refuses a file URL with a zero in it, which would be cut there", () => {
  const url = new URL(`file://${fixturePath}%00.txt`);
  refused(url, { fx_ud2: {} }, { name: "TypeError", message: /path|null bytes/ });
});

const echoes: readonly string[] = [
  ...["bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"].map((type) =>
    `fx_echo_${type}`
  ),
  ...["fx_seen", "fx_map", "fx_unmap", "fx_protect", "fx_disposition", "fx_set_disposition"],
  ...["fx_mend", "fx_raise", "fx_kill_self", "fx_is_null", "fx_raw_register"],
];

test("dlopen() goes on when every thunk is taken, and gives all of them back", () => {
  const definition = { name: "fx_echo_i32", parameters: ["i32"], result: "i32" } as const;
  const many = (count: number): Record<string, typeof definition> =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, definition]));
  const { openSymbols } = status();
  // All of one target share a slot: these differ in what they catch.
  const signals = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"] as const;
  const distinct = Object.fromEntries(
    Array.from({ length: 64 * 20 }, (_, index) => [`f${index}`, {
      ...definition,
      name: echoes[Math.floor(index / 64)]!,
      signals: signals.filter((_name, bit) => (index >> bit & 1) === 1),
    }]),
  );
  {
    using library = dlopen(fixturePath, distinct);
    using same = dlopen(fixturePath, many(500));
    for (const call of Object.values(library.symbols)) assert.equal(typeof call, "function");
    assert.equal(library.symbols.f70!(5), 5);
    assert.equal(library.symbols.f1279!(5), 5);
    assert.equal(same.symbols.f499!(5), 5);
  }
  assert.equal(status().openSymbols, openSymbols);
});

test("close() makes every function refuse with code CLOSED, and may be called again", () => {
  const { openSymbols } = status();
  const library = openFixture();
  const { fx_echo_i32, fx_read } = library.symbols;
  // Compiled by the runtime before it is closed.
  for (let round = 0; round < 50_000; round++) assert.equal(fx_echo_i32(round), round);
  exceptionOf(() => fx_read(0n));
  assert.ok(status().openSymbols > openSymbols);
  library.close();
  library.close();
  library[Symbol.dispose]();
  assert.equal(status().openSymbols, openSymbols);
  const message = /Cannot call fx_echo_i32\(\) of .*fixture\.so as it was closed/;
  const error = { name: "FaultlineError", code: "CLOSED", message };
  for (let round = 0; round < 3; round++) {
    assert.throws(() => fx_echo_i32(1), error);
    assert.throws(() => library.symbols.fx_read(0n), { code: "CLOSED" });
  }
  assert.equal(library.exceptionCount, 1);
  // Slots are used again: the closed functions must not reach their new owners.
  using _others = dlopen(fixturePath, { fx_ud2: {}, fx_hlt: {}, fx_int3: {} });
  assert.throws(() => fx_echo_i32(1), error);
  stillWorks();
});

test("close() happens at the end of a block with `using`", () => {
  let leaked;
  {
    using library = openFixture();
    leaked = library.symbols.fx_echo_i32;
    assert.equal(leaked(2), 2);
  }
  assert.throws(() => leaked(2), { code: "CLOSED" });
});

test("close() unloads the library", notOnMusl(neverUnloads), () => {
  const path = join(folder, "unloaded.so");
  writeFileSync(path, readFileSync(fixturePath));
  const mapped = (): boolean => readFileSync("/proc/self/maps", "utf8").includes(path);
  const library = dlopen(path, { fx_echo_i32: { parameters: ["i32"], result: "i32" } });
  assert.equal(library.symbols.fx_echo_i32(1), 1);
  assert.equal(mapped(), true);
  library.close();
  assert.equal(mapped(), false);
});

test("dlopen() unloads a library that it refuses after opening it", notOnMusl(neverUnloads), () => {
  const path = join(folder, "refused.so");
  writeFileSync(path, readFileSync(fixturePath));
  assert.throws(() => dlopen(path, { fx_nothing: {} }), { code: "SYMBOL_NOT_FOUND" });
  assert.equal(readFileSync("/proc/self/maps", "utf8").includes(path), false);
});
