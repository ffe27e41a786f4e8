/**
 * What importing the module adds to a program that does nothing.
 *
 * Each round starts the runtime once for each program, in turn, and times it from outside; the
 * difference is taken within a round. The time of the processor is measured too: on a machine that
 * others use it moves less than that of the clock.
 *
 *     bench/import_cost.ts [MODULE]    another module than ../mod.ts: an installed package's
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { median, perRound, printTable, runtimeName } from "./measure.ts";

const rounds = 25;
const aimMs = 2;

/** Milliseconds of one run. */
interface Sample {
  readonly wall: number;
  readonly processor: number;
}

const module = process.argv[2] === undefined
  ? new URL("../mod.ts", import.meta.url).href
  : pathToFileURL(resolve(process.argv[2])).href;

// The process says what it used; to ask for it is not free, so the clock is for runs without.
const usage = `
const { userCPUTime, systemCPUTime } = globalThis.process.resourceUsage();
console.log((userCPUTime + systemCPUTime) / 1000);
`;
const statements: Readonly<Record<string, string>> = {
  "empty script": "",
  "import": `import "${module}";`,
};

function run(file: string): string {
  const args = runtimeName.startsWith("Bun")
    ? ["run", file]
    : ["run", "--no-check", "--allow-all", file];
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} ended with ${status}: ${stderr}`);
  return stdout;
}

function measure([plain, telling]: readonly [string, string]): Sample {
  const start = performance.now();
  run(plain);
  const wall = performance.now() - start;
  return { wall, processor: Number(run(telling)) };
}

const folder = mkdtempSync(join(tmpdir(), "faultline-import-"));
try {
  const names = Object.keys(statements);
  const files = names.map((name, index) => {
    const [plain, telling] = ["plain", "telling"].map((kind) =>
      join(folder, `${kind}${index}.mjs`)
    ) as [string, string];
    writeFileSync(plain, statements[name]!);
    writeFileSync(telling, `${statements[name]}${usage}`);
    return [plain, telling] as const;
  });
  // The first run fills the runtime's caches.
  for (const file of files) measure(file);
  const samples = files.map((): Sample[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const index of order) samples[index]!.push(measure(files[index]!));
  }
  const of = (index: number, what: keyof Sample): number[] =>
    samples[index]!.map((sample) => sample[what]);
  const row = (title: string, what: keyof Sample): string[] => {
    const added = perRound((before, after) => after - before, of(0, what), of(1, what));
    const least = Math.min(...of(1, what)) - Math.min(...of(0, what));
    const cells = [median(of(0, what)), median(of(1, what)), added, least];
    return [title, ...cells.map((value) => value.toFixed(1))];
  };
  console.log(`${runtimeName}: milliseconds, ${rounds} rounds\n`);
  printTable(["", ...names, "added (median)", "added (minima)"], [
    row("clock", "wall"),
    row("processor", "processor"),
  ]);
  console.log(`\naim: below ${aimMs}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
