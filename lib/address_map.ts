/**
 * Which stretches of the address space tell something about an exception, and what lies in them.
 * Pure: the mappings are passed in.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import type { ExplainedMapping } from "./explanation.ts";
import { baseName } from "./frame_text.ts";
import { isAccess } from "./headline.ts";
import type { StackFrame } from "./stack_frame.ts";

/** What a stretch of addresses is used for. */
export type RegionKind =
  | "code"
  | "read-only"
  | "data"
  | "writable-code"
  | "heap"
  | "stack"
  | "growth"
  | "guard"
  | "no-access"
  | "null"
  | "nothing"
  | "unknown";

/** Addresses from `start` up to `end`. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** Addresses of one kind; they may reach beyond the strip that shows them. */
export interface Region extends AddressRange {
  readonly kind: RegionKind;
  /** Such as "libz.so.1 r-x". */
  readonly name: string;
}

/** Something that points at an address. */
export interface Pointer {
  readonly address: bigint;
  readonly label: string;
  /** The accessed address, a register, a frame of the backtrace, or where something lies. */
  readonly kind: "fault" | "register" | "frame" | "place";
}

/** A stretch of the address space that is drawn to one scale. */
export interface Strip extends AddressRange {
  readonly title: string;
  readonly regions: readonly Region[];
  readonly pointers: readonly Pointer[];
}

/** What is known of the thread's stack. */
export interface StackBounds {
  readonly low: bigint;
  readonly high: bigint;
  /** Bytes of its guard. */
  readonly guard: bigint;
}

/** What a map is made of. */
export interface MappedException {
  readonly info:
    & Pick<ExceptionInfo, "address" | "access" | "instructionPointer" | "stackPointer">
    & { readonly registers: Readonly<Record<string, bigint | undefined>> };
  readonly backtrace: readonly StackFrame[];
  /** Lowest first; null when they are not known. */
  readonly mappings: readonly ExplainedMapping[] | null;
  /** Whether these are all mappings; else nobody knows what lies between them. */
  readonly isComplete: boolean;
  /** null when it is not known. */
  readonly stack: StackBounds | null;
}

const page = 4096n;
/** mmap_min_addr. */
const nullEnd = 0x10000n;
const memoryEnd = 2n ** 64n;
/** Mappings up to this length are shown whole. */
const wholeMax = 64n * page;
/** Further away than this nothing is near. */
const nearMax = 1n << 30n;

function maxOf(first: bigint, ...others: readonly bigint[]): bigint {
  return others.reduce((most, one) => one > most ? one : most, first);
}

function minOf(first: bigint, ...others: readonly bigint[]): bigint {
  return others.reduce((least, one) => one < least ? one : least, first);
}

function lengthOf({ start, end }: AddressRange): bigint {
  return end - start;
}

/** Whole pages, within the address space. */
function pages(start: bigint, end: bigint): AddressRange {
  const low = maxOf(start, 0n);
  return { start: low - low % page, end: minOf(end + (page - end % page) % page, memoryEnd) };
}

function contains({ start, end }: AddressRange, address: bigint): boolean {
  return address >= start && address < end;
}

/** Around an address in a mapping: all of it when it is short. */
function rangeInside(address: bigint, mapping: ExplainedMapping): AddressRange {
  const length = lengthOf(mapping);
  if (length <= wholeMax) {
    const margin = maxOf(length / 8n, page);
    return pages(mapping.start - margin, mapping.end + margin);
  }
  return pages(address - wholeMax / 2n, address + wholeMax / 2n);
}

/** Around an address that nothing is mapped at: up to the nearest mapping, and some of that. */
function rangeOutside(
  address: bigint,
  below: ExplainedMapping | undefined,
  above: ExplainedMapping | undefined,
): AddressRange {
  const toBelow = below === undefined ? nearMax : address - below.end;
  const toAbove = above === undefined ? nearMax : above.start - address;
  const distance = minOf(toBelow, toAbove);
  if (distance >= nearMax) return pages(address - 8n * page, address + 8n * page);
  const shown = maxOf(distance, 4n * page);
  const margin = maxOf(distance / 4n, page);
  return toBelow <= toAbove
    ? pages(maxOf(below!.start, below!.end - shown), address + margin)
    : pages(address - margin, minOf(above!.end, above!.start + shown));
}

function rangeOfAddress(
  address: bigint,
  mappings: readonly ExplainedMapping[],
): AddressRange {
  const holder = mappings.find((mapping) => contains(mapping, address));
  if (holder !== undefined) return rangeInside(address, holder);
  if (address < nullEnd) return { start: 0n, end: nullEnd };
  const below = mappings.findLast((mapping) => mapping.end <= address);
  const above = mappings.find((mapping) => mapping.start > address);
  return rangeOutside(address, below, above);
}

/** The stack with its guard; of a stack whose bounds are not known, the mapping. */
function rangeOfStack({ info, mappings, stack }: MappedException): AddressRange | null {
  if (stack !== null) {
    const margin = maxOf((stack.high - stack.low) / 32n, page);
    return pages(stack.low - stack.guard - margin, stack.high + margin);
  }
  const holder = mappings?.find((mapping) => contains(mapping, info.stackPointer));
  if (holder === undefined) return null;
  const margin = maxOf(lengthOf(holder) / 32n, page);
  return pages(holder.start - margin, holder.end + margin);
}

/** The module that the instruction belongs to: all its mappings. */
function rangeOfCode({ info, mappings }: MappedException): AddressRange | null {
  const at = mappings?.findIndex((mapping) => contains(mapping, info.instructionPointer)) ?? -1;
  if (mappings === null || at < 0) return null;
  const { path } = mappings[at]!;
  const isPart = (index: number): boolean =>
    path !== null && mappings[index]?.path === path &&
    lengthOf({ start: mappings[index]!.start, end: mappings[at]!.end }) < nearMax;
  let [first, last] = [at, at];
  while (isPart(first - 1)) first -= 1;
  while (isPart(last + 1)) last += 1;
  const [{ start }, { end }] = [mappings[first]!, mappings[last]!];
  const margin = maxOf((end - start) / 32n, page);
  return pages(start - margin, end + margin);
}

function guardOf({ guard }: StackBounds): bigint {
  return maxOf(guard, page);
}

/** Whether a range lies in the guard of the stack: libraries count it in or out of the bounds. */
function isGuard(range: AddressRange, stack: StackBounds | null): boolean {
  if (stack === null) return false;
  const zone = guardOf(stack);
  return range.start >= stack.low - zone && range.end <= stack.low + zone;
}

function kindOf(
  { protection, path, start, end }: ExplainedMapping,
  stack: StackBounds | null,
): RegionKind {
  if (protection === "---") return isGuard({ start, end }, stack) ? "guard" : "no-access";
  if (path === "[heap]") return "heap";
  const isStack = stack !== null && start < stack.high && end > stack.low;
  if (path === "[stack]" || isStack) return "stack";
  if (protection.includes("x")) return protection.includes("w") ? "writable-code" : "code";
  return protection.includes("w") ? "data" : "read-only";
}

function nameOf({ protection, path }: ExplainedMapping, kind: RegionKind): string {
  if (kind === "guard") return "guard";
  if (kind === "stack") return `stack ${protection}`;
  if (path !== null) return `${baseName(path)} ${protection}`;
  return kind === "no-access" ? "reserved" : `anonymous ${protection}`;
}

/** What lies where nothing is mapped: parts of it have a name. */
function unmappedRegions(
  gap: AddressRange,
  { stack, isComplete }: MappedException,
): readonly Region[] {
  const kind = isComplete ? "nothing" : "unknown";
  const parts: Region[] = [{ start: 0n, end: nullEnd, kind: "null", name: "null page" }];
  if (stack !== null) {
    const { low, high } = stack;
    // The kernel's own guard below the first stack is no mapping.
    parts.push({ start: low - guardOf(stack), end: low, kind: "guard", name: "guard" });
    parts.push({ start: low, end: high, kind: "growth", name: "the stack may grow" });
  }
  const found: Region[] = [];
  let at = gap.start;
  for (const part of parts) {
    const [start, end] = [maxOf(part.start, at), minOf(part.end, gap.end)];
    if (start >= end) continue;
    if (start > at) found.push({ start: at, end: start, kind, name: "" });
    found.push({ ...part, start, end });
    at = end;
  }
  if (at < gap.end) found.push({ start: at, end: gap.end, kind, name: "" });
  return found;
}

/** Everything in a range, without gaps. */
function regionsOf(range: AddressRange, exception: MappedException): readonly Region[] {
  const { mappings, stack } = exception;
  if (mappings === null) return [];
  const regions: Region[] = [];
  let at = range.start;
  for (const mapping of mappings) {
    if (mapping.end <= range.start || mapping.start >= range.end) continue;
    const { start, end } = mapping;
    if (start > at) regions.push(...unmappedRegions({ start: at, end: start }, exception));
    const kind = kindOf(mapping, stack);
    regions.push({ start, end, kind, name: nameOf(mapping, kind) });
    at = end;
  }
  if (at < range.end) regions.push(...unmappedRegions({ start: at, end: range.end }, exception));
  return regions;
}

const portableNames = ["instructionPointer", "stackPointer", "framePointer", "flags"];
/** Registers that hold flags; and the instruction pointers, which frame #0 shows. */
const notPointers = new Set([...portableNames, "eflags", "pstate", "rip", "pc"]);

/** Registers that point into a range; those of equal value together. */
function registerPointers(
  registers: MappedException["info"]["registers"],
  range: AddressRange,
): readonly Pointer[] {
  const names = new Map<bigint, string[]>();
  for (const [name, value] of Object.entries(registers)) {
    if (value === undefined || notPointers.has(name) || !contains(range, value)) continue;
    names.set(value, [...names.get(value) ?? [], name]);
  }
  return [...names].map(([address, equal]) => ({
    address,
    label: equal.join(" = "),
    kind: "register",
  }));
}

const framesMax = 12;

/** Frames whose code lies in a range; those of a recursion together. */
function framePointers(
  backtrace: readonly StackFrame[],
  range: AddressRange,
): readonly Pointer[] {
  const places = new Map<bigint, { readonly symbol: string | null; readonly numbers: number[] }>();
  backtrace.forEach(({ address, symbol, inlined }, index) => {
    if (inlined || !contains(range, address)) return;
    const place = places.get(address);
    if (place !== undefined) place.numbers.push(index);
    else if (places.size < framesMax) places.set(address, { symbol, numbers: [index] });
  });
  return [...places].map(([address, { symbol, numbers }]) => {
    const [first, last] = [numbers[0]!, numbers.at(-1)!];
    const range = first === last ? `#${first}` : `#${first} to #${last}`;
    return { address, label: symbol === null ? range : `${range} ${symbol}`, kind: "frame" };
  });
}

/** What points into a range. */
function pointersOf(range: AddressRange, { info, backtrace }: MappedException): readonly Pointer[] {
  const { address, access, registers } = info;
  const verb = { read: "read", write: "written", execute: "jumped to" }[access ?? "read"];
  const fault: Pointer[] = address === null || !contains(range, address)
    ? []
    : [{ address, label: access === null ? "the address" : verb, kind: "fault" }];
  return [...fault, ...registerPointers(registers, range), ...framePointers(backtrace, range)];
}

/** The half of the address space that programs have. */
const userEnd = 1n << 47n;

/** The whole address space of the process, where no more than places can be told. */
function wholeStrip(exception: MappedException): readonly Strip[] {
  const { info, mappings } = exception;
  if (mappings === null) return [];
  const range = { start: 0n, end: userEnd };
  const heap = mappings.find(({ path }) => path === "[heap]");
  const place = (address: bigint | undefined | null, label: string): readonly Pointer[] =>
    address === undefined || address === null || !contains(range, address)
      ? []
      : [{ address, label, kind: "place" }];
  const pointers = [
    ...pointersOf(range, { ...exception, backtrace: [], info: { ...info, registers: {} } }),
    ...place(heap?.start, "heap"),
    ...place(info.instructionPointer, "code"),
    ...place(info.stackPointer, "stack"),
  ];
  return [{ title: "All of it", ...range, regions: regionsOf(range, exception), pointers }];
}

/**
 * The strips that tell something about an exception: next to the address, the stack, the code, and
 * the whole address space.
 */
export function addressStrips(exception: MappedException): readonly Strip[] {
  const { info, mappings } = exception;
  const { address } = info;
  const ranges: readonly (readonly [string, AddressRange | null])[] = [
    [
      "Next to the address",
      address !== null && isAccess(info) ? rangeOfAddress(address, mappings ?? []) : null,
    ],
    ["The stack", rangeOfStack(exception)],
    ["The code", rangeOfCode(exception)],
  ];
  const strips = ranges.flatMap(([title, range]) => {
    if (range === null) return [];
    const { start, end } = range;
    const regions = regionsOf(range, exception);
    return [{ title, start, end, regions, pointers: pointersOf(range, exception) }];
  });
  return [...strips, ...wholeStrip(exception)];
}
