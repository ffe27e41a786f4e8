/**
 * Runs every example of the documentation: fenced blocks in doc comments and in Markdown files, and
 * the files of examples/. A documented line that does not work is a failed test.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { buildFolder, root, runtimeEnvironment } from "../setup.mjs";
import { run, runAll } from "./process.mjs";

const exampleTimeoutMs = 60_000;
const width = 2;

/** Doc comments with their text, markers removed, and the line where each begins. */
function docComments(source) {
  return [...source.matchAll(/\/\*\*[\s\S]*?\*\//g)].map((match) => ({
    line: source.slice(0, match.index).split("\n").length,
    text: match[0].replace(/^\/\*\*/, "").replace(/\*\/$/, "").replaceAll(/^[ \t]*\* ?/gm, ""),
  }));
}

/** Blocks fenced as `ts`; `ignored` when the fence says `ts ignore`. Lines count from `line`. */
function fencedBlocks(text, line) {
  const blocks = [];
  let open = null;
  for (const [index, content] of text.split("\n").entries()) {
    const fence = /^\s*```\s*(.*?)\s*$/.exec(content);
    if (fence === null) {
      open?.lines.push(content);
    } else if (open === null) {
      open = { info: fence[1].split(/\s+/), line: line + index, lines: [] };
    } else {
      const [language, ...words] = open.info;
      if (language === "ts") {
        const ignored = words.includes("ignore");
        blocks.push({ line: open.line, code: open.lines.join("\n"), ignored });
      }
      open = null;
    }
  }
  return blocks;
}

/** The examples of one file, in order. */
export function examplesOf(path, text) {
  const sections = path.endsWith(".md") ? [{ line: 1, text }] : docComments(text);
  return sections.flatMap((section) => fencedBlocks(section.text, section.line))
    .map((block) => ({ name: `${path}:${block.line}`, ...block }));
}

/** An example imports the package by name, as its reader will; here the name is the checkout. */
export function withLocalImports(code) {
  const module = pathToFileURL(join(root, "mod.ts")).href;
  const specifier = /(\bfrom\s*|\bimport\s*\(?\s*)(["'])(?:faultline|(?:\.\.?\/)+mod\.ts)\2/g;
  return code.replaceAll(specifier, (_, before) => `${before}${JSON.stringify(module)}`);
}

/** Writes the examples of the documentation to files, and gives what is to be run. */
function extract(report, documents) {
  const folder = join(buildFolder, "doc_examples");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const programs = [];
  for (const path of documents) {
    for (const example of examplesOf(path, readFileSync(join(root, path), "utf8"))) {
      if (example.ignored) {
        report.skip(example.name, "its fence says that it is not to be run");
        continue;
      }
      const file = join(folder, `${example.name.replaceAll(/[^\w]+/g, "_")}.ts`);
      // The empty export makes every example a module, so that it may await at the top level.
      writeFileSync(file, `${withLocalImports(example.code)}\nexport {};\n`);
      programs.push({ name: example.name, file });
    }
  }
  return programs;
}

/** The package that a program imports and that is not installed; undefined when all are there. */
function missingPackage(file) {
  const imports = readFileSync(file, "utf8").matchAll(/\bfrom "((?:@[\w-]+\/)?[\w-]+)"/g);
  return [...imports].map(([, name]) => name)
    .find((name) => !existsSync(join(root, "node_modules", name)));
}

/** What can be run of the files of examples/. */
function installed(report, programs) {
  return programs.map((name) => ({ name, file: join(root, name) })).filter(({ name, file }) => {
    const missing = missingPackage(file);
    if (missing !== undefined) report.skip(name, `${missing} is not installed`);
    return missing === undefined;
  });
}

/** Whether an example is for this runtime: a name that ends in a runtime's is for no other. */
function isFor(name, runtime) {
  const only = /_(bun|deno)\.ts$/.exec(name)?.[1] ?? runtime;
  return only === runtime;
}

/** Runs the examples of `documents` and the files `programs` under both runtimes. */
export async function runExamples(report, tools, documents, programs) {
  const all = [...extract(report, documents), ...installed(report, programs)];
  const flags = ["--no-prompt", "--no-remote", "--check", "--allow-all"];
  const tasks = all.flatMap(({ name, file }) => [
    ...(isFor(name, "bun")
      ? [{ name: `${name} under bun`, command: [tools.bun, "run", file] }]
      : []),
    ...(isFor(name, "deno")
      ? [{ name: `${name} under deno`, command: [tools.deno, "run", ...flags, file] }]
      : []),
  ]).map(({ name, command }) => async () => {
    const options = { cwd: root, env: runtimeEnvironment, timeoutMs: exampleTimeoutMs };
    report.outcome(name, await run(command, options));
  });
  await runAll(tasks, width);
}
