/** H1 to H8: real faults, whose numbers come from the C headers through a C compiler. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen, type ExceptionInfo, signalCodes, type SignalName } from "../mod.ts";
import { decodeSiginfo, type SiginfoFields } from "../lib/siginfo.ts";
import { compile } from "./compile_support.ts";
import { arm64, emulated, needsDivision, x64Only } from "./platform_support.ts";
import { exceptionOf, openFixture } from "./support.ts";

const path = compile("header_fixture", "header_fixture.c", ["-O1"]);
const { symbols } = dlopen(path, {
  hd_number: { parameters: ["cstring"], result: "i64" },
  hd_read: { parameters: ["address"], result: "i32" },
  hd_write: { parameters: ["address", "i32"] },
  hd_ud2: {},
  hd_call: { parameters: ["address"] },
});
const fixture = openFixture().symbols;

/** What only x64 has: opened by the tests that call it. */
function x64Symbols() {
  return dlopen(path, {
    hd_divide: { parameters: ["i32", "i32"], result: "i32" },
    hd_float_divide: { parameters: ["f64", "f64"], result: "f64" },
    hd_step: { result: "i32" },
    hd_flags: { result: "u64" },
  }).symbols;
}

/** What the headers say about a name. */
function header(name: string): number {
  const value = Number(symbols.hd_number(name));
  assert.notEqual(value, -1000, `${name} is not in the fixture`);
  return value;
}

/** Signal, code and address: by name, by the headers' numbers, and in the raw siginfo_t. */
function check(info: ExceptionInfo, signal: SignalName, code: string, address: bigint): void {
  assert.deepEqual([info.signal, info.code], [signal, code]);
  assert.equal(info.signalNumber, header(signal));
  assert.equal(info.codeNumber, header(code));
  assert.equal(info.address, address);
  const raw = new DataView(info.siginfo.buffer, info.siginfo.byteOffset);
  assert.equal(raw.byteLength, header("sizeof"));
  assert.equal(raw.getInt32(header("si_signo"), true), header(signal));
  assert.equal(raw.getInt32(header("si_errno"), true), 0);
  assert.equal(raw.getInt32(header("si_code"), true), header(code));
  assert.equal(raw.getBigUint64(header("si_addr"), true), address);
  assert.equal((signalCodes[signal] as Record<string, number>)[code], header(code));
}

test("H1 a null read is SIGSEGV, SEGV_MAPERR at address 0", () => {
  check(exceptionOf(() => symbols.hd_read(0n)).info, "SIGSEGV", "SEGV_MAPERR", 0n);
});

test("H2 a write to a page without rights is SIGSEGV, SEGV_ACCERR at its address", () => {
  const page = fixture.fx_map(4096, 0);
  const { info } = exceptionOf(() => symbols.hd_write(page + 40n, 1));
  check(info, "SIGSEGV", "SEGV_ACCERR", page + 40n);
  assert.equal(info.access, "write");
});

test("H3 a mapped file that was cut is SIGBUS, BUS_ADRERR at the address", () => {
  const address = fixture.fx_map_short_file(100) + 4096n;
  check(exceptionOf(() => symbols.hd_read(address)).info, "SIGBUS", "BUS_ADRERR", address);
});

test("H4 an integer division by zero is SIGFPE, FPE_INTDIV", needsDivision, () => {
  const { hd_divide } = x64Symbols();
  const { info } = exceptionOf(() => hd_divide(1, 0));
  check(info, "SIGFPE", "FPE_INTDIV", info.instructionPointer);
});

const floatTraps = x64Only("every CPU traps floating-point exceptions");

test("H5 an unmasked float division is SIGFPE, FPE_FLTDIV, twice in a row", floatTraps, () => {
  const { hd_float_divide } = x64Symbols();
  for (let round = 0; round < 2; round++) {
    const { info } = exceptionOf(() => hd_float_divide(1, 0));
    check(info, "SIGFPE", "FPE_FLTDIV", info.instructionPointer);
  }
  assert.equal(hd_float_divide(1, 2), 0.5);
});

test("H6 ud2 is SIGILL, ILL_ILLOPN at the instruction; ILL_ILLOPC on arm64", () => {
  const { info } = exceptionOf(() => symbols.hd_ud2());
  check(info, "SIGILL", arm64 && !emulated ? "ILL_ILLOPC" : "ILL_ILLOPN", info.instructionPointer);
});

const steps = x64Only("a thread steps through itself");

test("H7 a single step is SIGTRAP, TRAP_TRACE, and ends with the recovery", steps, () => {
  const { hd_step, hd_flags } = x64Symbols();
  const traceFlag = 0x100n;
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => hd_step());
    check(info, "SIGTRAP", "TRAP_TRACE", info.instructionPointer);
    assert.equal(info.type, "single-step");
    assert.equal(info.zxType, 0x408);
    assert.equal(info.explanation, "one instruction was executed in single-step mode");
    assert.equal(hd_flags() & traceFlag, 0n);
  }
  const start = exceptionOf(() => hd_step()).info;
  assert.ok(start.symbolAddress !== null && start.instructionPointer > start.symbolAddress);
});

test("H8 a call of a bad address is SIGSEGV, SEGV_MAPERR: ip is it, and the symbol is null", () => {
  for (const address of [0n, 0x1234n, 0xdead_0000n]) {
    const { info } = exceptionOf(() => symbols.hd_call(address));
    check(info, "SIGSEGV", "SEGV_MAPERR", address);
    assert.equal(info.instructionPointer, address);
    assert.equal(info.symbolAddress, null);
    assert.equal(info.access, "execute");
    assert.equal(info.backtrace()[0]?.symbol, null);
    assert.equal(info.backtrace()[1]?.symbol, "hd_call");
  }
});

/** What is decoded of a siginfo_t whose one field is written where the headers say. */
function decoded(signal: string, code: string, field: string, write: WriteField): SiginfoFields {
  const view = new DataView(new ArrayBuffer(header("sizeof")));
  view.setInt32(header("si_signo"), header(signal), true);
  view.setInt32(header("si_code"), header(code), true);
  write(view, header(field));
  return decodeSiginfo(new Uint8Array(view.buffer));
}

type WriteField = (view: DataView, at: number) => void;

test("H34 fields that belong to one code are read where the headers have them", () => {
  const lsb: WriteField = (view, at) => view.setInt16(at, 21, true);
  for (const code of ["BUS_MCEERR_AR", "BUS_MCEERR_AO"]) {
    assert.equal(decoded("SIGBUS", code, "si_addr_lsb", lsb).addressLsb, 21);
  }
  assert.equal(decoded("SIGBUS", "BUS_ADRERR", "si_addr_lsb", lsb).addressLsb, null);
  const bound: WriteField = (view, at) => view.setBigUint64(at, 0x1234n, true);
  const { bounds } = decoded("SIGSEGV", "SEGV_BNDERR", "si_lower", bound);
  assert.deepEqual(bounds, { lower: 0x1234n, upper: 0n });
  assert.equal(decoded("SIGSEGV", "SEGV_BNDERR", "si_upper", bound).bounds?.upper, 0x1234n);
  assert.equal(decoded("SIGSEGV", "SEGV_MAPERR", "si_upper", bound).bounds, null);
  const key: WriteField = (view, at) => view.setUint32(at, 9, true);
  assert.equal(decoded("SIGSEGV", "SEGV_PKUERR", "si_pkey", key).protectionKey, 9);
  assert.equal(decoded("SIGSEGV", "SEGV_ACCERR", "si_pkey", key).protectionKey, null);
  const call: WriteField = (view, at) => view.setInt32(at, 110, true);
  assert.equal(decoded("SIGSYS", "SYS_SECCOMP", "si_syscall", call).synthData, 110n);
});

test("H34 codes that carry more are numbered as in the headers", () => {
  for (const code of ["BUS_MCEERR_AR", "BUS_MCEERR_AO"]) {
    assert.equal((signalCodes.SIGBUS as Record<string, number>)[code], header(code));
  }
  for (const signal of ["SIGSEGV", "SIGTRAP"] as const) {
    assert.equal(signalCodes[signal].SI_KERNEL, header("SI_KERNEL"));
  }
});
