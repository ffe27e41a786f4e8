/**
 * What the tests of hooks know about the code of the fixtures: lengths of instructions, and names
 * of the registers that they use.
 *
 * @module
 */
import { arm64 } from "./platform_support.ts";

/** Lengths of instructions, in bytes. */
export interface CodeLengths {
  /** Of each read and write of memory in assembly. */
  readonly access: bigint;
  /** Of `fx_ud2`'s and `fh_steps`' first. */
  readonly illegal: bigint;
  /** Of `fx_int3`'s first. */
  readonly breakpoint: bigint;
  /** What a hook has to skip at a breakpoint: x64 has gone past it already. */
  readonly breakpointLeft: bigint;
  /** Of `fx_divide`'s that is reported. */
  readonly divide: bigint;
}

/** Lengths on this architecture. */
export const lengths: CodeLengths = arm64
  ? { access: 4n, illegal: 4n, breakpoint: 4n, breakpointLeft: 4n, divide: 4n }
  : { access: 3n, illegal: 2n, breakpoint: 1n, breakpointLeft: 0n, divide: 2n };

/** Machine names of registers. */
export interface CodeRegisters {
  /** Has a function's first argument: the address that `fx_read` and the like touch. */
  readonly argument: string;
  /** What `fh_registers_after` reads into. */
  readonly readAfter: string;
  /** What `fh_read_often` reads into. */
  readonly readOften: string;
  /** A register for results. */
  readonly result: string;
  /** The name of its lower half, which is none in a context. */
  readonly half: string;
  /** One that functions need not keep, and that no assembly of the fixtures uses. */
  readonly unused: string;
  readonly instructionPointer: string;
  readonly stackPointer: string;
}

/** Names on this architecture. */
export const registers: CodeRegisters = arm64
  ? {
    argument: "x0",
    readAfter: "x1",
    readOften: "x2",
    result: "x0",
    half: "w0",
    unused: "x15",
    instructionPointer: "pc",
    stackPointer: "sp",
  }
  : {
    argument: "rdi",
    readAfter: "rcx",
    readOften: "rdx",
    result: "rax",
    half: "eax",
    unused: "r10",
    instructionPointer: "rip",
    stackPointer: "rsp",
  };

/**
 * Addresses that no code can be at, with SIGSEGV at them: of unmapped memory, and of none that a
 * process can have. On arm64 an instruction at an odd one would be SIGBUS, and the top byte does
 * not count.
 */
export const codeNowhere: readonly bigint[] = arm64
  ? [8n, 0x0055_0000_0000_0000n]
  : [8n, 0x8000_0000_0000_0000n, 2n ** 64n - 1n];
