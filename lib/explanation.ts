/**
 * Says in one sentence what an address is, from the mappings around it. Pure: the mappings are
 * passed in, so that every sentence can be tested without a fault.
 *
 * @module
 */
import { machine } from "./machine.ts";
import { type MemoryOperand, memoryOperand } from "./memory_operand.ts";
import type { ExceptionType } from "./signal_table.ts";

/** A mapping, as far as it is explained. */
export interface ExplainedMapping {
  readonly start: bigint;
  /** The first address behind it. */
  readonly end: bigint;
  /** Such as "r-x". */
  readonly protection: string;
  readonly path: string | null;
}

/** The mapping that holds an address, and its neighbours. */
export interface MappingsAround {
  readonly below: ExplainedMapping | null;
  readonly at: ExplainedMapping | null;
  readonly above: ExplainedMapping | null;
}

/** What is known about an exception. */
export interface ExplainedException {
  readonly type: ExceptionType;
  readonly code: string;
  readonly address: bigint | null;
  readonly access: "read" | "write" | "execute" | null;
  readonly instructionPointer: bigint;
  /** General registers by machine name. */
  readonly registers: Readonly<Record<string, bigint | undefined>>;
  /** The thread's stack; null when unknown. */
  readonly stack: { readonly low: bigint; readonly guard: bigint } | null;
  /** log2 of the bytes that a memory error took, or null. */
  readonly addressLsb: number | null;
  readonly bounds: { readonly lower: bigint; readonly upper: bigint } | null;
  readonly protectionKey: number | null;
  /** The faulting instruction; null when it cannot be read. */
  readonly bytes: Uint8Array | null;
}

const page = 4096n;
/** Field offsets of null objects, and indices of null arrays, stay below it: mmap_min_addr. */
const nullEnd = 0x10000n;
/** "Near" a module: a stray index or a stale pointer, rather than noise. */
const nearMax = 1n << 30n;
const halfEnd = 1n << machine.addressBits;
const addressEnd = 1n << 64n;

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function bytesText(count: bigint): string {
  return count === 1n ? "1 byte" : `${count < 4096n ? count : hex(count)} bytes`;
}

function isCanonical(address: bigint): boolean {
  return address < halfEnd || address >= addressEnd - halfEnd;
}

/** A mapping by what it is: a file's name, or the system's name for it. */
function describeMapping({ path, protection, start }: ExplainedMapping): string {
  if (path === null) return `the anonymous mapping ${protection} at ${hex(start)}`;
  if (path.startsWith("[")) return `${path} ${protection}`;
  return `mapping ${path.slice(path.lastIndexOf("/") + 1)} ${protection}`;
}

/** Whether a mapping belongs to a file, which a module is. */
function isModule(mapping: ExplainedMapping | null): mapping is ExplainedMapping {
  return mapping !== null && mapping.path !== null && mapping.path.startsWith("/");
}

/** Fill patterns of allocators and compilers, and who writes them. */
const poisons: readonly {
  readonly pattern: bigint;
  readonly width: bigint;
  readonly by: string;
}[] = [
  { pattern: 0xdeadbeefn, width: 4n, by: "a mark for memory that is gone" },
  { pattern: 0xbaadf00dn, width: 4n, by: "a mark for memory that was never written" },
  { pattern: 0xfeeefeeen, width: 4n, by: "a mark for memory that was freed" },
  { pattern: 0x5an, width: 1n, by: "jemalloc's fill of freed memory" },
  { pattern: 0xa5n, width: 1n, by: "jemalloc's fill of new memory" },
  { pattern: 0xaan, width: 1n, by: "the fill of undefined memory in Zig and Clang" },
  { pattern: 0xcdn, width: 1n, by: "a debug heap's fill of new memory" },
  { pattern: 0xddn, width: 1n, by: "a debug heap's fill of freed memory" },
  { pattern: 0xccn, width: 1n, by: "a debugger's fill of the stack" },
  { pattern: 0xfen, width: 1n, by: "a fill of uninitialized memory" },
  { pattern: 0xben, width: 1n, by: "AddressSanitizer's fill of new memory" },
];

/** The pattern repeated over 64 bits. */
function repeated(pattern: bigint, width: bigint): bigint {
  const bits = 8n * width;
  return pattern * ((addressEnd - 1n) / ((1n << bits) - 1n));
}

/**
 * Which fill pattern an address is made of: all of it, or all but the low 16 bits, which an offset
 * may have changed, with the upper bits missing where they do not fit an address.
 */
export function poisonOf(address: bigint): { readonly text: string; readonly by: string } | null {
  for (const { pattern, width, by } of poisons) {
    const full = repeated(pattern, width);
    for (const bits of [64n, 48n, 32n]) {
      const wanted = full & ((1n << bits) - 1n);
      const distance = address > wanted ? address - wanted : wanted - address;
      if (distance >= page) continue;
      // One half of the bytes 0xfe.. is a negative number too small to mean anything.
      const text = distance === 0n
        ? hex(wanted)
        : `${hex(wanted)} ${address > wanted ? "+" : "-"} ${hex(distance)}`;
      return { text, by };
    }
  }
  return null;
}

function explainPoison(address: bigint): string | null {
  const poison = poisonOf(address);
  if (poison === null) return null;
  return `poisoned memory: ${poison.text} is ${poison.by}, so the pointer was read from there`;
}

/** "15 bytes past mapping libz.so.1 r--" and its kin; null when nothing is near. */
function explainNear(address: bigint, { below, above }: MappingsAround): string | null {
  const past = below === null ? null : address - below.end;
  const before = above === null ? null : above.start - address;
  // What is within a page is an index or a size too large by little; past beats before.
  if (past !== null && past < page && past <= (before ?? past)) {
    const where = past === 0n ? "one past the end of" : `${bytesText(past)} past`;
    return `${where} ${describeMapping(below!)}`;
  }
  if (before !== null && before <= page) {
    return `${bytesText(before)} before ${describeMapping(above!)}`;
  }
  const [distance, mapping, side] = past !== null && (before === null || past <= before)
    ? [past, below, "after"] as const
    : [before, above, "before"] as const;
  if (distance === null || distance > nearMax) return null;
  const name = describeMapping(mapping!);
  const near = isModule(mapping) ? "near" : "next to";
  return `unmapped, ${near} ${name} (${bytesText(distance)} ${side} it): ` +
    "freed, or never mapped";
}

/** An address where nothing is mapped. */
function explainUnmapped(address: bigint, around: MappingsAround): string {
  if (address < nullEnd) return explainNull(address);
  if (address >= addressEnd - page) {
    return `offset -${
      hex(addressEnd - address)
    } from the null page: a null pointer less a little, ` +
      "or an error value used as a pointer";
  }
  if (address >= addressEnd - halfEnd) {
    return explainPoison(address) ?? "an address of the kernel, which no process may use";
  }
  if (!isCanonical(address)) {
    // Only arm64 reports such an address.
    return explainPoison(address) ??
      `non-canonical pointer ${hex(address)}, which no process can have`;
  }
  if (around.at !== null) {
    return `unmapped when it was accessed; ${
      describeMapping(around.at)
    } has been mapped there since`;
  }
  const poison = explainPoison(address);
  const near = explainNear(address, around);
  // A pattern next to a mapping is a coincidence; an exact neighbour is not.
  if (poison !== null) return poison;
  if (near !== null) return near;
  return `unmapped, far from everything: freed, or no pointer at all`;
}

function explainNull(address: bigint): string {
  if (address === 0n) return "offset 0x0 from the null page: a null pointer";
  return `offset ${hex(address)} from the null page: a field or an element of a null pointer`;
}

/** An address whose mapping forbids the access. */
function explainForbidden(exception: ExplainedException, around: MappingsAround): string {
  const address = exception.address!;
  const { at, above } = around;
  if (at === null) return explainUnmapped(address, around);
  const name = describeMapping(at);
  const [read, write, execute] = at.protection;
  if (exception.access === "execute" && execute !== "x") return `not executable: in ${name}`;
  if (exception.access === "write" && write !== "w" && read === "r") return `read-only: in ${name}`;
  if (read !== "r" && write !== "w" && execute !== "x") {
    const length = at.end - at.start;
    const next = above !== null && above.start === at.end ? above : null;
    if (next !== null && length <= 1024n * 1024n && next.protection.startsWith("rw")) {
      return `in a guard of ${bytesText(length)}, ${bytesText(at.end - address)} before ` +
        describeMapping(next);
    }
    return `not accessible: in ${name}`;
  }
  if (exception.access === "read" && read !== "r") return `not readable: in ${name}`;
  return `refused by the system when it was accessed; now in ${name}`;
}

/** Instructions that only the kernel may execute, by their first bytes. */
function isPrivileged(bytes: Uint8Array | null): boolean {
  if (bytes === null || bytes.length === 0) return false;
  const [first, second] = bytes;
  // hlt, cli, sti, in and out, then clts, invd, wbinvd, mov to and from control registers, wrmsr.
  if ([0xf4, 0xfa, 0xfb, 0xe4, 0xe5, 0xe6, 0xe7, 0xec, 0xed, 0xee, 0xef].includes(first!)) {
    return true;
  }
  return first === 0x0f && [0x06, 0x08, 0x09, 0x20, 0x21, 0x22, 0x23, 0x30, 0x32].includes(second!);
}

/** A register that holds a pointer that no address can be. */
function explainPointer(name: string, value: bigint): string {
  const poison = poisonOf(value);
  const kind = poison === null ? "" : `, poisoned memory: ${poison.by}`;
  return `non-canonical pointer ${hex(value)} in ${name}${kind}`;
}

/** What the operand in memory says; null when it is as it should be. */
function explainOperand(
  { address, alignment, registers: used }: MemoryOperand,
  registers: ExplainedException["registers"],
): string | null {
  if (!isCanonical(address)) {
    const name = used.find((one) => !isCanonical(registers[one]!));
    if (name !== undefined) return explainPointer(name, registers[name]!);
    return `non-canonical pointer ${hex(address)}, computed from ${used.join(" and ")}`;
  }
  if (address % alignment === 0n) return null;
  return `the address ${hex(address)} is misaligned for this instruction, which needs ` +
    `${alignment} bytes`;
}

/** The CPU gives no address: the instruction and what the registers hold decide. */
function explainProtection({ registers, bytes, instructionPointer }: ExplainedException): string {
  if (isPrivileged(bytes)) return "a privileged instruction, which only the kernel may execute";
  if (!isCanonical(instructionPointer)) {
    return `non-canonical pointer ${hex(instructionPointer)} was jumped to`;
  }
  const operand = bytes === null ? null : memoryOperand(bytes, registers);
  const known = operand === null ? null : explainOperand(operand, registers);
  if (known !== null) return known;
  // Instructions with operands of their own: those of strings, of the stack, indirect jumps.
  const name = machine.pointerRegisters.find((one) => !isCanonical(registers[one] ?? 0n));
  if (name !== undefined) return explainPointer(name, registers[name]!);
  return "a non-canonical address or a privileged instruction; no register says which";
}

function explainStack({ address, stack }: ExplainedException): string {
  if (address === null || stack === null) return "in the stack's guard";
  const { low } = stack;
  const where = address < low
    ? `${bytesText(low - address)} below the thread's stack`
    : `${bytesText(address - low)} above the end of the thread's stack`;
  return `in the stack guard, ${where}: the recursion is too deep, or a local variable too large`;
}

function explainFile({ address, code }: ExplainedException, { at }: MappingsAround): string {
  const where = at === null ? "" : `: in ${describeMapping(at)}`;
  if (code === "BUS_OBJERR") return `the device failed to give the memory${where}`;
  if (address === null || at === null) return "past the end of the mapped file";
  if (at.path === null) return `the system has no page left for this address${where}`;
  const offset = bytesText(address - at.start);
  return `past the end of file: ${offset} into ${describeMapping(at)}, whose file ends earlier`;
}

/** What does not depend on the mappings; null for the rest. */
function explainWithoutMappings(exception: ExplainedException): string | null {
  const { type, code, addressLsb, bounds, address, protectionKey } = exception;
  if (type === "stack-overflow") return explainStack(exception);
  if (type === "general-protection") return explainProtection(exception);
  if (type === "misaligned-access") return "an address misaligned for this instruction";
  if (type === "machine-check") {
    const lost = addressLsb === null ? "memory" : bytesText(1n << BigInt(addressLsb));
    return `the hardware lost ${lost}${address === null ? "" : ` at ${hex(address)}`}`;
  }
  if (code === "SEGV_BNDERR" && bounds !== null) {
    return `outside the bounds ${hex(bounds.lower)} to ${hex(bounds.upper)}`;
  }
  if (code === "SEGV_PKUERR") return `denied by protection key ${protectionKey}`;
  return explainOther(exception);
}

const otherTypes: Readonly<Partial<Record<ExceptionType, string>>> = {
  "breakpoint": "a breakpoint instruction was executed",
  "single-step": "one instruction was executed in single-step mode",
  "watchpoint": "a watched address was accessed",
  "abort": "the program gave up on its own: abort() or a failed assertion",
  "policy": "a system call that is not allowed was made",
  "user": "thrown by the program, not by the hardware",
  "process-starting": "a process starts",
  "thread-starting": "a thread starts",
  "thread-exiting": "a thread ends",
};

function explainOther({ type, code, instructionPointer }: ExplainedException): string | null {
  if (type === "arithmetic") {
    if (code === "FPE_INTDIV") return "a division by zero, or one whose result is too large";
    return `an arithmetic exception (${code})`;
  }
  if (type === "illegal-instruction") {
    return `no instruction of this processor at ${hex(instructionPointer)}, or a trap on purpose`;
  }
  return otherTypes[type] ?? null;
}

/**
 * One sentence about an exception's address.
 *
 * @param exception What happened.
 * @param mappingsAround Asked at most once, and only where mappings decide.
 */
export function explain(
  exception: ExplainedException,
  mappingsAround: (address: bigint) => MappingsAround,
): string {
  const known = explainWithoutMappings(exception);
  if (known !== null) return known;
  const { address, code } = exception;
  if (address === null) return "the processor reported no address";
  const around = mappingsAround(address);
  if (exception.type === "bus-error") return explainFile(exception, around);
  if (code === "SEGV_MAPERR") return explainUnmapped(address, around);
  return explainForbidden(exception, around);
}
