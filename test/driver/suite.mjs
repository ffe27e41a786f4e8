/** Runs the TypeScript test files, each in a process of its own, under any number of runtimes. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

import { buildFolder, root, runtimeEnvironment } from "../setup.mjs";
import { junitCounts } from "./counts.mjs";
import { countsText } from "./report.mjs";
import { run, runAll } from "./process.mjs";

/** A handler bug repeats one instruction for ever, so every file has a limit. */
const fileTimeoutMs = 300_000;

/** More would make the timings inside the tests meaningless on a small machine. */
const width = 2;

/**
 * What runs test files: `name` as it is printed, `runtime` ("bun" or "deno"), `command` that starts
 * it, and optionally `env`, `timeoutMs` of a file, and `skipOf`, why a file of that name does not
 * run.
 */
export function nativeRunners(tools) {
  return [
    { name: "bun", runtime: "bun", command: [tools.bun] },
    { name: "deno", runtime: "deno", command: [tools.deno] },
  ];
}

/** `file` is relative to the root. */
export function testArguments(runtime, file, junit, timeoutMs = fileTimeoutMs) {
  if (runtime === "bun") {
    const reporter = ["--reporter=junit", `--reporter-outfile=${junit}`];
    // Bun ends a test after 5 s by default and Deno never does; here the limit is the file's.
    return ["test", `--timeout=${timeoutMs}`, ...reporter, `./${file}`];
  }
  // Types are checked by a stage of their own, once and not for every file.
  const flags = ["--no-prompt", "--no-remote", "--no-check", "--allow-all"];
  return ["test", ...flags, `--junit-path=${junit}`, file];
}

/** Counts one file by its JUnit text. A process that died or counted nothing is one failed test. */
export function reportFile(report, name, junit, { ok, reason, output, elapsedMs }) {
  const { failures, ...counts } = junitCounts(junit);
  report.add(counts);
  const seconds = elapsedMs === undefined ? "" : ` (${(elapsedMs / 1000).toFixed(1)} s)`;
  console.log(`${name}: ${countsText(counts)}${seconds}`);
  if (counts.failed > 0) {
    report.explain(`${name}: ${failures.join("; ")}`, output);
  } else if (!ok) {
    report.fail(`${name}: ${reason}`, output);
  } else if (counts.passed + counts.skipped === 0) {
    report.fail(`${name}: no test ran`, output);
  }
}

/** One file under one runtime. */
async function runFile(report, runner, file, deadline) {
  const name = `${file} under ${runner.name}`;
  const leftMs = deadline - Date.now();
  const skip = leftMs <= 0 ? "the time of this run is used up" : runner.skipOf?.(basename(file));
  if (skip !== undefined) return report.skip(name, skip);

  const folder = join(buildFolder, "junit");
  const stem = `${basename(file, ".ts")}.${runner.name.replaceAll(/\W+/g, "_")}`;
  const junit = join(folder, `${stem}.xml`);
  rmSync(junit, { force: true });
  const timeoutMs = runner.timeoutMs ?? fileTimeoutMs;
  const command = [...runner.command, ...testArguments(runner.runtime, file, junit, timeoutMs)];
  const startMs = performance.now();
  const result = await run(command, {
    cwd: root,
    env: { ...runtimeEnvironment, ...runner.env },
    timeoutMs: Math.min(timeoutMs, leftMs),
  });
  const text = existsSync(junit) ? readFileSync(junit, "utf8") : "";
  if (result.timedOut && leftMs <= timeoutMs) {
    return report.skip(name, "the time of this run was used up before it ended");
  }
  const { ok, reason, stdout, stderr } = result;
  const elapsedMs = performance.now() - startMs;
  reportFile(report, name, text, { ok, reason, output: `${stdout}\n${stderr}`, elapsedMs });
}

/** Runs `files` under all of `runners`; what has not begun at `deadline` (epoch ms) is skipped. */
export async function runSuite(report, runners, files, { deadline = Infinity } = {}) {
  mkdirSync(join(buildFolder, "junit"), { recursive: true });
  const tasks = files.flatMap((file) =>
    runners.map((runner) => () => runFile(report, runner, file, deadline))
  );
  await runAll(tasks, width);
}
