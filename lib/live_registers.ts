/**
 * The registers that a hook may write: read from the exception's bytes, compared and written back.
 *
 * Objects are made and compared by generated code with every name written out: by a loop over names
 * it costs more than the exception itself. Where code may not be generated, the loop does it.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import type { Registers } from "./exception_info.ts";
import { portableNames, registerOffsets } from "./machine.ts";

const start = Math.min(...Object.values(registerOffsets));

/** How many registers there are. */
export const registerCount: number = Object.keys(registerOffsets).length;

/** Where in a machine context the registers begin, in bytes. */
export const registersStart: number = start;

/** Every name, and the index of its word: portable names first. */
const names: readonly (readonly [string, number])[] = [
  ...Object.entries(portableNames).map(([name, machine]) => [name, indexOf(machine)] as const),
  ...Object.keys(registerOffsets).map((name) => [name, indexOf(name)] as const),
];

function indexOf(name: string): number {
  return (registerOffsets[name]! - start) / 8;
}

function compile<T>(source: string, plain: T): T {
  try {
    return new Function(`"use strict"; return ${source};`)() as T;
  } catch (error) {
    if (!(error instanceof EvalError)) throw error;
    return plain;
  }
}

type Read = (view: DataView, offset: number) => Registers;
type Copy = (registers: Registers) => Registers;
/** Calls `report` for each name whose value differs. */
type Compare = (
  registers: Registers,
  before: Registers,
  report: (name: string, at: number, value: unknown) => void,
) => void;

/** The registers at `offset`, where a machine context has them, under all their names. */
export const readRegisters: Read = compile<Read>(
  `function (v, o) { return { ${
    names.map(([name, at]) => `${name}: v.getBigUint64(o + ${8 * at}, true)`).join(", ")
  } }; }`,
  (view, offset) =>
    Object.fromEntries(
      names.map(([name, at]) => [name, view.getBigUint64(offset + 8 * at, true)]),
    ) as never,
);

/** A copy, to be changed. */
export const copyRegisters: Copy = compile<Copy>(
  `function (r) { return { ${names.map(([name]) => `${name}: r.${name}`).join(", ")} }; }`,
  (registers) => ({ ...registers }),
);

const compare: Compare = compile<Compare>(
  `function (a, b, report) { ${
    names.map(([name, at]) => `if (a.${name} !== b.${name}) report("${name}", ${at}, a.${name});`)
      .join(" ")
  } }`,
  (registers, before, report) => {
    for (const [name, at] of names) {
      if (registers[name] !== before[name]) report(name, at, registers[name]);
    }
  },
);

function wordOf(name: string, value: unknown): bigint {
  if (typeof value === "bigint") return BigInt.asUintN(64, value);
  throw new TypeError(
    `Cannot go on with ${describeValue(value)} in the register ${name}: registers are bigints`,
  );
}

/**
 * What differs between `registers` and `before`, by the index of the register's word. A register
 * has a portable and a machine name: the one that was changed counts.
 *
 * @returns null when nothing was changed.
 * @throws {TypeError} If a value is no bigint, or both names were changed differently.
 */
export function changedRegisters(
  registers: Registers,
  before: Registers,
): ReadonlyMap<number, bigint> | null {
  let changed: Map<number, bigint> | null = null;
  compare(registers, before, (name, at, value) => {
    changed ??= new Map();
    const word = wordOf(name, value);
    const other = changed.get(at);
    if (other !== undefined && other !== word) {
      throw new TypeError(
        `Cannot go on with two values for the register ${name}, one by its portable name`,
      );
    }
    changed.set(at, word);
  });
  return changed;
}
