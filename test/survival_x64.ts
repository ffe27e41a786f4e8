/**
 * The registers of x86-64, as hooks_fixture_x86_64.zig loads and finds them.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { pageLength } from "./hooks_support.ts";
import { type AllRegisters, type Control, type Level, viewOfArea } from "./survival_registers.ts";

function features(): readonly string[] {
  const lines = readFileSync("/proc/cpuinfo", "utf8").split("\n");
  return lines.find((line) => line.startsWith("flags"))!.split(/\s+/);
}

/** `feature` is what the processor calls it. */
function level(name: string, feature: string, number: number): Level {
  return {
    name,
    number,
    lacking: () => features().includes(feature) ? false : `this processor has no ${name}`,
    check,
  };
}

const flagsKept = 0x8d5n | 0x400n; // CF PF AF ZF SF OF, and DF.

function control(name: string, mxcsr: number, x87: number, flags: bigint): Control {
  return {
    name,
    fill: (area) => {
      area.fill(0, pageLength);
      const view = viewOfArea(area);
      view.setUint32(0, mxcsr, true);
      view.setUint16(4, x87, true);
      view.setBigUint64(8, flags | 2n, true);
      for (let index = 0; index < 8; index++) {
        // Normal numbers: the top bit of the fraction set, an exponent near 1.
        view.setUint8(272 + 16 * index + 7, 0x80 | index);
        view.setUint16(272 + 16 * index + 8, 0x3fff + index, true);
      }
    },
    check: (after) => {
      const found = viewOfArea(after).getBigUint64(144 + 8 * names.length, true);
      assert.equal(found & flagsKept, flags, "flags");
    },
  };
}

const names = "rax rbx rcx rdx rsi rbp r8 r9 r10 r11 r12 r13 r14 r15".split(" ");

function check(before: Uint8Array, after: Uint8Array): void {
  const [wanted, found] = [viewOfArea(before), viewOfArea(after)];
  names.forEach((name, index) => {
    const expected = wanted.getBigUint64(16 + 8 * index, true);
    assert.equal(found.getBigUint64(144 + 8 * index, true), expected, name);
  });
  // XSAVE's own: x87, SSE, the header, and what lies behind. Bytes 464 to 511 are nobody's.
  const first = after.slice(pageLength, 2 * pageLength);
  const second = after.slice(2 * pageLength, 3 * pageLength);
  for (const area of [first, second]) area.fill(0, 464, 512);
  assert.deepEqual(second, first, "extended state");
  assert.equal(first[512]! & 3, 3, "x87 and SSE are in use");
}

/** See above. */
export const registersOfX64: AllRegisters = {
  pageCount: 3,
  levels: [level("SSE", "sse2", 0), level("AVX", "avx", 1), level("AVX-512", "avx512bw", 2)],
  controls: [
    control("the usual control words", 0x1f80, 0x37f, 0n),
    control("other rounding and set flags", 0x7f80, 0xf7f, 0x8d5n),
    control("the direction flag set", 0x3f80, 0x77f, 0x400n),
    control("unmasked exceptions", 0x6000, 0xf40, 0x440n),
    control("flush to zero, all exceptions seen", 0xffbf, 0x27f, 0x1n),
  ],
};
