/**
 * What the tests share: the fixture libraries, children and Workers, and the runtime's own FFI.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { runtimePath, timeFactor } from "./platform_support.ts";
import { dlopen, type ForeignLibrary, HardwareException } from "../mod.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The path of a fixture library. */
export function fixtureFile(name: string): string {
  return join(process.env.FAULTLINE_BUILD ?? join(root, ".build", "out"), "fixture", name);
}

/** The library that `fixture.zig` makes. */
export const fixturePath: string = fixtureFile("fixture.so");

/** Definitions of what most tests need of it. */
export const fixtureSymbols = {
  fx_echo_i32: { parameters: ["i32"], result: "i32" },
  fx_echo_f64: { parameters: ["f64"], result: "f64" },
  fx_echo_u64: { parameters: ["u64"], result: "u64" },
  fx_read: { parameters: ["address"], result: "u64" },
  fx_write: { parameters: ["address", "u64"] },
  fx_jump: { parameters: ["address"] },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_ud2: {},
  fx_int3: { result: "i32" },
  fx_hlt: {},
  fx_overflow: { parameters: ["u64"], result: "u64" },
  fx_raise: { parameters: ["u32"], result: "i32" },
  fx_kill_self: { parameters: ["u32"], result: "i32" },
  fx_map: { parameters: ["u64", "u32"], result: "address" },
  fx_protect: { parameters: ["address", "u64", "u32"], result: "i32" },
  fx_unmap: { parameters: ["address", "u64"], result: "i32" },
  fx_map_short_file: { parameters: ["u64"], result: "address" },
  fx_signal_mask: { result: "u64" },
  fx_block_and_read: { parameters: ["address"], result: "u64" },
} as const;

/** Opens the fixture with recovery points. */
export function openFixture(): ForeignLibrary<typeof fixtureSymbols> {
  return dlopen(fixturePath, fixtureSymbols);
}

/** The hardware exception that `body` must throw. */
export function exceptionOf(body: () => unknown): HardwareException {
  let value: unknown;
  try {
    value = body();
  } catch (error) {
    if (error instanceof HardwareException) return error;
    throw error;
  }
  assert.fail(`nothing was thrown, and ${String(value)} returned`);
}

/** The runtime that runs the tests. */
export function runtimeName(): "bun" | "deno" {
  return "Bun" in globalThis ? "bun" : "deno";
}

/** Arguments of the runtime's executable that run `file`; `flags` are Deno's, before the file. */
export function childArgs(file: string, flags: readonly string[] = ["--allow-all"]): string[] {
  if (runtimeName() === "bun") return [file];
  return ["run", "--no-check", "--no-prompt", ...flags, file];
}

/** How a child ended. */
export interface ChildResult {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

const childTimeoutMs = 20_000 * timeFactor;

/** Runs a program of `children/` to its end, with a time limit. */
export function runChild(
  name: string,
  args: readonly string[] = [],
  flags?: readonly string[],
): ChildResult {
  const file = fileURLToPath(new URL(`./children/${name}.ts`, import.meta.url));
  const result = spawnSync(runtimePath, [...childArgs(file, flags), ...args], {
    encoding: "utf8",
    env: { ...process.env, BUN_ENABLE_CRASH_REPORTING: "0", NO_COLOR: "1" },
    killSignal: "SIGKILL",
    timeout: childTimeoutMs,
  });
  const { status, signal, stdout, stderr } = result;
  return { status, signal, stdout, stderr };
}

/** Runs one case of a program of `children/`, which must pass. */
export function childPasses(name: string, test: string, ...args: readonly string[]): void {
  const result = runChild(name, [test, ...args]);
  assert.deepEqual(
    { status: result.status, signal: result.signal, stdout: result.stdout },
    { status: 0, signal: null, stdout: "passed\n" },
    `${name} ${test}: ${JSON.stringify(result)}`,
  );
}

/** Runs one case of a program of `children/`, which must die by `signal`. */
export function childDies(signal: string, name: string, ...args: readonly string[]): ChildResult {
  const result = runChild(name, args);
  const said = `${name} ${args.join(" ")}: ${JSON.stringify(result)}`;
  assert.equal(result.stdout, "about to die\n", said);
  assert.equal(result.signal, signal, said);
  return result;
}

/** What a child says before it does what must end it. */
export function aboutToDie(): void {
  console.log("about to die");
}

/** The cases of a program of `children/`, by name. */
export type Cases = Readonly<Record<string, () => void | Promise<void>>>;

/**
 * Runs the case that the first argument names, in a Worker if the second is "worker", and says
 * "passed" when it is over. `url` is the program's own.
 */
export async function runCase(url: string, cases: Cases): Promise<void> {
  if (!isMainThread) {
    await cases[(workerData as { name: string }).name]!();
    parentPort!.postMessage("passed");
    return;
  }
  const [name = "", where = "main"] = process.argv.slice(2);
  if (where === "worker") await runWorker(new URL(url), name);
  else await cases[name]!();
  console.log("passed");
}

/** Runs one case of the program `url` in a Worker. */
export async function runWorker(url: URL, name: string): Promise<void> {
  const worker = new Worker(url, { workerData: { name } });
  const message = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", (code: number) => reject(new Error(`the Worker exited with ${code}`)));
  });
  assert.equal(message, "passed");
  await worker.terminate();
}

/** A function of the runtime's own FFI, without a recovery point. */
export type RawFunction = (...args: unknown[]) => unknown;

/** C types that have one name in both runtimes. */
export interface RawDefinition {
  readonly parameters: readonly ("i32" | "u32" | "u64" | "f64" | "pointer" | "buffer")[];
  readonly result: "void" | "i32" | "u32" | "u64" | "f64" | "pointer";
}

interface Host {
  readonly Deno?: {
    dlopen(path: string, symbols: unknown): { symbols: Record<string, RawFunction> };
    UnsafeCallback: new (
      definition: unknown,
      body: (value: number) => number,
    ) => { readonly pointer: object; close(): void };
  };
  readonly process?: { getBuiltinModule(name: string): unknown };
}
interface BunFfi {
  dlopen(path: string, symbols: unknown): { symbols: Record<string, RawFunction> };
  JSCallback: new (
    body: (value: number) => number,
    definition: unknown,
  ) => { readonly ptr: number; close(): void };
}

function bunFfi(): BunFfi {
  return (globalThis as unknown as Host).process!.getBuiltinModule("bun:ffi") as BunFfi;
}

/** Opens a library through the runtime's own FFI. */
export function rawSymbols(
  path: string,
  definitions: Readonly<Record<string, RawDefinition>>,
): Readonly<Record<string, RawFunction>> {
  if (runtimeName() === "deno") {
    return (globalThis as unknown as Host).Deno!.dlopen(path, definitions).symbols;
  }
  const name = (type: string): string => type === "buffer" || type === "pointer" ? "ptr" : type;
  const symbols = Object.fromEntries(
    Object.entries(definitions).map(([key, { parameters, result }]) => [
      key,
      { args: parameters.map(name), returns: name(result) },
    ]),
  );
  return bunFfi().dlopen(path, symbols).symbols;
}

/** A C function `i32 f(i32)` that runs JavaScript, by the runtime's own means. */
export function rawCallback(
  body: (value: number) => number,
): { readonly pointer: number | object; close(): void } {
  if (runtimeName() === "deno") {
    const { UnsafeCallback } = (globalThis as unknown as Host).Deno!;
    return new UnsafeCallback({ parameters: ["i32"], result: "i32" }, body);
  }
  const callback = new (bunFfi().JSCallback)(body, { args: ["i32"], returns: "i32" });
  return { pointer: callback.ptr, close: () => callback.close() };
}

/** Signal numbers of Linux on x86-64. */
export const numbers = {
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGSYS: 31,
} as const;

/** A signal's disposition as the kernel keeps it: handler, flags, restorer, mask. */
export type Disposition = readonly bigint[];

/** Reads dispositions through the runtime's own FFI, which involves none of our code. */
export function dispositionReader(): (signal: number) => Disposition {
  const { fx_disposition } = rawSymbols(fixturePath, {
    fx_disposition: { parameters: ["u32", "buffer"], result: "i32" },
  });
  return (signal) => {
    const into = new BigUint64Array(4);
    assert.equal(fx_disposition!(signal, into), 0);
    return [...into];
  };
}

/** The dispositions of the signals that the library may handle, by name. */
export function allDispositions(): Readonly<Record<string, Disposition>> {
  const read = dispositionReader();
  const names = ["SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS"] as const;
  return Object.fromEntries(names.map((name) => [name, read(numbers[name])]));
}
