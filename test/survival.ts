/**
 * A kernel that has something in every register when it faults, and looks at them afterwards.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { addHook, protect, readMemory, writeMemory } from "../mod.ts";
import { collectGarbage } from "./children_stress/holdings.ts";
import { mending, openHooks, pageLength, pages } from "./hooks_support.ts";

/** Read when it is asked for: children with few permissions import this, too. */
function features(): readonly string[] {
  const lines = readFileSync("/proc/cpuinfo", "utf8").split("\n");
  return lines.find((line) => line.startsWith("flags"))!.split(/\s+/);
}

/** The sets of registers that the kernel knows: name, what the processor calls it, and number. */
export const levels = [["SSE", "sse2", 0], ["AVX", "avx", 1], ["AVX-512", "avx512bw", 2]] as const;

/** Why a level cannot be tested here, or false. */
export function lacking([name, feature]: (typeof levels)[number]): string | false {
  return features().includes(feature) ? false : `this processor has no ${name}`;
}

/** MXCSR, x87 control word and flags. */
export const controls = [
  ["the usual control words", 0x1f80, 0x37f, 0n],
  ["other rounding and set flags", 0x7f80, 0xf7f, 0x8d5n],
  ["the direction flag set", 0x3f80, 0x77f, 0x400n],
  ["unmasked exceptions", 0x6000, 0xf40, 0x440n],
  ["flush to zero, all exceptions seen", 0xffbf, 0x27f, 0x1n],
] as const;

const flagsKept = 0x8d5n | 0x400n; // CF PF AF ZF SF OF, and DF.

/** The area that fh_survive loads its registers from; see there. */
function filledArea([, mxcsr, control, flags]: (typeof controls)[number]): Uint8Array {
  const area = new Uint8Array(3 * pageLength);
  for (let index = 0; index < pageLength; index++) area[index] = (index * 167 + 13) & 255;
  const view = new DataView(area.buffer);
  view.setUint32(0, mxcsr, true);
  view.setUint16(4, control, true);
  view.setBigUint64(8, flags | 2n, true);
  for (let index = 0; index < 8; index++) {
    // Normal numbers: the top bit of the fraction set, an exponent near 1.
    view.setUint8(272 + 16 * index + 7, 0x80 | index);
    view.setUint16(272 + 16 * index + 8, 0x3fff + index, true);
  }
  return area;
}

const names = "rax rbx rcx rdx rsi rbp r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

function checkArea(before: Uint8Array, after: Uint8Array, flags: bigint): void {
  const [wanted, found] = [before, after].map(({ buffer }) => new DataView(buffer));
  names.forEach((name, index) => {
    const expected = wanted!.getBigUint64(16 + 8 * index, true);
    assert.equal(found!.getBigUint64(144 + 8 * index, true), expected, name);
  });
  assert.equal(found!.getBigUint64(144 + 8 * names.length, true) & flagsKept, flags, "flags");
  // XSAVE's own: x87, SSE, the header, and what lies behind. Bytes 464 to 511 are nobody's.
  const first = after.slice(pageLength, 2 * pageLength);
  const second = after.slice(2 * pageLength, 3 * pageLength);
  for (const area of [first, second]) area.fill(0, 464, 512);
  assert.deepEqual(second, first, "extended state");
  assert.equal(first[512]! & 3, 3, "x87 and SSE are in use");
}

/** What a hook may do to spoil the state: floating point, allocation, garbage collection. */
function work(): number {
  let sum = 0;
  const numbers = Float64Array.from({ length: 512 }, (_, index) => Math.sin(index) / (index + 0.1));
  for (const value of numbers) sum += Math.fround(value) * 1.1 - Math.sqrt(Math.abs(value)) % 0.3;
  const kept = Array.from({ length: 100 }, (_, index) => ({ text: `${index / 3}`, sum }));
  collectGarbage();
  return sum + kept.length;
}

const { symbols } = openHooks();

/** Lets the kernel fault `rounds` times under a hook that works hard and mends. */
export function survive(
  [, , level]: (typeof levels)[number],
  control: (typeof controls)[number],
  rounds: number,
): void {
  const area = pages(3, "rw-");
  const page = pages(1);
  const range = { address: page, byteLength: pageLength };
  const before = filledArea(control);
  let worked = 0;
  using hook = mending({ range });
  using passing = addHook({ signals: ["SIGSEGV"] }, () => {
    worked += work();
    return "next";
  });
  for (let round = 1; round <= rounds; round++) {
    writeMemory(area, before);
    protect(range, "r--");
    symbols.fh_survive(page, area, level);
    assert.deepEqual([hook.hook.hits, passing.hits], [round, round]);
    const after = new Uint8Array(3 * pageLength);
    readMemory(area, after);
    checkArea(before, after, control[3]);
    const written = new Uint8Array(1);
    readMemory(page, written);
    assert.equal(written[0], 7);
  }
  assert.ok(worked > 0);
}
