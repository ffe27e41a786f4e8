/** The exception record: fields of siginfo_t, the instruction, and whether it is suspect. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { catchException, dlopen, type ExceptionInfo, readMemory, throwException } from "../mod.ts";
import { decodeSiginfo } from "../lib/siginfo.ts";
import { signalCodes } from "../mod.ts";
import { machine } from "../lib/machine.ts";
import { muslHasNoUnwindTables, notOnMusl } from "./musl_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixtureFile, numbers, openFixture, runChild } from "./support.ts";

const { symbols } = openFixture();
const libc = dlopen("libc.so.6", {
  strlen: { parameters: ["address"], result: "usize" },
  memcpy: { parameters: ["address", "address", "usize"], result: "address" },
  malloc: { parameters: ["usize"], result: "address" },
  free: { parameters: ["address"] },
  pthread_mutex_lock: { parameters: ["address"], result: "i32" },
  snprintf: { parameters: ["buffer", "usize", "buffer", "address"], result: "i32" },
}, { afterException: "continue", signals: ["SIGSEGV", "SIGBUS", "SIGABRT"] }).symbols;

const format = new TextEncoder().encode("%s\0");
const faultFields = { addressLsb: null, bounds: null, protectionKey: null };
const nothing = { ...faultFields, synthCode: 0, synthData: 0n };

/** A siginfo_t as Linux lays it out on 64 bits, with garbage where nothing is written. */
function siginfo(signal: number, code: number): DataView {
  const view = new DataView(new Uint8Array(128).fill(0xa5).buffer);
  view.setInt32(0, signal, true);
  view.setInt32(4, 0, true);
  view.setInt32(8, code, true);
  view.setBigUint64(16, 0x7f12_3456_7000n, true);
  return view;
}

function decoded(view: DataView): ReturnType<typeof decodeSiginfo> {
  return decodeSiginfo(new Uint8Array(view.buffer));
}

// offsetof() of si_addr_lsb, si_lower, si_upper, si_pkey and si_syscall in <asm/siginfo.h> on
// x86-64 are 24, 32, 40, 32 and 24.

test("H34 addressLsb is there for BUS_MCEERR_AR and BUS_MCEERR_AO only", () => {
  for (const code of [1, 2, 3, 4, 5, 0x80, 0]) {
    const view = siginfo(numbers.SIGBUS, code);
    view.setInt16(24, 12, true);
    const expected = code === 4 || code === 5 ? 12 : null;
    assert.deepEqual(decoded(view), { ...nothing, addressLsb: expected });
  }
  assert.equal(signalCodes.SIGBUS.BUS_MCEERR_AR, 4);
  assert.equal(signalCodes.SIGBUS.BUS_MCEERR_AO, 5);
});

test("H34 bounds are there for SEGV_BNDERR only", () => {
  for (const code of [1, 2, 3, 5, 9, 10, 0x80, 0]) {
    const view = siginfo(numbers.SIGSEGV, code);
    view.setBigUint64(32, 0x1000n, true);
    view.setBigUint64(40, 0xffff_8000_0000_0000n, true);
    const bounds = code === 3 ? { lower: 0x1000n, upper: 0xffff_8000_0000_0000n } : null;
    assert.deepEqual(decoded(view), { ...nothing, bounds });
  }
});

test("H34 protectionKey is there for SEGV_PKUERR only", () => {
  for (const code of [1, 2, 4, 5, 0x80]) {
    const view = siginfo(numbers.SIGSEGV, code);
    view.setUint32(32, 15, true);
    assert.deepEqual(decoded(view), { ...nothing, protectionKey: code === 4 ? 15 : null });
  }
  const other = siginfo(numbers.SIGBUS, 4);
  other.setInt16(24, 0, true);
  assert.deepEqual(decoded(other), { ...nothing, addressLsb: 0 });
});

test("synthCode and synthData name the system call of a policy exception", () => {
  const view = siginfo(numbers.SIGSYS, 1);
  view.setInt32(24, 110, true);
  assert.deepEqual(decoded(view), { ...nothing, synthCode: 18, synthData: 110n });
  assert.deepEqual(decoded(siginfo(numbers.SIGSYS, 0)), nothing);
});

test("H34 ExceptionInfo of an ordinary fault has no field that belongs to another code", () => {
  const { info } = exceptionOf(() => symbols.fx_read(0x7777n));
  const { addressLsb, bounds, protectionKey, synthCode, synthData, hooksSkipped } = info;
  assert.deepEqual({ addressLsb, bounds, protectionKey, synthCode, synthData }, nothing);
  assert.equal(hooksSkipped, null);
  const view = new DataView(info.siginfo.buffer, info.siginfo.byteOffset);
  assert.equal(view.getInt32(0, true), info.signalNumber);
  assert.equal(view.getInt32(8, true), info.codeNumber);
  assert.equal(view.getBigUint64(16, true), info.address);
});

test("H35 ExceptionInfo survives the handler: later faults leave it as it was", () => {
  const { info } = exceptionOf(() => symbols.fx_write(0x1_2340n, 7n));
  const bytes = new Uint8Array(info.siginfo);
  const looked: ExceptionInfo[] = [];
  for (let round = 0; round < 200; round++) {
    looked.push(exceptionOf(() => symbols.fx_read(BigInt(round))).info);
  }
  assert.deepEqual(info.siginfo, bytes);
  assert.equal(info.address, 0x1_2340n);
  assert.match(info.explanation, /^unmapped|^offset|^\d+ bytes/);
  looked.forEach(({ address }, round) => assert.equal(address, BigInt(round)));
});

test("ExceptionInfo is read-only, with every field enumerable", () => {
  const { info } = exceptionOf(() => symbols.fx_read(1n));
  const names = Object.keys(info);
  for (const name of ["explanation", "instruction", "safety", "suspects", "registers", "bounds"]) {
    assert.ok(names.includes(name), name);
    assert.throws(() => Object.assign(info, { [name]: null }), TypeError);
  }
  assert.ok(Object.isFrozen(info) && Object.isFrozen(info.suspects));
  assert.ok(Object.isFrozen(info.instruction));
  assert.equal(info.instruction, info.instruction);
  assert.deepEqual(structuredClone(info), info);
});

test("ExceptionInfo.instruction has the bytes that the process has there", () => {
  const { info } = exceptionOf(() => symbols.fx_read(0n));
  const { instruction, instructionPointer } = info;
  assert.ok(instruction !== null);
  const { instructionLength } = machine;
  assert.equal(instruction.bytes.byteLength, instructionLength);
  const memory = new Uint8Array(instructionLength);
  readMemory(instructionPointer, memory);
  assert.deepEqual(instruction.bytes, memory);
  assert.deepEqual(
    exceptionOf(() => symbols.fx_ud2()).info.instruction?.bytes.subarray(0, 2),
    arm64 ? Uint8Array.of(0, 0) : Uint8Array.of(0x0f, 0x0b),
  );
});

test("ExceptionInfo.instruction is null where none can be read, and cut at the end", () => {
  assert.equal(exceptionOf(() => symbols.fx_jump(0x10n)).info.instruction, null);
  const pages = symbols.fx_map(8192, 7);
  symbols.fx_protect(pages + 4096n, 4096, 0);
  symbols.fx_write(pages + 4088n, 0x0b0f_9090_9090_9090n);
  const { instruction } = exceptionOf(() => symbols.fx_jump(pages + 4094n)).info;
  assert.deepEqual(instruction?.bytes, Uint8Array.of(0x0f, 0x0b));
});

function icedInstalled(): boolean {
  try {
    createRequire(import.meta.url).resolve("iced-x86");
    return true;
  } catch {
    return false;
  }
}

test("ExceptionInfo.instruction.text is the disassembly where iced-x86 is installed", () => {
  const { instruction } = exceptionOf(() => symbols.fx_ud2()).info;
  assert.equal(instruction?.text, !arm64 && icedInstalled() ? "ud2" : null);
});

test("H45 a fault inside malloc's kin or a lock is suspect, and named", {
  ...notOnMusl(muslHasNoUnwindTables),
}, () => {
  const cases: readonly [string, () => unknown][] = [
    ["free", () => libc.free(0x10n)],
    ["pthread_mutex_lock", () => libc.pthread_mutex_lock(0x20n)],
  ];
  for (const [name, body] of cases) {
    const { info } = exceptionOf(body);
    assert.equal(info.safety, "suspect", name);
    assert.ok(info.suspects.includes(name), `${name} in ${info.suspects}`);
  }
});

test("H45 abort() by a double free is suspect: SIGABRT, with free() on the stack", {
  ...notOnMusl("musl does not abort at a double free"),
}, () => {
  const block = libc.malloc(64);
  libc.free(block);
  const { info } = exceptionOf(() => libc.free(block));
  assert.equal(info.signal, "SIGABRT");
  assert.deepEqual([info.safety, ...info.suspects], ["suspect", "free"]);
});

test("H45 a fault inside memcpy, strlen or snprintf is unknown, also after calls of malloc", {
  ...notOnMusl("snprintf of musl is its vfprintf, which takes the lock of a stream"),
}, () => {
  for (let round = 0; round < 3; round++) {
    const cases: readonly [string, () => unknown][] = [
      ["strlen", () => libc.strlen(0x10n)],
      ["memcpy", () => libc.memcpy(0x10n, 0x20n, 100)],
      ["snprintf", () => libc.snprintf(new Uint8Array(8), 8, format, 0x20n)],
      ["a call of null", () => symbols.fx_jump(0n)],
    ];
    for (const [name, body] of cases) {
      // What malloc and free leave on the stack is no frame.
      libc.free(libc.malloc(3000 + round));
      const { info } = exceptionOf(body);
      assert.deepEqual([name, info.safety, ...info.suspects], [name, "unknown"]);
    }
  }
});

test("H45 a fault below the loader's or a stream's lock is suspect, and named", {
  ...notOnMusl(muslHasNoUnwindTables),
}, () => {
  for (const name of ["dlsym", "printf"]) {
    const { stdout, stderr, signal } = runChild("locks", [name]);
    assert.deepEqual([stdout, signal], ["suspect\n", "SIGKILL"], stderr);
  }
});

test("H45 a fault with a changed signal mask is suspect without a function to name", () => {
  const { info } = exceptionOf(() => symbols.fx_block_and_read(0n));
  assert.deepEqual([info.safety, ...info.suspects], ["suspect"]);
  assert.equal(exceptionOf(() => symbols.fx_read(0n)).info.safety, "unknown");
});

test("ExceptionInfo of throwException() has every field too", () => {
  const result = catchException(() => throwException(1));
  assert.ok(!result.ok);
  const { info } = result.error;
  const names = Object.keys(exceptionOf(() => symbols.fx_read(0n)).info).sort();
  assert.deepEqual(Object.keys(info).sort(), names);
  assert.deepEqual([info.explanation, info.instruction, info.safety], [
    "thrown by the program, not by the hardware",
    null,
    "unknown",
  ]);
});

const features = readFileSync("/proc/cpuinfo", "utf8").split("\n")
  .find((line) => line.startsWith("flags"))?.split(/\s+/);
const noKeys = !arm64 && features?.includes("ospke")
  ? false
  : "this processor has no protection keys";

test("the context has PKRU where XSAVE puts it, behind state that is not in use", {
  skip: noKeys,
}, () => {
  const { context } = exceptionOf(() => libc.strlen(1n)).info;
  const extended = new DataView(context.buffer, 304);
  // _fpx_sw_bytes at 464: magic1, extended_size, xfeatures, xstate_size (<asm/sigcontext.h>).
  assert.equal(extended.getUint32(464, true), 0x4650_5853);
  const inUse = extended.getBigUint64(512, true);
  assert.notEqual(inUse & (1n << 9n), 0n, "PKRU is in use");
  assert.equal(inUse >> 10n, 0n, "and nothing behind it");
  // Linux denies every key but the first: init_pkru_value of arch/x86/mm/pkeys.c. V8 takes one for
  // the code that it makes.
  assert.equal(extended.getUint32(extended.byteLength - 8, true) >>> 4, 0x555_5555);
});

test("a recovery leaves the rights of protection keys as they were", { skip: noKeys }, () => {
  const rights = () => exceptionOf(() => libc.strlen(1n)).info.context.slice(-8);
  assert.deepEqual(rights(), rights());
});

test("a recovery from a signal handler does not keep the rights of the handler", {
  skip: noKeys,
}, () => {
  // The kernel runs handlers with its own: V8 could not read the code that it has made.
  const rights = () => exceptionOf(() => libc.strlen(1n)).info.context.slice(-8);
  const before = rights();
  const definitions = { fh_fault_in_handler: { result: "i32" } } as const;
  using lib = dlopen(fixtureFile("hooks_fixture.so"), definitions);
  exceptionOf(() => lib.symbols.fh_fault_in_handler());
  assert.deepEqual(rights(), before);
});
