/** What each fault gives: the kinds of exception, and every field of their `info`. */
import { strict as assert } from "node:assert";
import { readdirSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { dlopen, type ExceptionInfo, HardwareException, status } from "../mod.ts";
import { arm64, emulated, needsDivision, notEmulated, x64Only } from "./platform_support.ts";
import {
  childDies,
  childPasses,
  exceptionOf,
  fixturePath,
  numbers,
  openFixture,
  runChild,
} from "./support.ts";

const lib = openFixture();
const { symbols } = lib;
const faults = dlopen(fixturePath, {
  fx_alignment_fault: { parameters: ["address"] },
  fx_data: {},
  fx_flags: { result: "u64" },
  fx_make_code: { parameters: ["address"], result: "u32" },
});

/** The fields that most tests compare. */
function summary(info: ExceptionInfo): Partial<ExceptionInfo> {
  const { type, zxType, signal, signalNumber, code, codeNumber, address, access } = info;
  return { type, zxType, signal, signalNumber, code, codeNumber, address, access };
}

const accessViolation = {
  type: "access-violation",
  zxType: 0x108,
  signal: "SIGSEGV",
  signalNumber: 11,
} as const;
const notMapped = { ...accessViolation, code: "SEGV_MAPERR", codeNumber: 1 } as const;
const notAllowed = { ...accessViolation, code: "SEGV_ACCERR", codeNumber: 2 } as const;

test("H1 HardwareException for a null read: SEGV_MAPERR at address 0", () => {
  const { info, code } = exceptionOf(() => symbols.fx_read(0n));
  assert.equal(code, "SEGV_MAPERR");
  assert.deepEqual(summary(info), { ...notMapped, address: 0n, access: "read" });
});

test("H2 HardwareException for a write to a PROT_NONE page: SEGV_ACCERR with its address", () => {
  const page = symbols.fx_map(4096, 0);
  const write = exceptionOf(() => symbols.fx_write(page + 24n, 1));
  assert.deepEqual(summary(write.info), { ...notAllowed, address: page + 24n, access: "write" });
  const read = exceptionOf(() => symbols.fx_read(page + 8n));
  assert.deepEqual(summary(read.info), { ...notAllowed, address: page + 8n, access: "read" });
  symbols.fx_protect(page, 4096, 1);
  assert.equal(symbols.fx_read(page), 0n);
  const readOnly = exceptionOf(() => symbols.fx_write(page, 1));
  assert.deepEqual(summary(readOnly.info), { ...notAllowed, address: page, access: "write" });
  symbols.fx_unmap(page, 4096);
  const gone = exceptionOf(() => symbols.fx_read(page));
  assert.deepEqual(summary(gone.info), { ...notMapped, address: page, access: "read" });
});

test("HardwareException gives the first bad byte of an access that straddles two pages", () => {
  const pages = symbols.fx_map(8192, 3);
  symbols.fx_protect(pages + 4096n, 4096, 0);
  const { info } = exceptionOf(() => symbols.fx_read(pages + 4096n - 3n));
  assert.deepEqual(summary(info), { ...notAllowed, address: pages + 4096n, access: "read" });
});

const upperHalf = notEmulated("addresses above the half of a process read as 0");

test("HardwareException gives addresses of the upper half as they are", upperHalf, () => {
  for (const address of [2n ** 47n - 4096n, 0xffff_8000_0000_0000n, 2n ** 64n - 4096n]) {
    const { info } = exceptionOf(() => symbols.fx_read(address));
    assert.equal(info.type, "access-violation");
    assert.equal(info.address, address);
    assert.equal(info.access, "read");
  }
});

test("H3 HardwareException for an access past a file's end: BUS_ADRERR", () => {
  const mapping = symbols.fx_map_short_file(100);
  assert.equal(symbols.fx_read(mapping), 0n);
  const expected = {
    type: "bus-error",
    zxType: 0x108,
    signal: "SIGBUS",
    signalNumber: numbers.SIGBUS,
    code: "BUS_ADRERR",
    codeNumber: 2,
  } as const;
  const address = mapping + 4096n;
  const read = exceptionOf(() => symbols.fx_read(address));
  assert.deepEqual(summary(read.info), { ...expected, address, access: "read" });
  const write = exceptionOf(() => symbols.fx_write(address + 8n, 1));
  assert.deepEqual(summary(write.info), { ...expected, address: address + 8n, access: "write" });
});

test("H4 HardwareException for an integer division by zero: FPE_INTDIV", needsDivision, () => {
  for (const [a, b] of [[1, 0], [0, 0], [-(2 ** 31), -1]] as const) {
    const { info } = exceptionOf(() => symbols.fx_divide(a, b));
    assert.deepEqual(summary(info), {
      type: "arithmetic",
      zxType: 0x008,
      signal: "SIGFPE",
      signalNumber: numbers.SIGFPE,
      code: "FPE_INTDIV",
      codeNumber: 1,
      address: info.instructionPointer,
      access: null,
    });
  }
  assert.equal(symbols.fx_divide(-7, 2), -3);
});

// Linux on arm64 says ILL_ILLOPC.
const illegal = arm64 && !emulated
  ? { code: "ILL_ILLOPC", codeNumber: 1 }
  : { code: "ILL_ILLOPN", codeNumber: 2 };

test("H6 HardwareException for ud2: ILL_ILLOPN at the instruction's own address", () => {
  const { info } = exceptionOf(() => symbols.fx_ud2());
  assert.deepEqual(summary(info), {
    type: "illegal-instruction",
    zxType: 0x208,
    signal: "SIGILL",
    signalNumber: numbers.SIGILL,
    ...illegal,
    address: info.instructionPointer,
    access: null,
  });
});

test("H8 HardwareException for a jump to a bad address: ip is that address", () => {
  const data = symbols.fx_map(4096, 3);
  for (
    const [address, expected] of [[0n, notMapped], [0x1234n, notMapped], [
      data,
      notAllowed,
    ]] as const
  ) {
    const { info } = exceptionOf(() => symbols.fx_jump(address));
    assert.deepEqual(summary(info), { ...expected, address, access: "execute" });
    assert.equal(info.instructionPointer, address);
  }
});

test("HardwareException for a variable that is called as a function", () => {
  const { info } = exceptionOf(() => faults.symbols.fx_data());
  assert.deepEqual(summary(info), {
    ...notAllowed,
    address: info.instructionPointer,
    access: "execute",
  });
});

test("HardwareException for code that a library made itself, in anonymous memory", () => {
  const pages = [4096, 4096, 1 << 20, 1 << 26].map((length) => [symbols.fx_map(length, 7), length]);
  for (const [start, length] of pages as [bigint, number][]) {
    for (const page of [start, start + BigInt(length - 4096)]) {
      const before = BigInt(faults.symbols.fx_make_code(page));
      for (const access of [5, 7]) {
        symbols.fx_protect(page, 4096, access);
        const { info } = exceptionOf(() => symbols.fx_jump(page));
        assert.deepEqual(summary(info), { ...notMapped, address: 0x10n, access: "read" });
        assert.equal(info.instructionPointer, page + before);
      }
    }
  }
});

test("H40 HardwareException for int3: a breakpoint without an address", () => {
  const { info } = exceptionOf(() => symbols.fx_int3());
  assert.deepEqual(summary(info), {
    type: "breakpoint",
    zxType: 0x308,
    signal: "SIGTRAP",
    signalNumber: numbers.SIGTRAP,
    ...(arm64
      ? { code: "TRAP_BRKPT", codeNumber: 1, address: info.instructionPointer }
      : { code: "SI_KERNEL", codeNumber: 0x80, address: null }),
    access: null,
  });
});

const protection = x64Only("the CPU keeps addresses to itself");

test("H40 HardwareException for general protection faults, without address", protection, () => {
  const nonCanonical = [2n ** 47n, 0x8000_0000_0000_0000n, 0xffff_7fff_ffff_fff8n];
  const bodies = [
    ...nonCanonical.map((address) => () => symbols.fx_read(address)),
    () => symbols.fx_write(2n ** 63n, 1),
    () => symbols.fx_jump(2n ** 63n),
    () => symbols.fx_hlt(),
  ];
  for (const body of bodies) {
    assert.deepEqual(summary(exceptionOf(body).info), {
      type: "general-protection",
      zxType: 0x008,
      signal: "SIGSEGV",
      signalNumber: numbers.SIGSEGV,
      code: "SI_KERNEL",
      codeNumber: 0x80,
      address: null,
      access: null,
    });
  }
});

test("X9 HardwareException for misaligned accesses, three times in a row", () => {
  const page = symbols.fx_map(4096, 3);
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => faults.symbols.fx_alignment_fault(page + 13n));
    assert.deepEqual(summary(info), {
      type: "misaligned-access",
      zxType: 0x508,
      signal: "SIGBUS",
      signalNumber: numbers.SIGBUS,
      code: "BUS_ADRALN",
      codeNumber: 1,
      ...(arm64 ? { address: page + 13n, access: "read" } : { address: null, access: null }),
    });
    const alignmentCheck = 1n << 18n;
    assert.equal(faults.symbols.fx_flags() & alignmentCheck, 0n);
  }
  assert.equal(faults.symbols.fx_alignment_fault(page), undefined);
});

test("H9 dlopen() gives the value unchanged where nothing faults", () => {
  const page = symbols.fx_map(4096, 3);
  assert.equal(symbols.fx_write(page, 0x0123_4567_89ab_cdefn), undefined);
  assert.equal(symbols.fx_read(page), 0x0123_4567_89ab_cdefn);
});

const x64Names = x64Only("registers have these names");

test("ExceptionInfo.registers hold what the call's registers held", x64Names, () => {
  const page = symbols.fx_map(4096, 0);
  const { info } = exceptionOf(() => symbols.fx_write(page, 0xfeed_beefn));
  const { registers } = info;
  assert.equal(registers.rdi, page);
  assert.equal(registers.rsi, 0xfeed_beefn);
  assert.equal(registers.rip, info.instructionPointer);
  assert.equal(registers.instructionPointer, info.instructionPointer);
  assert.equal(registers.rsp, info.stackPointer);
  assert.equal(registers.stackPointer, info.stackPointer);
  assert.equal(registers.framePointer, registers.rbp);
  assert.equal(registers.flags, registers.eflags);
  const general = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip"];
  const numbered = ["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
  for (const name of [...general, ...numbered]) {
    assert.equal(typeof registers[name], "bigint", name);
  }
  assert.ok(Object.isFrozen(info) && Object.isFrozen(registers));
});

test("ExceptionInfo.registers hold what was left in callee-saved registers", x64Names, () => {
  using dirty = dlopen(fixturePath, { fx_dirty_fault: { parameters: ["address"] } });
  const { registers } = exceptionOf(() => dirty.symbols.fx_dirty_fault(0n)).info;
  const { rbx, rbp, r12, r13, r14, r15 } = registers;
  assert.deepEqual([rbx, rbp, r12, r13], [0x1111n, 0x2222n, 0x3333n, 0x4444n]);
  assert.deepEqual([r14, r15], [0x5555n, 0x6666n]);
});

test("ExceptionInfo.siginfo and context are the kernel's, at its offsets", x64Names, () => {
  const address = 0x7777n;
  const { info } = exceptionOf(() => symbols.fx_read(address));
  assert.equal(info.siginfo.byteLength, 128);
  const siginfo = new DataView(info.siginfo.buffer, info.siginfo.byteOffset);
  assert.equal(siginfo.getInt32(0, true), numbers.SIGSEGV);
  assert.equal(siginfo.getInt32(4, true), 0);
  assert.equal(siginfo.getInt32(8, true), 1);
  assert.equal(siginfo.getBigUint64(16, true), address);
  const context = new DataView(info.context.buffer, info.context.byteOffset);
  // struct ucontext: 40 bytes, then r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip.
  assert.equal(context.getBigUint64(40 + 8 * 8, true), address);
  assert.equal(context.getBigUint64(40 + 15 * 8, true), info.stackPointer);
  assert.equal(context.getBigUint64(40 + 16 * 8, true), info.instructionPointer);
  // The legacy part of the extended state, with MXCSR at 24.
  assert.ok(info.context.byteLength >= 304 + 512);
  assert.equal(context.getUint32(304 + 24, true) & 0xffc0, 0x1f80);
});

test("ExceptionInfo can be cloned, and sent to another thread", () => {
  const { info } = exceptionOf(() => symbols.fx_write(0x4321n, 7n));
  assert.deepEqual(structuredClone(info), info);
});

test("ExceptionInfo.processId, threadId and call say where it happened", () => {
  const { info } = exceptionOf(() => symbols.fx_read(0n));
  assert.equal(info.processId, process.pid);
  assert.ok(readdirSync("/proc/self/task").includes(String(info.threadId)));
  assert.deepEqual(info.call, { library: fixturePath, symbol: "fx_read" });
  using named = dlopen(fixturePath, { other: { name: "fx_ud2" } });
  assert.equal(exceptionOf(() => named.symbols.other()).info.call?.symbol, "fx_ud2");
});

test("ExceptionInfo of an older exception stays valid after 1,000 more and a collection", () => {
  const old = exceptionOf(() => symbols.fx_write(0x123450n, 0xabcdn));
  const looked = exceptionOf(() => symbols.fx_write(0x543210n, 0xdcban));
  const before = { ...looked.info, registers: { ...looked.info.registers } };
  for (let round = 0; round < 1_000; round++) {
    exceptionOf(() => symbols.fx_read(BigInt(round) + 1n));
    // Garbage enough to make either collector run.
    if (round % 50 === 0) new Array(100_000).fill(round).map(String);
  }
  assert.deepEqual(summary(old.info), { ...notMapped, address: 0x123450n, access: "write" });
  assert.equal(old.info.registers[arm64 ? "x1" : "rsi"], 0xabcdn);
  assert.equal(new DataView(old.info.siginfo.buffer).getBigUint64(16, true), 0x123450n);
  assert.match(old.message, /0x123450/);
  assert.deepEqual({ ...looked.info, registers: { ...looked.info.registers } }, before);
  assert.equal(looked.info, looked.info);
});

test("HardwareException is an Error whose message names library, symbol, code and address", () => {
  const error = exceptionOf(() => symbols.fx_write(0xbad0n, 1));
  assert.ok(error instanceof Error && error instanceof HardwareException);
  assert.equal(error.name, "HardwareException");
  for (const part of [fixturePath, "fx_write()", "SIGSEGV", "SEGV_MAPERR", "0xbad0", "wrote"]) {
    assert.ok(error.message.includes(part), `${part} in: ${error.message}`);
  }
  assert.equal(String(error), `HardwareException: ${error.message}`);
  assert.equal(error.additional, undefined);
  assert.ok(!(new Error("x") instanceof HardwareException));
  for (const value of [null, undefined, 1, "x", {}]) {
    assert.equal((value as unknown) instanceof HardwareException, false);
  }
});

/** Not a tail call, which would leave no frame in Bun. */
function functionThatFaults(): unknown {
  return [symbols.fx_read(0n)];
}

test("HardwareException.stack names the function that called", () => {
  assert.match(exceptionOf(functionThatFaults).stack ?? "", /at functionThatFaults/);
});

test("HardwareException.stack begins with the name and the message", () => {
  const error = exceptionOf(functionThatFaults);
  const { stack = "" } = error;
  assert.ok(stack.startsWith(`HardwareException: ${error.message}\n`), stack);
});

test("HardwareException that nobody catches ends the program with its message", () => {
  const { status, signal, stderr } = runChild("uncaught");
  assert.deepEqual({ status, signal }, { status: 1, signal: null });
  assert.match(stderr, /HardwareException/);
  assert.match(stderr, /fx_read\(\) of .* read address 0x10, .*\(SIGSEGV, SEGV_MAPERR\)/);
  assert.match(stderr, /uncaught\.ts:\d+/);
});

test("HardwareException that ends a Worker keeps its message on the way to the parent", () => {
  const { status, stdout, stderr } = runChild("uncaught", ["worker"]);
  assert.equal(status, 0, stderr);
  assert.match(stdout, /heard: .*fx_read\(\) of .* read address 0x10, .*SEGV_MAPERR/);
});

test("HardwareException prints with its message through console.log()", () => {
  const { status, stdout } = runChild("uncaught", ["log"]);
  assert.equal(status, 0);
  assert.match(stdout, /fx_read\(\) of .* read address 0x10, .*\(SIGSEGV, SEGV_MAPERR\)/);
  assert.match(stdout, /uncaught\.ts:\d+/);
});

class Narrower extends HardwareException {}

test("HardwareException is no instance of a class that extends it", () => {
  assert.equal(exceptionOf(() => symbols.fx_ud2()) instanceof Narrower, false);
});

test("HardwareException's instanceof holds across two copies of the module", () => {
  childPasses("two_copies", "instances");
});

test("dlopen() of two copies of the package, each with its own library, catches in both", () => {
  childPasses("two_copies", "faults");
  childPasses("two_copies", "faults", "worker");
});

test("install() of two copies of the package goes in any order and comes out in reverse", () => {
  childPasses("two_copies", "handlers");
});

test("a fault that neither of two copies of the package guards ends the process", () => {
  childDies("SIGFPE", "two_copies", "unguarded");
});

test("exceptionCount and status().caught count exactly the exceptions that were caught", () => {
  using library = openFixture();
  const before = status().caught;
  assert.equal(library.exceptionCount, 0);
  for (let round = 1; round <= 50; round++) {
    exceptionOf(() => library.symbols.fx_read(0n));
    library.symbols.fx_echo_i32(1);
    assert.throws(() => library.symbols.fx_echo_i32("x" as never), TypeError);
    assert.equal(library.exceptionCount, round);
  }
  const others = lib.exceptionCount;
  assert.equal(status().caught - before, 50n);
  exceptionOf(() => symbols.fx_ud2());
  assert.equal(lib.exceptionCount, others + 1);
  assert.equal(library.exceptionCount, 50);
  assert.equal(status().caught - before, 51n);
});
