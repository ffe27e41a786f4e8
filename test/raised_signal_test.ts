/** The option `signals`: what a call catches, raised by the kernel or by the library. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen, type SignalName } from "../mod.ts";
import { notOnMusl } from "./musl_support.ts";
import { noFilters } from "./platform_support.ts";
import { childDies, childPasses, exceptionOf, fixturePath, numbers, runChild } from "./support.ts";

const raising = { fx_raise: { parameters: ["u32"], result: "i32" } } as const;
const faults = {
  fx_read: { parameters: ["address"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
} as const;

const all = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"] as const;
const types: Readonly<Record<SignalName, readonly [string, number]>> = {
  SIGSEGV: ["access-violation", 0x008],
  SIGBUS: ["bus-error", 0x008],
  SIGFPE: ["arithmetic", 0x008],
  SIGILL: ["illegal-instruction", 0x208],
  SIGTRAP: ["single-step", 0x408],
  SIGABRT: ["abort", 0x008],
  SIGSYS: ["policy", 0x8208],
};

for (const name of all) {
  test(`dlopen() with ${name} in \`signals\` catches it when the library raises it`, () => {
    using library = dlopen(fixturePath, raising, { signals: [name] });
    for (let round = 0; round < 20; round++) {
      const error = exceptionOf(() => library.symbols.fx_raise(numbers[name]));
      const { type, zxType, signal, code, codeNumber, address, access } = error.info;
      assert.deepEqual([signal, code, codeNumber], [name, "SI_TKILL", -6]);
      assert.deepEqual([address, access], [null, null]);
      if (name !== "SIGTRAP") assert.deepEqual([type, zxType], types[name]);
      assert.match(error.message, new RegExp(`fx_raise\\(\\) of .*\\(${name}, SI_TKILL\\)`));
      assert.equal(new DataView(error.info.siginfo.buffer).getInt32(8, true), -6);
    }
    assert.equal(library.exceptionCount, 20);
  });
}

test("dlopen() takes `signals` for a symbol before those for the library", () => {
  using library = dlopen(fixturePath, {
    ...faults,
    fx_raise: { ...raising.fx_raise, signals: ["SIGABRT"] },
    raiseToo: { ...raising.fx_raise, name: "fx_raise" },
  }, { signals: ["SIGFPE", "SIGSEGV"] });
  const { symbols } = library;
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
  assert.equal(exceptionOf(() => symbols.fx_read(0n)).code, "SEGV_MAPERR");
  assert.equal(exceptionOf(() => symbols.fx_raise(numbers.SIGABRT)).info.type, "abort");
  assert.equal(exceptionOf(() => symbols.raiseToo(numbers.SIGFPE)).code, "SI_TKILL");
});

test("dlopen() gives each opening of a library its own signals", () => {
  using plain = dlopen(fixturePath, faults);
  using aborting = dlopen(fixturePath, raising, { signals: ["SIGABRT"] });
  for (let round = 0; round < 5; round++) {
    assert.equal(exceptionOf(() => plain.symbols.fx_read(0n)).info.signal, "SIGSEGV");
    assert.equal(exceptionOf(() => aborting.symbols.fx_raise(6)).info.signal, "SIGABRT");
  }
});

test("dlopen() catches abort() of libc, 100 times", () => childPasses("raised_signal", "abort"));

test("dlopen() catches a failed assert(), 100 times, and its text is printed", () => {
  childPasses("raised_signal", "assertion");
});

test("dlopen() catches raise() of libc, which blocks signals meanwhile", () => {
  childPasses("raised_signal", "raise");
  childPasses("raised_signal", "raise", "worker");
});

test("dlopen() catches the SIGSYS of a system call filter", noFilters, () => {
  childPasses("raised_signal", "policy");
});

test("dlopen() catches std::terminate() of an uncaught C++ exception, and C++ works on", {
  ...notOnMusl("Bun for musl shares the libstdc++ of libraries, and its handler ends the process"),
}, () => {
  childPasses("raised_signal", "terminate");
});

test("dlopen() lets a library end the process by exit()", () => {
  const { status, signal } = runChild("raised_signal", ["exit"]);
  assert.deepEqual({ status, signal }, { status: 7, signal: null });
});

test("dlopen() does not catch raised signals by default, though it catches faults", () => {
  for (const name of ["SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"]) {
    childDies(name, "raised_signal", "unnamed", name);
  }
});

test("dlopen() does not catch what kill() sends, even from within a call that names it", () => {
  for (const name of ["SIGABRT", "SIGFPE"]) childDies(name, "raised_signal", "killed", name);
});

test("dlopen() with `signals` catches those instead of the default ones", () => {
  childDies("SIGSEGV", "raised_signal", "replaced");
});

test("dlopen() with an empty list of signals catches nothing", () => {
  childDies("SIGFPE", "raised_signal", "nothing");
});

test("dlopen() of one library does not make another's calls catch more", () => {
  childDies("SIGABRT", "raised_signal", "otherLibrary");
});
