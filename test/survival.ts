/**
 * A kernel that has something in every register when it faults, and looks at them afterwards.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { addHook, protect, readMemory, writeMemory } from "../mod.ts";
import { collectGarbage } from "./children_stress/holdings.ts";
import { mending, openHooks, pageLength, pages } from "./hooks_support.ts";
import { arm64 } from "./platform_support.ts";
import { registersOfArm64 } from "./survival_arm64.ts";
import type { AllRegisters, Control, Level } from "./survival_registers.ts";
import { registersOfX64 } from "./survival_x64.ts";

const machine: AllRegisters = arm64 ? registersOfArm64 : registersOfX64;

/** The sets of registers that the kernel knows. */
export const levels: readonly Level[] = machine.levels;

/** Control words and flags. */
export const controls: readonly Control[] = machine.controls;

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
export function survive(level: Level, control: Control, rounds: number): void {
  const { pageCount } = machine;
  const area = pages(pageCount, "rw-");
  const page = pages(1);
  const range = { address: page, byteLength: pageLength };
  const before = new Uint8Array(pageCount * pageLength);
  for (let index = 0; index < before.length; index++) before[index] = (index * 167 + 13) & 255;
  control.fill(before, page);
  let worked = 0;
  using hook = mending({ range });
  using passing = addHook({ signals: ["SIGSEGV"] }, () => {
    worked += work();
    return "next";
  });
  for (let round = 1; round <= rounds; round++) {
    writeMemory(area, before);
    protect(range, "r--");
    symbols.fh_survive(page, area, level.number);
    assert.deepEqual([hook.hook.hits, passing.hits], [round, round]);
    const after = new Uint8Array(before.length);
    readMemory(area, after);
    level.check(before, after);
    control.check(after);
    const written = new Uint8Array(1);
    readMemory(page, written);
    assert.equal(written[0], 7);
  }
  assert.ok(worked > 0);
}
