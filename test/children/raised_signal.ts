/** Signals that libraries raise, and calls that do not catch them. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { dlopen, type SignalName } from "../../mod.ts";
import { isMusl } from "../musl_support.ts";
import { getppid } from "../platform_support.ts";
import { aboutToDie, exceptionOf, fixturePath, numbers, runCase } from "../support.ts";

const raising = { fx_raise: { parameters: ["u32"], result: "i32" } } as const;
const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
const maskSymbols = { fx_signal_mask: { result: "u64" } } as const;

function abort(): void {
  const { abort } = dlopen("libc.so.6", { abort: {} }, { signals: ["SIGABRT"] }).symbols;
  const { fx_signal_mask } = dlopen(fixturePath, maskSymbols).symbols;
  const mask = fx_signal_mask();
  for (let round = 0; round < 100; round++) {
    const { info, message } = exceptionOf(abort);
    assert.deepEqual([info.type, info.zxType, info.signal], ["abort", 0x008, "SIGABRT"]);
    assert.equal(info.code, "SI_TKILL");
    assert.match(message, /abort\(\) of libc\.so\.6 called abort\(\) \(SIGABRT, SI_TKILL\)/);
    assert.equal(fx_signal_mask(), mask);
  }
}

function assertion(): void {
  const { __assert_fail } = dlopen("libc.so.6", {
    __assert_fail: { parameters: ["buffer", "buffer", "u32", "buffer"] },
    // musl has no unwind tables: its fprintf, which printed the text, is taken to be still running.
  }, { signals: ["SIGABRT"], ...(isMusl ? { afterException: "continue" } : {}) }).symbols;
  for (let round = 0; round < 100; round++) {
    const call = (): void => __assert_fail(text("1 == 2"), text("a.c"), 7, text("main"));
    assert.equal(exceptionOf(call).info.type, "abort");
  }
}

function raise(): void {
  const { symbols } = dlopen("libc.so.6", {
    raise: { parameters: ["i32"], result: "i32", signals: ["SIGFPE", "SIGABRT", "SIGSYS"] },
  });
  for (let round = 0; round < 50; round++) {
    for (const number of [numbers.SIGFPE, numbers.SIGABRT, numbers.SIGSYS]) {
      const { info } = exceptionOf(() => symbols.raise(number));
      assert.deepEqual([info.signalNumber, info.code], [number, "SI_TKILL"]);
      assert.equal(info.threadId === info.processId, isMainThread);
    }
    assert.equal(symbols.raise(0), 0);
  }
}

function named(): SignalName {
  return process.argv[3] as SignalName;
}

function unnamed(): void {
  const { symbols } = dlopen(fixturePath, { ...raising, fx_ud2: {} });
  assert.equal(exceptionOf(() => symbols.fx_ud2()).code, "ILL_ILLOPN");
  aboutToDie();
  symbols.fx_raise(numbers[named()]);
}

function killed(): void {
  const definition = { parameters: ["u32"], result: "i32" } as const;
  const { symbols } = dlopen(fixturePath, { ...raising, fx_kill_self: definition }, {
    signals: [named()],
  });
  assert.equal(exceptionOf(() => symbols.fx_raise(numbers[named()])).code, "SI_TKILL");
  aboutToDie();
  symbols.fx_kill_self(numbers[named()]);
}

function replaced(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64", signals: ["SIGFPE"] },
    fx_divide: { parameters: ["i32", "i32"], signals: ["SIGFPE"] },
    guarded: { name: "fx_read", parameters: ["address"], result: "u64" },
  });
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
  assert.equal(exceptionOf(() => symbols.guarded(0n)).code, "SEGV_MAPERR");
  aboutToDie();
  symbols.fx_read(0n);
}

function nothing(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_divide: { parameters: ["i32", "i32"], result: "i32", signals: [] },
    guarded: { name: "fx_divide", parameters: ["i32", "i32"], result: "i32" },
  });
  assert.equal(symbols.fx_divide(6, 2), 3);
  assert.equal(exceptionOf(() => symbols.guarded(1, 0)).code, "FPE_INTDIV");
  aboutToDie();
  symbols.fx_divide(1, 0);
}

function otherLibrary(): void {
  const one = dlopen(fixturePath, raising, { signals: ["SIGABRT"] });
  const other = dlopen(fixturePath, raising);
  assert.equal(exceptionOf(() => one.symbols.fx_raise(6)).info.type, "abort");
  aboutToDie();
  other.symbols.fx_raise(6);
}

function policy(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_forbid: { parameters: ["u32"], result: "i32" },
    fx_getppid: { result: "i32", signals: ["SIGSYS"] },
  });
  assert.equal(symbols.fx_getppid(), process.ppid);
  assert.equal(symbols.fx_forbid(getppid), 0);
  for (let round = 0; round < 20; round++) {
    const { info } = exceptionOf(() => symbols.fx_getppid());
    assert.deepEqual([info.type, info.zxType], ["policy", 0x8208]);
    assert.deepEqual([info.signal, info.code, info.address], ["SIGSYS", "SYS_SECCOMP", null]);
    const siginfo = new DataView(info.siginfo.buffer, info.siginfo.byteOffset);
    assert.equal(siginfo.getInt32(24, true), getppid);
  }
}

function terminate(): void {
  // std::__throw_bad_alloc(). Where there is no libstdc++, there is nothing to show.
  const definitions = { _ZSt17__throw_bad_allocv: { signals: ["SIGABRT"] } } as const;
  const found = readFileSync("/etc/ld.so.cache").includes("libstdc++.so.6");
  if (!found) return;
  const { symbols } = dlopen("libstdc++.so.6", definitions);
  for (let round = 0; round < 5; round++) {
    assert.equal(exceptionOf(() => symbols._ZSt17__throw_bad_allocv()).info.type, "abort");
  }
}

function exit(): void {
  dlopen("libc.so.6", { exit: { parameters: ["i32"] } }).symbols.exit(7);
}

await runCase(import.meta.url, {
  policy,
  terminate,
  exit,
  abort,
  assertion,
  raise,
  unnamed,
  killed,
  replaced,
  nothing,
  otherLibrary,
});
