/**
 * What a crash report costs a process that dies, and how large its files are.
 *
 * Each round starts a child for each candidate, in turn. The child notes the time right before the
 * fault, and its parent when the child has ended; a child that ends itself by SIGKILL, which no
 * handler sees, is the baseline that is taken off within a round.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fixturePath, median, perRound, printTable, runtimeName } from "./measure.ts";

const rounds = 25;
const aim = { handlerMs: 1, dumpKib: 64 } as const;

/** The report's options as source text; null for the baseline. */
const candidates: Readonly<Record<string, string | null>> = {
  "SIGKILL": null,
  "minidump": '{ directory, stderr: false, formats: ["minidump"] }',
  "JSON": '{ directory, stderr: false, formats: ["json"] }',
  "all files": "{ directory, stderr: false }",
};

const folder = mkdtempSync(join(tmpdir(), "faultline-crash-cost-"));
const module = new URL("../mod.ts", import.meta.url).href;
const measure = new URL("measure.ts", import.meta.url).href;

function program(name: string): string {
  const options = candidates[name];
  const symbol = options === null
    ? '{ name: "fx_kill_self", parameters: ["u32"], result: "i32" }'
    : '{ name: "fx_read", parameters: ["u64"], result: "u64" }';
  const file = join(folder, `${name.replaceAll(" ", "_")}.ts`);
  const signature = symbol.replace(/name: "(\w+)", /, "");
  const key = /name: "(\w+)"/.exec(symbol)![1]!;
  writeFileSync(
    file,
    `import { writeSync } from "node:fs";
import process from "node:process";
import { plainLibrary } from ${JSON.stringify(measure)};
import { installCrashReporter } from ${JSON.stringify(module)};

const directory = ${JSON.stringify(join(folder, "reports"))};
${options === null ? "void installCrashReporter;" : `installCrashReporter(${options});`}
const { ${key} } = plainLibrary(${JSON.stringify(fixturePath())}, { ${key}: ${signature} });
writeSync(1, String(performance.timeOrigin + performance.now()));
${key}(${options === null ? "9" : "16n"});
process.exit(3);
`,
  );
  return file;
}

/** Milliseconds from before the fault to the end of the process. */
function death(file: string): number {
  const flags = runtimeName.startsWith("Bun") ? [] : ["run", "--no-check", "--allow-all"];
  const env = { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0" };
  const { signal, stdout, stderr } = spawnSync(process.execPath, [...flags, file], {
    encoding: "utf8",
    env,
    timeout: 60_000,
  });
  const now = performance.timeOrigin + performance.now();
  if (signal !== "SIGKILL" && signal !== "SIGSEGV") throw new Error(`${file}: ${stderr}`);
  return now - Number(stdout);
}

/** The largest file of each kind that a run with all of them leaves, in KiB. */
function sizes(file: string): string {
  rmSync(join(folder, "reports"), { recursive: true, force: true });
  death(file);
  const reports = join(folder, "reports");
  return readdirSync(reports).toSorted()
    .map((name) =>
      `${name.split(".").at(-1)} ${(statSync(join(reports, name)).size / 1024).toFixed(1)} KiB`
    )
    .join(", ");
}

try {
  const names = Object.keys(candidates);
  const files = names.map(program);
  for (const file of files) death(file);
  const samples = files.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    const order = names.map((_, index) => index);
    for (const index of round % 2 === 0 ? order : order.toReversed()) {
      samples[index]!.push(death(files[index]!));
    }
  }
  const rows = names.map((name, index) => {
    const added = perRound((before, after) => after - before, samples[0]!, samples[index]!);
    const least = Math.min(...samples[index]!) - Math.min(...samples[0]!);
    return [name, ...[median(samples[index]!), added, least].map((value) => value.toFixed(1))];
  });
  console.log(`${runtimeName}: milliseconds until the process has ended, ${rounds} rounds\n`);
  printTable(["", "median", "added (median)", "added (minima)"], rows);
  console.log(`\nfiles: ${sizes(files.at(-1)!)}`);
  console.log(`aims: below ${aim.handlerMs} ms in the handler, ${aim.dumpKib} KiB of dump`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
