/**
 * Registers in the form that minidumps hold them: the CONTEXT structs of Windows for x86-64 and
 * arm64, which readers of minidumps from Linux expect too.
 *
 * Layouts: Breakpad's src/google_breakpad/common/minidump_cpu_amd64.h (`MDRawContextAMD64`) and
 * minidump_cpu_arm64.h (`MDRawContextARM64`); of what the kernel saved, Linux
 * arch/x86/include/uapi/asm/sigcontext.h (`struct sigcontext_64`, the FXSAVE area) and
 * arch/arm64/include/uapi/asm/sigcontext.h (`struct fpsimd_context`).
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";

/** A kind of machine whose registers can be stored, by Node's name for it. */
export type Machine = "x64" | "arm64";

/** What a context is made of. */
export type ContextSource = Pick<ExceptionInfo, "registers" | "context">;

/** The machine that registers belong to; null for those of none, as of thrown exceptions. */
export function machineOf(registers: ContextSource["registers"]): Machine | null {
  if ("rip" in registers) return "x64";
  return "pc" in registers ? "arm64" : null;
}

const amd64 = {
  byteLength: 1232,
  contextFlags: 48,
  mxcsr: 52,
  cs: 56,
  fs: 62,
  gs: 64,
  ss: 66,
  eflags: 68,
  registers: {
    ...{ rax: 120, rcx: 128, rdx: 136, rbx: 144, rsp: 152, rbp: 160, rsi: 168, rdi: 176 },
    ...{ r8: 184, r9: 192, r10: 200, r11: 208, r12: 216, r13: 224, r14: 232, r15: 240, rip: 248 },
  },
  fxsave: 256,
} as const;

/** CONTEXT_AMD64 with control, integer and segment registers; one more bit for the FXSAVE area. */
const amd64Flags = 0x0010_0007;
const amd64FloatingPoint = 0x8;
/** In the kernel's ucontext: cs, gs, fs and ss; and its length, behind which FXSAVE begins. */
const linuxSegments = 184;
const linuxContext = 304;
const fxsaveLength = 512;
const fxsaveMxcsr = 24;

function amd64Context({ registers, context }: ContextSource): Uint8Array {
  const bytes = new Uint8Array(amd64.byteLength);
  const view = new DataView(bytes.buffer);
  const saved = new DataView(context.buffer, context.byteOffset, context.byteLength);
  for (const [name, offset] of Object.entries(amd64.registers)) {
    view.setBigUint64(offset, registers[name] ?? 0n, true);
  }
  view.setUint32(amd64.eflags, Number(BigInt.asUintN(32, registers["eflags"] ?? 0n)), true);
  if (saved.byteLength >= linuxSegments + 8) {
    [amd64.cs, amd64.gs, amd64.fs, amd64.ss].forEach((offset, index) => {
      view.setUint16(offset, saved.getUint16(linuxSegments + 2 * index, true), true);
    });
  }
  const hasFloatingPoint = saved.byteLength >= linuxContext + fxsaveLength;
  view.setUint32(
    amd64.contextFlags,
    amd64Flags | (hasFloatingPoint ? amd64FloatingPoint : 0),
    true,
  );
  if (hasFloatingPoint) {
    bytes.set(context.subarray(linuxContext, linuxContext + fxsaveLength), amd64.fxsave);
    view.setUint32(amd64.mxcsr, saved.getUint32(linuxContext + fxsaveMxcsr, true), true);
  }
  return bytes;
}

const arm64 = {
  byteLength: 912,
  contextFlags: 0,
  cpsr: 4,
  /** x0 to x30, sp, pc. */
  registers: 8,
  vectors: 272,
  fpcr: 784,
  fpsr: 788,
} as const;

/** CONTEXT_ARM64 with control and integer registers; one more bit for the vectors. */
const arm64Flags = 0x0040_0003;
const arm64FloatingPoint = 0x4;
/** Behind the registers of the kernel's ucontext: records, each with a magic number and length. */
const linuxRecords = 464;
const fpsimdMagic = 0x4650_8001;
const vectorsLength = 512;

/** Where the vectors' record begins; null when there is none. */
function findVectors(saved: DataView): number | null {
  let at = linuxRecords;
  while (at + 8 <= saved.byteLength) {
    const length = saved.getUint32(at + 4, true);
    const isWhole = at + 16 + vectorsLength <= saved.byteLength;
    if (saved.getUint32(at, true) === fpsimdMagic) return isWhole ? at : null;
    if (length < 8) return null;
    at += length;
  }
  return null;
}

function arm64Context({ registers, context }: ContextSource): Uint8Array {
  const bytes = new Uint8Array(arm64.byteLength);
  const view = new DataView(bytes.buffer);
  const names = [...Array.from({ length: 31 }, (_, index) => `x${index}`), "sp", "pc"];
  names.forEach((name, index) => {
    view.setBigUint64(arm64.registers + 8 * index, registers[name] ?? 0n, true);
  });
  view.setUint32(arm64.cpsr, Number(BigInt.asUintN(32, registers["pstate"] ?? 0n)), true);
  const saved = new DataView(context.buffer, context.byteOffset, context.byteLength);
  const vectors = findVectors(saved);
  view.setUint32(
    arm64.contextFlags,
    arm64Flags | (vectors === null ? 0 : arm64FloatingPoint),
    true,
  );
  if (vectors !== null) {
    bytes.set(context.subarray(vectors + 16, vectors + 16 + vectorsLength), arm64.vectors);
    view.setUint32(arm64.fpsr, saved.getUint32(vectors + 8, true), true);
    view.setUint32(arm64.fpcr, saved.getUint32(vectors + 12, true), true);
  }
  return bytes;
}

/** The registers of an exception as a minidump of its machine holds them. */
export function minidumpContext(machine: Machine, source: ContextSource): Uint8Array {
  return machine === "x64" ? amd64Context(source) : arm64Context(source);
}
