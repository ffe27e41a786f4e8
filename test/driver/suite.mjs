/** Runs the TypeScript test files, each in a process of its own, under both runtimes. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";

import { buildFolder, root, runtimeEnvironment } from "../setup.mjs";
import { junitCounts } from "./counts.mjs";
import { run, runAll } from "./process.mjs";

/** A handler bug repeats one instruction for ever, so every file has a limit. */
const fileTimeoutMs = 300_000;

/** More would make the timings inside the tests meaningless on a small machine. */
const width = 2;

/** `file` is relative to the root. */
function testCommand(runtime, tools, file, junit) {
  if (runtime === "bun") {
    const reporter = ["--reporter=junit", `--reporter-outfile=${junit}`];
    // Bun ends a test after 5 s by default and Deno never does; here the limit is the file's.
    return [tools.bun, "test", `--timeout=${fileTimeoutMs}`, ...reporter, `./${file}`];
  }
  // Types are checked by a stage of their own, once and not for every file.
  const flags = ["--no-prompt", "--no-remote", "--no-check", "--allow-all"];
  return [tools.deno, "test", ...flags, `--junit-path=${junit}`, file];
}

/** One file under one runtime. A process that died or counted nothing is one failed test. */
async function runFile(report, runtime, tools, file, { name: platform, env, timeoutMs }) {
  const own = platform === undefined ? runtime : `${platform}.${runtime}`;
  const junit = join(buildFolder, "junit", `${basename(file, ".ts")}.${own}.xml`);
  rmSync(junit, { force: true });
  const result = await run(testCommand(runtime, tools, file, junit), {
    cwd: root,
    env: { ...runtimeEnvironment, ...env?.(runtime) },
    timeoutMs: timeoutMs ?? fileTimeoutMs,
  });
  const name = `${file} under ${runtime}${platform === undefined ? "" : ` on ${platform}`}`;
  const output = `${result.stdout}\n${result.stderr}`;
  const counts = existsSync(junit)
    ? junitCounts(readFileSync(junit, "utf8"))
    : { passed: 0, failed: 0, skipped: 0, failures: [] };
  const { failures, ...numbers } = counts;
  report.add(numbers);
  console.log(
    `${name}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`,
  );
  if (counts.failed > 0) {
    report.explain(`${name}: ${failures.join("; ")}`, output);
  } else if (!result.ok) {
    report.fail(`${name}: ${result.reason}`, output);
  } else if (counts.passed + counts.skipped === 0) {
    report.fail(`${name}: no test ran`, output);
  }
}

/**
 * Runs `files` under Bun and Deno.
 *
 * Another platform than this machine's has a name, the `runtimes` that it has, the environment of
 * each (`env(runtime)`: FAULTLINE_BUILD, and FAULTLINE_RUNTIME for children where an emulator runs
 * it), and a time limit of its own for a file. `tools` then has what starts its runtimes.
 */
export async function runSuite(report, tools, files, platform = {}) {
  mkdirSync(join(buildFolder, "junit"), { recursive: true });
  const tasks = files.flatMap((file) =>
    (platform.runtimes ?? ["bun", "deno"]).map((runtime) => () =>
      runFile(report, runtime, tools, file, platform)
    )
  );
  await runAll(tasks, width);
}
