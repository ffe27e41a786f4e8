/**
 * Finds out what `faultline doctor` reports.
 *
 * @module
 */
import { getSystemErrorName } from "node:util";
import { abiHash, machineFactsLayout, version } from "../abi.ts";
import { capabilities } from "../capabilities.ts";
import { type Status, status } from "../handlers.ts";
import { checkStatus, native, runtime } from "../native.ts";
import type { LibraryOrigin } from "../native_library.ts";
import { type Execution, executionOf } from "../platforms.ts";
import type { PermissionName } from "../runtime/types.ts";
import { symbolsProblem } from "../symbols.ts";
import { selfTestInChild, type SelfTestOutcome } from "./self_test_child.ts";

/** Whether something works; else why not. */
export interface Attempt {
  readonly works: boolean;
  /** The name of the system's error; null when it works. */
  readonly reason: string | null;
}

/** What the kernel says; null where the native library cannot be asked. */
export interface MachineFacts {
  readonly kernel: string;
  /** null under another libc than glibc. */
  readonly glibc: string | null;
  readonly ptrace: { readonly scope: number | null; readonly tracer: number | null };
  readonly perf: { readonly paranoid: number | null; readonly breakpoint: Attempt };
  readonly userfaultfd: { readonly full: Attempt; readonly userModeOnly: Attempt };
  readonly memoryFile: Attempt;
}

/** Everything that was found. Addresses are bigints. */
export interface Diagnosis {
  readonly version: string;
  readonly runtime: { readonly name: string; readonly version: string };
  readonly platform: {
    readonly name: string;
    /** How the tests of this project ran on this platform, runtime and libc; null: never. */
    readonly tested: Execution["how"] | null;
  };
  readonly library:
    | {
      readonly path: string;
      readonly origin: LibraryOrigin;
      readonly abiHash: bigint;
      /** Why functions and lines cannot be named; null when they can. */
      readonly symbolsProblem: string | null;
    }
    | { readonly problem: string };
  readonly machine: MachineFacts | null;
  readonly signals: Status["signals"] | null;
  readonly alternateStack: Status["alternateStack"];
  /** By name; null in a runtime without permissions. */
  readonly permissions: Readonly<Record<PermissionName, boolean>> | null;
  readonly capabilities: typeof capabilities;
  /** null when it was not to be made; the reason when it could not be. */
  readonly selfTest: readonly SelfTestOutcome[] | { readonly problem: string } | null;
  /** What stands in the way of catching exceptions, a sentence each. */
  readonly problems: readonly string[];
}

const permissionNames: readonly PermissionName[] = ["ffi", "read", "write", "run", "env", "sys"];
const unknownParanoia = -100;

function attempt(result: number): Attempt {
  return result === 0
    ? { works: true, reason: null }
    : { works: false, reason: getSystemErrorName(result) };
}

const decoder = new TextDecoder();

function readFacts(): MachineFacts {
  const bytes = new Uint8Array(machineFactsLayout.byteLength);
  checkStatus(
    native().functions.fl_machine_facts!(bytes, bytes.byteLength) as number,
    "Cannot ask the system what it allows",
  );
  const view = new DataView(bytes.buffer);
  const number = (
    name:
      | "ptrace_scope"
      | "perf_event_paranoid"
      | "perf_breakpoint"
      | "userfaultfd"
      | "userfaultfd_user_mode"
      | "memory_file",
  ): number => view.getInt32(machineFactsLayout[name].offset, true);
  const text = (name: "kernel_release" | "glibc_version"): string => {
    const { offset, byteLength } = machineFactsLayout[name];
    const field = bytes.subarray(offset, offset + byteLength);
    return decoder.decode(field.subarray(0, field.indexOf(0)));
  };
  const scope = number("ptrace_scope");
  const paranoid = number("perf_event_paranoid");
  const tracer = view.getUint32(machineFactsLayout.tracer.offset, true);
  return {
    kernel: text("kernel_release"),
    glibc: text("glibc_version") || null,
    ptrace: { scope: scope < 0 ? null : scope, tracer: tracer === 0 ? null : tracer },
    perf: {
      paranoid: paranoid === unknownParanoia ? null : paranoid,
      breakpoint: attempt(number("perf_breakpoint")),
    },
    userfaultfd: {
      full: attempt(number("userfaultfd")),
      userModeOnly: attempt(number("userfaultfd_user_mode")),
    },
    memoryFile: attempt(number("memory_file")),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The library, opened; or why it cannot be. */
function openLibrary(): Diagnosis["library"] {
  try {
    const { path, origin } = native();
    return { path, origin, abiHash, symbolsProblem: symbolsProblem() };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

function readPermissions(): Diagnosis["permissions"] {
  const { permission } = runtime();
  const entries = permissionNames.map((name) => [name, permission(name)] as const);
  if (entries.some(([, granted]) => granted === null)) return null;
  return Object.fromEntries(entries) as Record<PermissionName, boolean>;
}

function runSelfTest(program: string): Exclude<Diagnosis["selfTest"], null> {
  try {
    return selfTestInChild(program);
  } catch (error) {
    if (!runtime().isPermissionError(error)) return { problem: messageOf(error) };
    return { problem: "run the doctor with --allow-run and --allow-env too" };
  }
}

function problemsOf(
  library: Diagnosis["library"],
  signals: Diagnosis["signals"],
  selfTest: Diagnosis["selfTest"],
): string[] {
  const problems: string[] = [];
  if ("problem" in library) problems.push(library.problem);
  for (const [name, { owner }] of Object.entries(signals ?? {})) {
    if (owner !== "other") continue;
    problems.push(`${name} has a handler that neither the runtime nor Faultline installed`);
  }
  if (Array.isArray(selfTest)) {
    for (const { kind, passed, what } of selfTest as readonly SelfTestOutcome[]) {
      if (!passed) problems.push(`The self-test ${kind} failed: ${what}`);
    }
  }
  return problems;
}

/**
 * Finds out everything.
 *
 * @param program The URL of the command's module, for the self-test; null leaves it out.
 * @throws {Error} In a runtime that is not supported.
 */
export function diagnose(program: string | null): Diagnosis {
  const { name, title, platform, version: runtimeVersion } = runtime();
  const library = openLibrary();
  const opened = !("problem" in library);
  const machine = opened ? readFacts() : null;
  const now = opened ? status() : null;
  const libc = machine === null || machine.glibc !== null ? "glibc" : "musl";
  const selfTest = program === null || !opened ? null : runSelfTest(program);
  const signals = now?.signals ?? null;
  return {
    version,
    runtime: { name: title, version: runtimeVersion },
    platform: { name: platform, tested: executionOf(platform, name, libc) },
    library,
    machine,
    signals,
    alternateStack: now?.alternateStack ?? null,
    permissions: readPermissions(),
    capabilities,
    selfTest,
    problems: problemsOf(library, signals, selfTest),
  };
}
