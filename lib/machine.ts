/**
 * What differs between processor architectures: this process's own choice out of the tables that
 * hold for each.
 *
 * @module
 */
import { exceptionLayouts, machineRegisters, portableRegisters } from "./abi.ts";

/** An architecture that there is a native library for. */
export type Architecture = keyof typeof exceptionLayouts;

/** What is known about an architecture. */
export interface Machine {
  /** By the name that `process.arch` has for it. */
  readonly architecture: Architecture;
  /** How many integer arguments go in registers. */
  readonly integerRegisters: number;
  /** How many floating-point arguments go in registers. */
  readonly floatRegisters: number;
  /** The most bytes that an instruction can have. */
  readonly instructionLength: number;
  /** The fewest. */
  readonly instructionLengthMin: number;
  /** The bits of an address in one half of the address space. */
  readonly addressBits: bigint;
  /** Whether an integer division by zero is an exception. */
  readonly divisionTraps: boolean;
  /** Registers that may hold a pointer. */
  readonly pointerRegisters: readonly string[];
  /** Those that a caller's mistake is in, likeliest first: argument registers. */
  readonly tellingRegisters: readonly string[];
  /** Registers in the order in which people look at them; the others follow. */
  readonly firstRegisters: readonly string[];
  /** The third argument of a function. */
  readonly thirdArgument: string;
}

function numbered(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => `x${first + index}`);
}

const machines: Readonly<Record<Architecture, Machine>> = {
  x64: {
    architecture: "x64",
    integerRegisters: 6,
    floatRegisters: 8,
    instructionLength: 15,
    instructionLengthMin: 1,
    addressBits: 47n,
    divisionTraps: true,
    pointerRegisters: [
      ...["rdi", "rsi", "rdx", "rcx", "rax", "rbx", "rbp", "rsp", "rip"],
      ...["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"],
    ],
    tellingRegisters: ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "rbx", "rbp"],
    firstRegisters: ["rip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi"],
    thirdArgument: "rdx",
  },
  arm64: {
    architecture: "arm64",
    integerRegisters: 8,
    floatRegisters: 8,
    instructionLength: 4,
    instructionLengthMin: 4,
    addressBits: 48n,
    divisionTraps: false,
    pointerRegisters: [...numbered(0, 30), "sp", "pc"],
    tellingRegisters: numbered(0, 29),
    firstRegisters: ["pc", "sp", ...numbered(0, 30), "pstate"],
    thirdArgument: "x2",
  },
};

// A global of both runtimes; to import it would load modules of Node's that nothing else needs.
const host = globalThis as unknown as { readonly process?: { readonly arch: string } };
const architecture = host.process?.arch ?? "";
const known = Object.hasOwn(machines, architecture);

/** This process's; that of x64 where nothing native can be used anyway. */
export const machine: Machine = machines[known ? architecture as Architecture : "x64"];

/** Layout of an exception on this architecture. */
export const exceptionLayout: (typeof exceptionLayouts)[Architecture] =
  exceptionLayouts[machine.architecture];

/** Offsets of the registers in the machine context. */
export const registerOffsets: Readonly<Record<string, number>> =
  machineRegisters[machine.architecture];

/** The machine names of the portable register names. */
export const portableNames: Readonly<
  Record<"instructionPointer" | "stackPointer" | "framePointer" | "flags", string>
> = portableRegisters[machine.architecture];
