/**
 * Runs programs of `children_stress/` in a process of their own, since what they do may end it or
 * never end. A child is ended by its own process id and never by name.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

import type { Holdings } from "./children_stress/holdings.ts";
import { runtimePath, timeFactor } from "./platform_support.ts";
import { childArgs } from "./support.ts";

/** How a child ended, and what it said. */
export interface Ended {
  /** The exit code, or 128 + number of the signal that ended it, as a shell reports it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a child is started. */
export interface ChildOptions {
  readonly timeoutMs?: number;
  readonly v8Flags?: readonly string[];
  /** Called once, when the child has printed its first line. */
  readonly ready?: (child: ChildProcess) => void;
}

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Arguments of the runtime's executable that run `file`. */
function runtimeArguments(file: string, v8Flags: readonly string[]): string[] {
  // Bun lets a program collect garbage as it is, V8 by this flag.
  return childArgs(file, ["--allow-all", `--v8-flags=${["--expose-gc", ...v8Flags].join(",")}`]);
}

/** Sends a signal to a child; gives whether it was still there. */
export function send(child: ChildProcess, signal: NodeJS.Signals): boolean {
  try {
    // Not by `child.kill`, which Deno lets send one signal only.
    return process.kill(child.pid!, signal);
  } catch {
    return false;
  }
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0", DO_NOT_TRACK: "1", NO_COLOR: "1" };
}

/**
 * Runs one program of `children_stress/` to its end.
 *
 * @throws {Error} If it ran longer than `timeoutMs`.
 */
export function runChild(
  name: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<Ended> {
  const { v8Flags = [], ready } = options;
  const timeoutMs = (options.timeoutMs ?? 60_000) * timeFactor;
  const file = fileURLToPath(new URL(`./children_stress/${name}.ts`, import.meta.url));
  const child = spawn(runtimePath, [...runtimeArguments(file, v8Flags), ...args], {
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const first = !stdout.includes("\n");
    stdout += text;
    if (first && stdout.includes("\n")) ready?.(child);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
  return new Promise((resolve, reject) => {
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      send(child, "SIGKILL");
    }, timeoutMs);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const output = `stdout:\n${stdout}\nstderr:\n${stderr}`;
      if (timedOut) {
        return reject(
          new Error(`${name} ${args.join(" ")} ran longer than ${timeoutMs} ms\n${output}`),
        );
      }
      const status = signal === null ? code ?? -1 : 128 + (signalNumbers[signal] ?? 0);
      resolve({ status, stdout, stderr });
    });
  });
}

/**
 * Runs a program that is to succeed, and reads what it printed last.
 *
 * @throws {Error} If it did not exit with 0, with all its output.
 */
export async function childResult<T>(
  name: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<T> {
  const { status, stdout, stderr } = await runChild(name, args, options);
  if (status !== 0) {
    throw new Error(
      `${name} ${args.join(" ")} ended with ${status}\nstdout:\n${stdout}\nstderr:\n${stderr}`,
    );
  }
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  return JSON.parse(last) as T;
}

/** What a process held after a while, and at the end. */
export interface Growth {
  readonly before: Holdings;
  readonly after: Holdings;
}

/** The heaps of both runtimes breathe: a few mappings and MiB come and go without a leak. */
const heapMibMax = 8;

/** A pool thread of the runtime may start late; a leak would be one for each of thousands. */
const threadsMax = 2;

/** Bounds that differ from the usual ones. */
export interface Bounds {
  readonly residentMibMax?: number;
  readonly mapsMax?: number;
}

/** Asserts that nothing grew that a leak would make grow. */
export function assertNoGrowth({ before, after }: Growth, bounds: Bounds = {}): void {
  const { residentMibMax = 24, mapsMax = 40 } = bounds;
  const details = `before ${JSON.stringify(before)}, after ${JSON.stringify(after)}`;
  assert.ok(after.residentKib - before.residentKib < residentMibMax * 1024, `memory: ${details}`);
  assert.ok(after.heapKib - before.heapKib < heapMibMax * 1024, `heap: ${details}`);
  assert.ok(after.descriptors - before.descriptors <= threadsMax, `descriptors: ${details}`);
  assert.ok(after.threads - before.threads <= threadsMax, `threads: ${details}`);
  assert.ok(after.maps - before.maps < mapsMax, `mappings: ${details}`);
  assert.equal(after.alternateStacks, before.alternateStacks, `alternate stacks: ${details}`);
}
