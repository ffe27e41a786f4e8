/** What later calls do after an exception: `afterException`, and what is suspect by default. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { callable, dlopen, HardwareException } from "../mod.ts";
import { muslHasNoUnwindTables, notOnMusl } from "./musl_support.ts";
import { exceptionOf, fixturePath } from "./support.ts";

const echo = { parameters: ["i32"], result: "i32" } as const;
const read = { parameters: ["address"], result: "u64" } as const;
const fixture = { fx_echo_i32: echo, fx_read: read } as const;

/** That a call is refused because of `cause`. */
function isPoisoned(body: () => unknown, cause: unknown, name: string): void {
  assert.throws(body, (error: Error & { code?: string }) => {
    assert.ok(!(error instanceof HardwareException));
    assert.equal(error.code, "LIBRARY_POISONED");
    assert.equal(error.cause, cause);
    assert.ok(error.message.includes(`${name}()`), error.message);
    return true;
  });
}

function openLibc(options: Parameters<typeof dlopen>[2] = {}) {
  return dlopen("libc.so.6", {
    free: { parameters: ["address"] },
    abs: echo,
    strlen: { parameters: ["address"], result: "usize" },
  }, options);
}

test("dlopen() goes on after an exception that is not suspect", () => {
  using library = dlopen(fixturePath, fixture);
  for (let round = 0; round < 3; round++) {
    exceptionOf(() => library.symbols.fx_read(0n));
    assert.equal(library.symbols.fx_echo_i32(round), round);
  }
});

test("dlopen() poisons the handle after a suspect exception, until it is opened again", {
  ...notOnMusl(muslHasNoUnwindTables),
}, () => {
  using library = openLibc();
  using other = openLibc();
  exceptionOf(() => library.symbols.strlen(0n));
  assert.equal(library.symbols.abs(-1), 1);
  const error = exceptionOf(() => library.symbols.free(0x10n));
  // It begins with the call, as the stacks of exceptions that poison nothing.
  assert.doesNotMatch(String(error.stack).split("\n")[1] ?? "", /guarded_/);
  assert.ok(String(error.stack).startsWith(`HardwareException: ${error.message}\n`), error.stack!);
  isPoisoned(() => library.symbols.abs(-1), error, "abs");
  isPoisoned(() => library.symbols.free(0n), error, "free");
  assert.throws(() => library.symbols.abs("x" as never), TypeError);
  assert.equal(library.exceptionCount, 2);
  assert.equal(other.symbols.abs(-2), 2);
  using again = openLibc();
  assert.equal(again.symbols.abs(-3), 3);
});

test('afterException "continue" goes on after a suspect exception', {
  ...notOnMusl(muslHasNoUnwindTables),
}, () => {
  using library = openLibc({ afterException: "continue" });
  assert.equal(exceptionOf(() => library.symbols.free(0x10n)).info.safety, "suspect");
  assert.equal(library.symbols.abs(-1), 1);
});

test('afterException "poison" poisons after any exception', () => {
  using library = dlopen(fixturePath, fixture, { afterException: "poison" });
  const error = exceptionOf(() => library.symbols.fx_read(0n));
  assert.equal(error.info.safety, "unknown");
  isPoisoned(() => library.symbols.fx_echo_i32(1), error, "fx_echo_i32");
});

test("afterException of a symbol wins over that of its library", () => {
  using library = dlopen(fixturePath, {
    fx_echo_i32: echo,
    lenient: { ...read, name: "fx_read", afterException: "continue" },
    fx_read: read,
  }, { afterException: "poison" });
  exceptionOf(() => library.symbols.lenient(0n));
  assert.equal(library.symbols.fx_echo_i32(1), 1);
  const error = exceptionOf(() => library.symbols.fx_read(0n));
  isPoisoned(() => library.symbols.lenient(0n), error, "fx_read");
  using strict = dlopen(fixturePath, {
    fx_echo_i32: echo,
    fx_read: { args: ["u64"], returns: "u64", afterException: "poison" },
  });
  exceptionOf(() => strict.symbols.fx_read(0n));
  assert.throws(() => strict.symbols.fx_echo_i32(1), { code: "LIBRARY_POISONED" });
});

test("a poisoned library says CLOSED once it is closed", () => {
  const library = dlopen(fixturePath, fixture, { afterException: "poison" });
  exceptionOf(() => library.symbols.fx_read(0n));
  library.close();
  assert.throws(() => library.symbols.fx_echo_i32(1), { code: "CLOSED" });
});

test("a nonblocking call poisons, and is refused, as any other", async () => {
  using library = dlopen(fixturePath, {
    fx_echo_i32: { ...echo, nonblocking: true },
    fx_read: { ...read, nonblocking: true },
  }, { afterException: "poison" });
  assert.equal(await library.symbols.fx_echo_i32(7), 7);
  const error = await library.symbols.fx_read(0n).catch((reason: unknown) => reason);
  assert.ok(error instanceof HardwareException);
  await assert.rejects(
    async () => await library.symbols.fx_echo_i32(1),
    { code: "LIBRARY_POISONED", cause: error },
  );
});

test("a result that cannot be read poisons too where any exception does", () => {
  using library = dlopen(fixturePath, {
    fx_echo_i32: echo,
    text: { parameters: ["u64"], result: "cstring", name: "fx_echo_u64" },
  }, { afterException: "poison" });
  const error = exceptionOf(() => library.symbols.text(0x10n));
  isPoisoned(() => library.symbols.fx_echo_i32(1), error, "fx_echo_i32");
});

test("callable() poisons itself alone", () => {
  using library = dlopen(fixturePath, {
    fx_read: { ...read },
    address: { type: "address", name: "fx_read" },
  });
  const strict = callable(library.symbols.address, { ...read, afterException: "poison" });
  const error = exceptionOf(() => strict(0n));
  assert.throws(() => strict(0n), { code: "LIBRARY_POISONED", cause: error });
  exceptionOf(() => library.symbols.fx_read(0n));
});

test("afterException of another value is a TypeError at open", () => {
  const wrong = { afterException: "stop" } as never;
  assert.throws(() => dlopen(fixturePath, fixture, wrong), /TypeError|"afterException"/);
  assert.throws(() => dlopen(fixturePath, { fx_read: { ...read, afterException: 1 } as never }), {
    name: "TypeError",
  });
});
