/** Minidumps of caught exceptions: what they hold, and what other people's readers see in them. */
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { test } from "node:test";
import { writeMinidump } from "../lib/minidump.ts";
import {
  catchException,
  dlopen,
  type ExceptionInfo,
  HardwareException,
  readMemory,
  type SignalName,
  throwException,
} from "../mod.ts";
import { compiledFile } from "./compile_support.ts";
import {
  lldb,
  needsLldb,
  needsPython,
  needsStackwalk,
  parseMinidump,
  stackwalk,
} from "./reader_support.ts";
import { arm64 } from "./platform_support.ts";
import { openReportFixture, shortList } from "./report_support.ts";
import { exceptionOf, fixturePath, fixtureSymbols, runChild } from "./support.ts";

const { path: reportFixture, library } = openReportFixture();
const { symbols } = library;
const signals: SignalName[] = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"];
const fixture = dlopen(fixturePath, fixtureSymbols, { signals }).symbols;

/** Writes the dump to a file for tools. */
function dumpFile(name: string, error: HardwareException): string {
  const path = compiledFile(`${name}.dmp`);
  writeFileSync(path, error.toMinidump());
  return path;
}

function faultInList(): HardwareException {
  return exceptionOf(() => symbols.list_sum(shortList));
}

/** Every kind of exception, by what minidump-stackwalk calls it. */
const faults: Readonly<Record<string, () => HardwareException>> = {
  "SIGSEGV / SEGV_MAPERR": faultInList,
  "SIGSEGV / SEGV_ACCERR": () => {
    const page = fixture.fx_map(4096n, 1);
    return exceptionOf(() => fixture.fx_write(page + 0x123n, 1n));
  },
  "SIGSEGV / SI_KERNEL": () => exceptionOf(() => fixture.fx_read(0x8000_0000_0000_0000n)),
  "SIGBUS / BUS_ADRERR": () => {
    const file = fixture.fx_map_short_file(100n);
    return exceptionOf(() => fixture.fx_read(file + 4096n));
  },
  "SIGFPE / FPE_INTDIV": () => exceptionOf(() => fixture.fx_divide(1, 0)),
  "SIGILL / ILL_ILLOPN": () => exceptionOf(() => fixture.fx_ud2()),
  "SIGTRAP / SI_KERNEL": () => exceptionOf(() => fixture.fx_int3()),
  "SIGABRT / SI_TKILL": () => exceptionOf(() => fixture.fx_raise(6)),
};

/** The streams of a dump, by type, as the format's header says. */
function streamsOf(dump: Uint8Array): ReadonlyMap<number, DataView> {
  const view = new DataView(dump.buffer, dump.byteOffset, dump.byteLength);
  assert.equal(view.getUint32(0, true), 0x504d444d);
  assert.equal(view.getUint16(4, true), 0xa793);
  const count = view.getUint32(8, true);
  const directory = view.getUint32(12, true);
  return new Map(Array.from({ length: count }, (_, index) => {
    const at = directory + 12 * index;
    const [type, length, offset] = [0, 4, 8].map((field) => view.getUint32(at + field, true));
    return [type!, new DataView(dump.buffer, dump.byteOffset + offset!, length!)] as const;
  }));
}

/** Where a dump's context has things: that of Windows (winnt.h), as readers expect it. */
const layout = arm64
  ? {
    byteLength: 912,
    registers: { x0: 8, x1: 16, x19: 160, x29: 240, x30: 248, sp: 256, pc: 264 },
    flags: 4,
    // `struct fpsimd_context` is the first record behind the registers of the ucontext.
    vectors: { at: 272, savedAt: 480 },
  }
  : {
    byteLength: 1232,
    registers: { rax: 120, rbx: 144, rsp: 152, rbp: 160, rdi: 176, r8: 184, r15: 240, rip: 248 },
    flags: 68,
    // FXSAVE, from behind the ucontext.
    vectors: { at: 256, savedAt: 304 },
  };

test("toMinidump() holds registers, stack, code and notes", () => {
  const error = faultInList();
  const dump = error.toMinidump();
  const view = new DataView(dump.buffer, dump.byteOffset, dump.byteLength);
  const age = Date.now() / 1000 - view.getUint32(20, true);
  assert.ok(age > -2 && age < 60, `${age}`);
  const streams = streamsOf(dump);
  const thread = streams.get(3)!;
  assert.equal(thread.getUint32(4, true), error.info.threadId);
  const context = thread.getUint32(4 + 44, true);
  assert.equal(thread.getUint32(4 + 40, true), layout.byteLength);
  for (const [name, offset] of Object.entries(layout.registers)) {
    assert.equal(view.getBigUint64(context + offset, true), error.info.registers[name], name);
  }
  assert.equal(view.getUint32(context + layout.flags, true), Number(error.info.registers.flags));
  const { at, savedAt } = layout.vectors;
  const vectors = dump.subarray(context + at, context + at + 512);
  assert.deepEqual(vectors, error.info.context.slice(savedAt, savedAt + 512));
  // FXSAVE has MXCSR once more.
  if (!arm64) assert.equal(view.getUint32(context + 52, true), view.getUint32(context + 280, true));
  const notes = streams.get(0x464c_0001)!;
  const text = new TextDecoder().decode(
    dump.subarray(notes.byteOffset - dump.byteOffset).subarray(0, notes.byteLength),
  );
  const { format, message, call, javascript } = JSON.parse(text) as Record<string, unknown>;
  assert.equal(format, "faultline.notes");
  assert.equal(message, error.message);
  assert.deepEqual(call, error.info.call);
  assert.match(String(javascript), /minidump_test\.ts/);
});

test("toReport().toMinidump() is the dump of the exception", () => {
  const error = faultInList();
  const [own, other] = [error.toMinidump(), error.toReport().toMinidump()];
  const contextOf = (dump: Uint8Array): Uint8Array => {
    const thread = streamsOf(dump).get(3)!;
    return dump.slice(thread.getUint32(4 + 44, true)).subarray(0, 1232);
  };
  assert.deepEqual(contextOf(own), contextOf(other));
});

test("toMinidump() takes at most 64 KiB, also of a deep stack", () => {
  for (const error of [faultInList(), exceptionOf(() => fixture.fx_overflow(2n ** 40n))]) {
    assert.ok(error.toMinidump().byteLength <= 64 * 1024);
  }
});

test("toMinidump() of an exception that no processor raised throws NOT_SUPPORTED", () => {
  const result = catchException(() => throwException());
  assert.ok(!result.ok);
  assert.throws(() => result.error.toMinidump(), { code: "NOT_SUPPORTED", name: "FaultlineError" });
});

test("toMinidump() after JSON holds what came along", needsPython, () => {
  const error = faultInList();
  const again = HardwareException.fromJSON(JSON.parse(JSON.stringify(error)));
  const path = dumpFile("json", again);
  const parsed = parseMinidump(path);
  assert.equal(parsed.exception.address, "0x8");
  assert.deepEqual(parsed.modules, []);
  const [code] = parsed.memory;
  assert.equal(code!.address, `0x${error.info.instructionPointer.toString(16)}`);
  assert.equal(code!.bytes, Buffer.from(error.info.instruction!.bytes).toString("hex"));
});

test("the package minidump reads what the exception says", needsPython, () => {
  const error = faultInList();
  const { info } = error;
  const parsed = parseMinidump(dumpFile("python", error));
  assert.equal(parsed.architecture, "AMD64");
  assert.equal(parsed.platform, "VER_PLATFORM_CRASHPAD_LINUX");
  assert.equal(parsed.processId, process.pid);
  assert.deepEqual(parsed.threads, [info.threadId]);
  const { threadId } = info;
  const exception = { threadId, code: "EXCEPTION_SIGSEGV", flags: 1, address: "0x8" };
  assert.deepEqual(parsed.exception, exception);
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  const modules = error.toReport().modules.map(({ path, base, byteLength }) => ({
    path,
    base: hex(base),
    byteLength: hex(byteLength),
  }));
  assert.deepEqual(parsed.modules, modules);
  const code = parsed.memory.find(({ address, bytes }) =>
    BigInt(address) <= info.instructionPointer &&
    info.instructionPointer < BigInt(address) + BigInt(bytes.length / 2)
  )!;
  const now = new Uint8Array(code.bytes.length / 2);
  readMemory(BigInt(code.address), now);
  assert.equal(code.bytes, Buffer.from(now).toString("hex"));
  const stack = parsed.memory.find(({ address }) => BigInt(address) === info.stackPointer)!;
  assert.ok(stack.bytes.length > 0);
  const maps = readFileSync("/proc/self/maps", "utf8");
  const isMapped = ({ start }: { start: string }): boolean =>
    maps.includes(`${BigInt(start).toString(16).padStart(8, "0")}-`);
  // Both runtimes map and unmap now and then.
  assert.ok(parsed.mappings.filter(isMapped).length > parsed.mappings.length * 0.9);
});

test("toReport().modules begin where the kernel's list has the file's first bytes", () => {
  const error = faultInList();
  // Looking names up maps the files to be read, often right beside the modules.
  error.info.backtrace();
  const { modules } = error.toReport();
  const maps = readFileSync("/proc/self/maps", "utf8").split("\n");
  for (const { path, base } of modules.filter((one) => one.path.endsWith(".so"))) {
    const line = maps.find((one) => one.startsWith(`${base.toString(16)}-`))!;
    const [, rights, offset] = line.split(" ");
    assert.deepEqual([rights![3], offset], ["p", "00000000"], line);
    assert.ok(line.endsWith(path), line);
  }
  const { base } = modules.find(({ path }) => path === reportFixture)!;
  const [bare] = error.info.backtrace({ symbols: false });
  assert.equal(bare!.address - base, bare!.offset);
});

test("minidump-stackwalk finds the reason, the address and the frames", needsStackwalk, () => {
  for (const [reason, fault] of Object.entries(faults)) {
    const error = fault();
    const walked = stackwalk(dumpFile("walked", error));
    const { type, address } = walked.crash_info;
    assert.equal(type, reason);
    const { info } = error;
    if (info.address !== null) assert.equal(BigInt(address!), info.address, reason);
    assert.equal(walked.pid, process.pid);
    assert.equal(walked.system_info.os, "Linux");
    assert.equal(walked.crashing_thread.thread_id, info.threadId);
    const [frame] = walked.crashing_thread.frames;
    assert.equal(BigInt(frame!.offset), info.instructionPointer, reason);
    const registers = frame!.registers!;
    for (const name of ["rax", "rsp", "r12"]) {
      assert.equal(BigInt(registers[name]!), info.registers[name], `${reason} ${name}`);
    }
  }
});

test("minidump-stackwalk walks the frames that backtrace() gives", needsStackwalk, () => {
  const error = faultInList();
  const { modules } = error.toReport();
  const walked = stackwalk(dumpFile("frames", error));
  const frames = walked.crashing_thread.frames.slice(0, 3);
  const expected = error.info.backtrace().map(({ address, module }) => {
    const { base } = modules.find(({ path }) => path === module)!;
    return { module: module!.slice(module!.lastIndexOf("/") + 1), offset: address - base };
  });
  const found = frames.map(({ module, module_offset }) => ({
    module,
    // It tells the instruction before a return address.
    offset: BigInt(module_offset!),
  }));
  assert.equal(found.length, 3);
  found.forEach(({ module, offset }, index) => {
    assert.equal(module, expected[index]!.module);
    const before = expected[index]!.offset - offset;
    assert.ok(before >= 0n && before <= 1n, `frame ${index}: ${before}`);
  });
  const trusts = frames.map(({ trust }) => trust);
  assert.deepEqual(trusts, ["context", "frame_pointer", "frame_pointer"]);
});

test("minidump-stackwalk walks an overflowed stack", needsStackwalk, () => {
  const error = exceptionOf(() => fixture.fx_overflow(2n ** 40n));
  const { crashing_thread, crash_info } = stackwalk(dumpFile("overflow", error));
  assert.equal(BigInt(crash_info.address!), error.info.address);
  const walked = crashing_thread.frames.filter(({ module }) => module === "fixture.so");
  assert.ok(walked.length >= 8, JSON.stringify(walked));
});

test("lldb shows functions, files and lines", needsLldb, () => {
  const error = faultInList();
  const stackName = arm64 ? "sp" : "rsp";
  const text = lldb(dumpFile("lldb", error), ["thread list", "bt 3", `register read ${stackName}`]);
  assert.match(text, /stop reason = signal SIGSEGV/);
  error.info.backtrace().forEach(({ address, symbol, line, column }, index) => {
    const at = address.toString(16).padStart(16, "0");
    const place = `report_fixture.so\`${symbol}\\(.*\\) at report_fixture\\.c:${line}:${column}`;
    assert.match(text, new RegExp(`frame #${index}: 0x${at} ${place}`));
  });
  const stackPointer = error.info.stackPointer.toString(16).padStart(16, "0");
  assert.match(text, new RegExp(`${stackName} = 0x${stackPointer}`));
});

test("toMinidump() holds nothing of the environment and of the heap", () => {
  const secret = ["canary", process.pid, "c0ffee"].join("-");
  const { status, stdout, stderr } = runChild("minidump", ["canary", reportFixture, secret]);
  assert.equal(status, 0, stderr);
  const dump = readFileSync(stdout.trim());
  assert.equal(dump.subarray(0, 4).toString(), "MDMP");
  assert.equal(dump.indexOf(secret), -1);
});

test("toMinidump() works in a Worker", needsPython, () => {
  const { status, stdout, stderr } = runChild("minidump", ["worker", reportFixture]);
  assert.equal(status, 0, stderr);
  const [path = "", thread] = stdout.trim().split(" ");
  const parsed = parseMinidump(path);
  assert.deepEqual(parsed.threads, [Number(thread)]);
  assert.notEqual(parsed.processId, Number(thread));
  assert.equal(parsed.exception.code, "EXCEPTION_SIGSEGV");
});

/** A context as an arm64 kernel writes it: the registers, then a record of vectors. */
function arm64Exception(): Pick<ExceptionInfo, "context" | "registers"> {
  const context = new Uint8Array(464 + 528);
  const view = new DataView(context.buffer);
  const names = [...Array.from({ length: 31 }, (_, index) => `x${index}`), "sp", "pc", "pstate"];
  const registers: Record<string, bigint> = {};
  names.forEach((name, index) => {
    const value = 0x1000_0000n + BigInt(index) * 0x111n;
    registers[name] = name === "pstate" ? 0x6000_0000n : value;
    view.setBigUint64(184 + 8 * index, registers[name]!, true);
  });
  view.setUint32(464, 0x4650_8001, true);
  view.setUint32(468, 528, true);
  view.setUint32(472, 0x11, true);
  view.setUint32(476, 0x22, true);
  context.fill(0xab, 480, 480 + 512);
  const portable = {
    instructionPointer: registers.pc!,
    stackPointer: registers.sp!,
    framePointer: registers.x29!,
    flags: registers.pstate!,
  };
  return { context, registers: { ...portable, ...registers } };
}

function arm64Dump(): Uint8Array {
  const { context, registers } = arm64Exception();
  return writeMinidump({
    info: {
      ...{ context, registers, processId: 77, threadId: 78 },
      ...{ signalNumber: 7, codeNumber: 1, address: 0x1003n },
    },
    time: 1_700_000_000_000,
    stack: { address: registers.sp!, bytes: new Uint8Array(256) },
    memory: [{ address: registers.pc!, bytes: new Uint8Array(64) }],
    modules: [],
    mappings: [],
    notes: null,
  });
}

test("writeMinidump() writes the registers of arm64", () => {
  const dump = arm64Dump();
  const { context, registers } = arm64Exception();
  const view = new DataView(dump.buffer);
  const streams = streamsOf(dump);
  assert.equal(streams.get(7)!.getUint16(0, true), 12);
  const thread = streams.get(3)!;
  const at = thread.getUint32(4 + 44, true);
  assert.equal(thread.getUint32(4 + 40, true), 912);
  assert.equal(view.getUint32(at, true), 0x0040_0007);
  assert.equal(view.getUint32(at + 4, true), 0x6000_0000);
  assert.equal(view.getBigUint64(at + 8, true), registers.x0);
  assert.equal(view.getBigUint64(at + 8 + 31 * 8, true), registers.sp);
  assert.equal(view.getBigUint64(at + 8 + 32 * 8, true), registers.pc);
  const vectors = dump.slice(at + 272, at + 272 + 512);
  assert.deepEqual(vectors, context.slice(480, 480 + 512));
  assert.deepEqual([view.getUint32(at + 784, true), view.getUint32(at + 788, true)], [0x22, 0x11]);
});

test("minidump-stackwalk reads a dump of arm64", needsStackwalk, () => {
  const path = compiledFile("arm64.dmp");
  writeFileSync(path, arm64Dump());
  const { registers } = arm64Exception();
  const walked = stackwalk(path);
  assert.equal(walked.system_info.cpu_arch, "arm64");
  assert.equal(walked.crash_info.type, "SIGBUS / BUS_ADRALN");
  assert.equal(BigInt(walked.crash_info.address!), 0x1003n);
  const [frame] = walked.crashing_thread.frames;
  for (const name of ["x0", "x19", "x28", "sp", "pc"]) {
    assert.equal(BigInt(frame!.registers![name]!), registers[name], name);
  }
});

test("lldb reads the registers of a dump of arm64", needsLldb, () => {
  const path = compiledFile("arm64_lldb.dmp");
  writeFileSync(path, arm64Dump());
  const text = lldb(path, ["register read x0 x19 sp pc"]);
  const { registers } = arm64Exception();
  for (const name of ["x0", "x19", "sp", "pc"]) {
    const value = registers[name]!.toString(16).padStart(16, "0");
    assert.match(text, new RegExp(`${name} = 0x${value}`));
  }
});
