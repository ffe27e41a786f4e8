/**
 * What the benchmarks share: rounds in which all candidates take turns, medians, a table, and the
 * runtime's own foreign function interface to compare with.
 *
 * Timings on a busy machine drift by more than the differences looked for. Candidates therefore
 * take turns within each round, and ratios and differences are taken within a round, then the
 * median over rounds. Batches are short, so that most of them fit into one time slice of the
 * scheduler.
 */
import process from "node:process";

/** Signature for the runtime's own interface, in Deno's spelling. */
export interface PlainSignature {
  readonly name?: string;
  readonly parameters: readonly string[];
  readonly result: string;
}

// deno-lint-ignore no-explicit-any
export type PlainFunction = (...args: any[]) => any;

interface Bun {
  dlopen(path: string, symbols: object): { symbols: Record<string, PlainFunction> };
}
interface Deno {
  dlopen(path: string, symbols: object): { symbols: Record<string, PlainFunction> };
}
const host = globalThis as unknown as {
  Bun?: { version: string };
  Deno?: Deno & { version: { deno: string } };
  process: { getBuiltinModule(name: string): unknown };
};

/** Name and version of this runtime. */
export const runtimeName: string = host.Bun === undefined
  ? `Deno ${host.Deno?.version.deno}`
  : `Bun ${host.Bun.version}`;

const bunNames: Readonly<Record<string, string>> = { buffer: "ptr", usize: "u64" };

/** Opens a library with the runtime's own `dlopen`, without any recovery. */
export function plainLibrary<const K extends string>(
  path: string,
  signatures: Readonly<Record<K, PlainSignature>>,
): Record<K, PlainFunction> {
  if (host.Bun === undefined) return host.Deno!.dlopen(path, signatures).symbols as never;
  const symbols = Object.entries<PlainSignature>(signatures).map(([key, value]) => {
    if (value.name !== undefined && value.name !== key) throw new Error("Bun renames nothing");
    const args = value.parameters.map((type) => bunNames[type] ?? type);
    return [key, { args, returns: bunNames[value.result] ?? value.result }];
  });
  const { dlopen } = host.process.getBuiltinModule("bun:ffi") as Bun;
  return dlopen(path, Object.fromEntries(symbols)).symbols as never;
}

/** Where `npm test` and `zig build` put what they build. */
export function fixturePath(name: string = "fixture"): string {
  const folder = process.env["FAULTLINE_BUILD"] ??
    new URL("../.build/out", import.meta.url).pathname;
  return `${folder}/fixture/${name}.so`;
}

let serial = 0;

/**
 * A function of its own, with source text of its own, so that no two candidates share a call site.
 *
 * @param body Source that may use `count` and the names in `values`.
 */
export function loop(
  values: Readonly<Record<string, unknown>>,
  body: string,
): (count: number) => number {
  const names = Object.keys(values);
  const source = `"use strict"; // ${serial++}\nreturn function (count) {\n${body}\n};`;
  return new Function(...names, source)(...Object.values(values)) as (count: number) => number;
}

/** Nanoseconds per operation of one call of `run`. */
export function time(run: (count: number) => unknown, count: number): number {
  const start = performance.now();
  run(count);
  return (performance.now() - start) * 1e6 / count;
}

/** The middle of the values. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const warmBatches = 25;

/**
 * Measures all candidates in every round, in alternating order.
 *
 * @param candidates Each runs one batch and gives the nanoseconds per operation.
 * @returns One value a round for each candidate.
 */
export function interleave<K extends string>(
  candidates: Readonly<Record<K, () => number>>,
  rounds: number,
): Record<K, number[]> {
  const names = Object.keys(candidates) as K[];
  const samples = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<
    K,
    number[]
  >;
  for (const name of names) for (let warm = 0; warm < warmBatches; warm++) candidates[name]();
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? names : names.toReversed();
    for (const name of order) samples[name].push(candidates[name]());
  }
  return samples;
}

/** The median over rounds of `combine` applied to the samples of one round. */
export function perRound(
  combine: (...values: number[]) => number,
  ...samples: readonly number[][]
): number {
  return median(samples[0]!.map((_, round) => combine(...samples.map((one) => one[round]!))));
}

/** Prints rows under headings, numbers to the right. */
export function printTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  for (const row of all) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)
    );
    console.log(cells.join("  "));
  }
}

/** A number of nanoseconds as text. */
export function nanoseconds(value: number): string {
  return value < 100 ? value.toFixed(2) : value.toFixed(0);
}
