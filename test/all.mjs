/**
 * `npm test`: the whole gate, the same by hand and in CI. The last line has the form
 * `1 passed, 0 failed, 0 skipped` and counts everything.
 *
 *     node test/all.mjs                     every stage
 *     node test/all.mjs --only=build,abi    these stages
 *     node test/all.mjs --only=tidy         the test files whose names contain this
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import {
  buildElsewhere,
  buildLibraries,
  difference,
  nativeFolder,
  outFolder,
  platformFiles,
  printAbi,
  zigBuild,
} from "./driver/build.mjs";
import { zigCounts } from "./driver/counts.mjs";
import { runExamples } from "./driver/examples.mjs";
import { runPackage } from "./driver/package.mjs";
import { run } from "./driver/process.mjs";
import { Report } from "./driver/report.mjs";
import { nativeRunners, runSuite } from "./driver/suite.mjs";
import {
  ensureNode,
  ensureReaders,
  ensureZig,
  main,
  paths,
  root,
  runtimeEnvironment,
  SetupError,
  zigEnvironment,
} from "./setup.mjs";

const report = new Report();
const updateHint = 'run "npm run build" and commit what it changes';

/** Files below `folder` whose names end in `suffix`, relative to the root and sorted. */
function filesBelow(folder, suffix) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return filesBelow(path, suffix);
    return entry.name.endsWith(suffix) ? [path] : [];
  }).sort();
}

const typescriptFiles = () => [
  ...(existsSync(join(root, "mod.ts")) ? ["mod.ts"] : []),
  ...["lib", "test", "bench", "examples"].flatMap((folder) => filesBelow(folder, ".ts")),
];

/** Runs a tool as one test. */
async function check(name, command) {
  const env = { ...zigEnvironment, ...runtimeEnvironment };
  report.outcome(name, await run(command, { cwd: root, env }));
}

async function format(tools) {
  await check("deno fmt", [tools.deno, "fmt", "--check"]);
  await check("zig fmt", [...tools.zig, "fmt", "--check", "zig", ...filesBelow("test", ".zig")]);
}

async function lint(tools) {
  await check("deno lint", [tools.deno, "lint"]);
}

async function types(tools) {
  await check("tsc", [...tools.tsc, "--project", "tsconfig.json"]);
  await check("deno check", [tools.deno, "check", "--no-remote", ...typescriptFiles()]);
}

async function build() {
  report.outcome("zig build", await buildLibraries());
}

/** The committed libraries are what the sources build to, and nothing else is committed. */
function bytes() {
  const files = new Set([...platformFiles(outFolder), ...platformFiles(nativeFolder)]);
  if (files.size === 0) report.fail("lib/native", "There is no library to compare");
  for (const file of files) {
    const found = difference(join(outFolder, file), join(nativeFolder, file));
    if (found === null) report.pass();
    else report.fail(`lib/native/${file}`, `${found}: ${updateHint}`);
  }
}

async function abi() {
  const printed = await printAbi();
  if (!printed.ok) return report.outcome("zig build abi", printed);
  const path = join(root, "lib", "abi.ts");
  const committed = existsSync(path) ? readFileSync(path, "utf8") : "";
  if (printed.stdout === committed) report.pass();
  else report.fail("lib/abi.ts", `It differs from what zig/abi.zig generates: ${updateHint}`);
}

async function zigTests() {
  const result = await zigBuild(["test", "--summary", "all"]);
  const output = `${result.stdout}\n${result.stderr}`;
  const counts = zigCounts(output);
  if (counts === null) return report.fail(`zig build test: ${result.reason}`, output);
  report.add(counts);
  if (counts.failed > 0) report.explain("zig build test", output);
  else if (!result.ok) report.fail(`zig build test: ${result.reason}`, output);
}

async function suite(tools, filter) {
  const missing = await ensureReaders();
  if (missing !== null) console.log(`Crash reports are not read by others: ${missing}`);
  const files = filesBelow("test", "_test.ts");
  const chosen = files.filter((file) => filter === null || filter(file));
  await runSuite(report, nativeRunners(tools), chosen);
}

async function examples(tools) {
  const markdown = ["README.md"].filter((path) => existsSync(join(root, path)));
  const documents = [
    ...typescriptFiles().filter((path) => path === "mod.ts" || path.startsWith("lib/")),
    ...markdown,
    ...filesBelow("docs", ".md"),
  ];
  await runExamples(report, tools, documents, filesBelow("examples", ".ts"));
}

/** Two builds in different folders are identical to the byte. */
async function reproducibility() {
  await buildElsewhere((result, folder) => {
    if (!result.ok) return report.outcome("second zig build", result);
    for (const file of platformFiles(folder)) {
      const found = difference(join(outFolder, file), join(folder, file));
      if (found === null) report.pass();
      else report.fail(`second build of ${file}`, found);
    }
  });
}

/** `needsBuild`: uses what the stage `build` makes. */
const stages = [
  { name: "format", title: "Format", body: format },
  { name: "lint", title: "Lint", body: lint },
  { name: "types", title: "Types", body: types },
  { name: "build", title: "Native build", body: build },
  { name: "bytes", title: "Committed libraries", body: bytes, needsBuild: true },
  { name: "abi", title: "Generated lib/abi.ts", body: abi },
  { name: "zig", title: "Zig unit tests", body: zigTests },
  { name: "suite", title: "TypeScript suite under Bun and Deno", body: suite, needsBuild: true },
  { name: "examples", title: "Documentation examples", body: examples, needsBuild: true },
  { name: "package", title: "Package", body: (tools) => runPackage(report, tools) },
  {
    name: "reproducibility",
    title: "Two builds are identical",
    body: reproducibility,
    needsBuild: true,
  },
];

/** What `--only=a,b` asks for: stages by name, and test files by a part of theirs. */
function selection(args) {
  const words = args.filter((arg) => arg.startsWith("--only="))
    .flatMap((arg) => arg.slice("--only=".length).split(","));
  if (words.length === 0) return { chosen: stages, filter: null };
  const parts = words.filter((word) => !stages.some(({ name }) => name === word));
  const wanted = new Set(words);
  if (parts.length > 0) wanted.add("suite");
  const chosen = stages.filter(({ name }) => wanted.has(name));
  if (chosen.some(({ needsBuild }) => needsBuild) && !wanted.has("build")) {
    chosen.unshift(stages.find(({ name }) => name === "build"));
  }
  const all = parts.length === 0;
  return { chosen, filter: all ? null : (file) => parts.some((part) => file.includes(part)) };
}

/** Where the tools are; null, with a failure counted, when they cannot be had. */
async function setUp() {
  try {
    await ensureNode();
    await ensureZig();
    return paths();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    report.fail("setup", error.message);
    return null;
  }
}

await main(async () => {
  const unknown = process.argv.slice(2).filter((arg) => !arg.startsWith("--only="));
  if (unknown.length > 0) {
    console.error(`Cannot run the tests as this argument is unknown: ${unknown.join(" ")}`);
    return 1;
  }
  const { chosen, filter } = selection(process.argv.slice(2));
  const tools = await setUp();
  // Without the tools there is nothing to run, but the last line still says so.
  for (const { title, body } of tools === null ? [] : chosen) {
    const startMs = performance.now();
    report.begin(title);
    try {
      await body(tools, filter);
    } catch (error) {
      report.fail(title, String(error?.stack ?? error));
    }
    report.end(performance.now() - startMs);
  }
  return report.finish();
});
