/**
 * The registers of arm64, as hooks_fixture_aarch64.zig loads and finds them.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { dlopen } from "../mod.ts";
import { hooksPath, pageLength } from "./hooks_support.ts";
import { type AllRegisters, type Control, type Level, viewOfArea } from "./survival_registers.ts";

const places = { fpsr: 8, nzcv: 16, general: 24, vectors: 512, predicates: 8704 } as const;
const generalCount = 31;
const vectorCount = 32;
/** Without the one of first faults. */
const predicateCount = 16;
/** Both parts of the area are this long. */
const partLength = 3 * pageLength;

/** Bytes of an SVE register, 0 without SVE. Asked when needed: x64 has no such function. */
function scalableLength(): number {
  using library = dlopen(hooksPath, { fh_scalable_length: { result: "u32" } });
  return library.symbols.fh_scalable_length();
}

function checkGeneral(before: Uint8Array, after: Uint8Array): void {
  const [wanted, found] = [viewOfArea(before), viewOfArea(after)];
  for (let index = 0; index < generalCount; index++) {
    const at = places.general + 8 * index;
    const expected = wanted.getBigUint64(at, true);
    assert.equal(found.getBigUint64(partLength + at, true), expected, `x${index}`);
  }
}

/** Compares `count` registers of `byteLength` bytes each. */
function checkVectors(
  [before, after]: readonly [Uint8Array, Uint8Array],
  name: string,
  { at, count, byteLength }: { at: number; count: number; byteLength: number },
): void {
  for (let index = 0; index < count; index++) {
    const start = at + index * byteLength;
    const found = after.subarray(partLength + start, partLength + start + byteLength);
    assert.deepEqual(found, before.subarray(start, start + byteLength), `${name}${index}`);
  }
}

const advanced: Level = {
  name: "Advanced SIMD",
  number: 0,
  lacking: () => false,
  check: (before, after) => {
    checkGeneral(before, after);
    const described = { at: places.vectors, count: vectorCount, byteLength: 16 };
    checkVectors([before, after], "v", described);
  },
};

const scalable: Level = {
  name: "SVE",
  number: 1,
  lacking: () => scalableLength() === 0 ? "this processor has no SVE" : false,
  check: (before, after) => {
    checkGeneral(before, after);
    const byteLength = scalableLength();
    const areas = [before, after] as const;
    checkVectors(areas, "z", { at: places.vectors, count: vectorCount, byteLength });
    // The register of first faults is the last.
    const count = predicateCount + 1;
    checkVectors(areas, "p", { at: places.predicates, count, byteLength: byteLength / 8 });
  },
};

function control(name: string, fpcr: bigint, fpsr: bigint, nzcv: bigint): Control {
  return {
    name,
    fill: (area, page) => {
      const view = viewOfArea(area);
      view.setBigUint64(0, fpcr, true);
      view.setBigUint64(places.fpsr, fpsr, true);
      view.setBigUint64(places.nzcv, nzcv, true);
      view.setBigUint64(places.general, page, true);
      view.setUint8(places.general + 8, 7); // Stored by fh_survive.
      // Of the register of first faults, only leading bits may be set.
      const length = scalableLength() / 8;
      const start = places.predicates + predicateCount * length;
      area.fill(0, start, start + length).fill(0xff, start, start + length / 2);
    },
    check: (after) => {
      const found = viewOfArea(after);
      const words = (at: number) => [0, 8, 16].map((word) => found.getBigUint64(at + word, true));
      const [taken] = words(0);
      // What every processor has of it: rounding, flushing to zero, default NaNs.
      assert.equal(taken! & 0x3c0_0000n, fpcr & 0x3c0_0000n, "FPCR as it was set");
      assert.deepEqual(words(partLength), [taken, fpsr, nzcv], "FPCR, FPSR and NZCV");
    },
  };
}

/** See above. */
export const registersOfArm64: AllRegisters = {
  pageCount: 2 * partLength / pageLength,
  levels: [advanced, scalable],
  controls: [
    control("the usual control words", 0n, 0n, 0n),
    control("other rounding and set flags", 0xc0_0000n, 0n, 0xf000_0000n),
    control("default NaNs, a carry", 0x240_0000n, 0x800_0001n, 0x2000_0000n),
    control("unmasked exceptions", 0x80_9f00n, 0x1en, 0x9000_0000n),
    control("flush to zero, all exceptions seen", 0x100_0000n, 0x800_009fn, 0x4000_0000n),
  ],
};
