/**
 * Children that crash, and what they leave behind.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import type { CrashJob } from "./children/crash.ts";
import { compile, compileProgram } from "./compile_support.ts";
import { emulated, runtimePath, timeFactor } from "./platform_support.ts";
import { childArgs, type ChildResult } from "./support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The library that crashes, with debug information and frame pointers left out. */
export const crashLibrary: string = compile("crash_fixture", "crash_fixture.c", [
  ...[
    "-O1",
    "-fomit-frame-pointer",
    "-fno-optimize-sibling-calls",
    "-lpthread",
    "-Wl,--build-id=sha1",
  ],
]);

const source = readFileSync(join(root, "test", "crash_fixture.c"), "utf8").split("\n");

/** The line on which a function of the library faults. */
export function faultLine(name: string): number {
  const line = source.findIndex((text) => text.includes(`// faults: ${name}`));
  assert.ok(line >= 0, `${name} is not marked`);
  return line + 1;
}

const directories: string[] = [];

after(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** An empty directory, which is removed when the file's tests are over. */
export function freshDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "faultline-crash-"));
  directories.push(directory);
  return directory;
}

/** What runs a child: the program, then its arguments. */
export function crashCommand(job: CrashJob): readonly string[] {
  const file = join(root, "test", "children", "crash.ts");
  return [runtimePath, ...childArgs(file), JSON.stringify(job)];
}

/** How a child is run. */
export interface CrashChildOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** A shell's redirection for it, and what the shell does before. */
  readonly shell?: string;
  readonly before?: string;
  readonly cwd?: string;
  /** A program that runs it. */
  readonly tracer?: readonly string[];
}

/** Runs a child to its end. */
export function crashChild(job: CrashJob, extra: CrashChildOptions = {}): ChildResult {
  const command = [...extra.tracer ?? [], ...crashCommand(job)];
  const { shell, before = "" } = extra;
  const [program, args] = shell === undefined
    ? [command[0]!, command.slice(1)]
    : ["sh", ["-c", `${before} exec "$@" ${shell}`, "sh", ...command]];
  const result = spawnSync(program, args, {
    encoding: "utf8",
    env: { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0", NO_COLOR: "1", ...extra.env },
    killSignal: "SIGKILL",
    timeout: 60_000 + 60_000 * timeFactor,
    ...(extra.cwd === undefined ? {} : { cwd: extra.cwd }),
  });
  const { status, signal, stdout, stderr } = result;
  return { status, signal, stdout, stderr: withoutEmulator(stderr) };
}

/** Leaves out what the emulator says about the signal that it dies of. */
function withoutEmulator(text: string): string {
  return emulated ? text.replace(/^qemu: uncaught target signal \d+ .*\n/m, "") : text;
}

const program = emulated ? null : compileProgram("crash_program", "crash_program.c");

/** How a plain C program ends that calls the same function; under an emulator, how it should. */
export function plainEnd(
  name: string,
  expected: string,
): { status: number | null; signal: string | null } {
  if (program === null) return { status: null, signal: expected };
  const { status, signal } = spawnSync(program, [crashLibrary, name], { timeout: 20_000 });
  return { status, signal };
}

/** A report's files: paths by ending. */
export function reportFiles(directory: string): Readonly<Record<string, string>> {
  const names = readdirSync(directory);
  return Object.fromEntries(
    names.map((name) => [name.slice(name.indexOf(".") + 1), join(directory, name)]),
  );
}

interface JsonFrame {
  readonly address: string;
  readonly module: string | null;
  readonly symbol: string | null;
  readonly file: string | null;
  readonly line: number | null;
  readonly trust: string;
}

/** ID.json, as far as tests look at it. */
export interface JsonReport {
  readonly id: string;
  readonly reason: string;
  readonly signature: string;
  readonly exception: {
    readonly type: string;
    readonly signal: string | null;
    readonly code: string;
    readonly address: string | null;
    readonly instructionPointer: string;
    readonly threadId: number;
    readonly processId: number;
    readonly call: { readonly library: string; readonly symbol: string } | null;
    readonly siginfo: string;
  };
  readonly backtrace: readonly JsonFrame[];
  readonly threads: readonly {
    readonly threadId: number;
    readonly name: string;
    readonly backtrace: readonly JsonFrame[];
  }[];
  readonly threadsSkipped: string | null;
  readonly breadcrumbs: readonly { readonly library: string; readonly symbol: string }[];
  readonly modules: readonly { readonly path: string; readonly buildId: string | null }[];
  readonly stages: readonly { readonly stage: string; readonly reason: string }[];
}

/** Reads the one report of a directory: its JSON, which is one object on one line. */
export function readReport(directory: string): JsonReport {
  const path = reportFiles(directory).json;
  assert.ok(path !== undefined, `no JSON among ${readdirSync(directory)}`);
  const text = readFileSync(path, "utf8");
  assert.equal(text.indexOf("\n"), text.length - 1);
  return JSON.parse(text) as JsonReport;
}
