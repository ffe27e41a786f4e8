/**
 * `npm run test:platforms`: what needs a foreign C library, an emulator or another kernel. The last
 * line has the form `1 passed, 0 failed, 0 skipped` and counts everything. What cannot be set up is
 * skipped with the reason.
 *
 *     node test/platforms.mjs                     every stage
 *     node test/platforms.mjs --only=musl         these stages
 *     node test/platforms.mjs --files=catch,tls   the test files whose names contain one of these
 *     node test/platforms.mjs --under="bun on"    the runtimes whose names contain one of these
 *
 * PLATFORMS_MINUTES limits the whole run (40): what has not begun by then is skipped.
 */
import { readdirSync } from "node:fs";

import { buildLibraries } from "./driver/build.mjs";
import { Unavailable } from "./driver/download.mjs";
import { runArm64Kernel, runMemoryFailure } from "./driver/guests.mjs";
import { Report } from "./driver/report.mjs";
import { arm64Runtimes, muslRuntime } from "./driver/runtimes.mjs";
import { runSuite } from "./driver/suite.mjs";
import { ensureNode, ensureZig, main, SetupError } from "./setup.mjs";

const report = new Report();
const minutesDefault = 40;

/** Test files that look at the sources, which are the same for every runtime. */
const sourceTests = ["tidy_test.ts", "types_test.ts"];

function testFiles(parts) {
  return readdirSync(new URL(".", import.meta.url))
    .filter((name) => name.endsWith("_test.ts") && !sourceTests.includes(name))
    .filter((name) => parts.length === 0 || parts.some((part) => name.includes(part)))
    .sort()
    .map((name) => `test/${name}`);
}

/**
 * Runs the suite under what `prepare` sets up, each with its fair part of the time left. Each
 * begins elsewhere in the list, so that all of them together get through most of it in short time.
 */
async function suites(prepare, { files, under, deadline }) {
  const runners = (await prepare())
    .filter(({ name }) => under.length === 0 || under.some((part) => name.includes(part)));
  const all = testFiles(files);
  for (const [index, runner] of runners.entries()) {
    const startMs = Date.now();
    const share = (deadline - startMs) / (runners.length - index);
    const before = { ...report.total };
    const first = Math.floor((all.length * index) / runners.length);
    const rotated = [...all.slice(first), ...all.slice(0, first)];
    await runSuite(report, [runner], rotated, { deadline: startMs + share });
    const [passed, failed, skipped] = ["passed", "failed", "skipped"]
      .map((key) => report.total[key] - before[key]);
    console.log(`${runner.name}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  }
}

const stages = [
  {
    name: "musl",
    title: "The suite under Bun for musl on x64",
    body: (options) => suites(muslRuntime, options),
  },
  {
    name: "memory-failure",
    title: "Failing memory on a kernel of its own (x64, QEMU)",
    body: (options) => runMemoryFailure(report, options),
  },
  {
    name: "arm64-kernel",
    title: "A short suite on a real arm64 kernel (QEMU)",
    // Half of what is left is for the other stage on arm64.
    body: ({ files, deadline }) =>
      runArm64Kernel(report, { files, deadline: (Date.now() + deadline) / 2 }),
  },
  {
    name: "arm64",
    title: "The suite under Bun and Deno for arm64 (QEMU, user mode)",
    body: (options) => suites(arm64Runtimes, options),
  },
];

/** The words of `--name=a,b`. */
function words(name) {
  const prefix = `--${name}=`;
  return process.argv.slice(2).filter((arg) => arg.startsWith(prefix))
    .flatMap((arg) => arg.slice(prefix.length).split(","));
}

async function runStage({ name, title, body }, options) {
  const startMs = performance.now();
  report.begin(title);
  try {
    if (Date.now() >= options.deadline) throw new Unavailable("the time of this run is used up");
    await body(options);
  } catch (error) {
    if (error instanceof Unavailable) report.skip(name, error.message);
    else report.fail(name, String(error?.stack ?? error));
  }
  report.end(performance.now() - startMs);
}

await main(async () => {
  const startMs = Date.now();
  const minutes = Number(process.env.PLATFORMS_MINUTES ?? minutesDefault);
  const only = words("only");
  const unknown = [
    ...process.argv.slice(2).filter((arg) => !/^--(?:only|files|under)=/.test(arg)),
    ...only.filter((word) => !stages.some(({ name }) => name === word)),
  ];
  if (unknown.length > 0 || !(minutes > 0)) {
    console.error(
      unknown.length > 0
        ? `Cannot run the platforms as this argument is unknown: ${unknown.join(" ")}`
        : "Cannot run the platforms as PLATFORMS_MINUTES must be a positive number",
    );
    return 1;
  }
  try {
    await ensureNode();
    await ensureZig();
    report.begin("Native build");
    const buildMs = performance.now();
    report.outcome("zig build", await buildLibraries());
    report.end(performance.now() - buildMs);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    report.fail("setup", error.message);
    return report.finish();
  }
  const options = {
    files: words("files"),
    under: words("under"),
    deadline: startMs + minutes * 60_000,
  };
  for (const stage of stages) {
    if (only.length === 0 || only.includes(stage.name)) await runStage(stage, options);
  }
  return report.finish();
});
