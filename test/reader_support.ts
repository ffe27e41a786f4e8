/**
 * Outside readers: what other people's tools find in minidumps and in forms. `node test/all.mjs`
 * installs those from PyPI, `node test/report_tools.mjs` those that have to be compiled.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { output } from "./compile_support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const python = join(root, ".build", "readers", "bin", "python");
const stackwalkPath = join(root, ".build", "tools", "bin", "minidump-stackwalk");

/** Options of a test that needs a reader. */
export interface Needs {
  readonly skip: string | false;
}

/** The readers in Python. */
export const needsPython: Needs = {
  skip: existsSync(python) ? false : "test/requirements_reports.txt is not installed",
};

/** minidump-stackwalk from crates.io. */
export const needsStackwalk: Needs = {
  skip: existsSync(stackwalkPath)
    ? false
    : 'minidump-stackwalk is not installed: run "node test/report_tools.mjs"',
};

const otherWriterPath = join(root, ".build", "tools", "bin", "other_writer");

/** The crate minidump-writer, with minidump-stackwalk. */
export const needsOtherWriter: Needs = {
  skip: needsStackwalk.skip || existsSync(otherWriterPath)
    ? needsStackwalk.skip
    : 'the crate minidump-writer is not compiled: run "node test/report_tools.mjs"',
};

/** Writes a dump of a process that waits in a handler, by the crate minidump-writer. */
export function otherWriter(processId: number, note: string, path: string): void {
  output(otherWriterPath, [String(processId), note, path]);
}

/** lldb of the system. */
export const needsLldb: Needs = {
  skip: spawnSync("lldb", ["--version"]).status === 0 ? false : "lldb is not installed",
};

/** What the package `minidump` reads. */
export interface ParsedMinidump {
  readonly architecture: string;
  readonly platform: string;
  readonly processId: number;
  readonly threads: readonly number[];
  readonly exception: {
    readonly threadId: number;
    readonly code: string;
    readonly flags: number;
    readonly address: string;
  };
  readonly modules: readonly { path: string; base: string; byteLength: string }[];
  readonly memory: readonly { address: string; bytes: string }[];
  readonly mappings: readonly { start: string; byteLength: string }[];
  readonly streams: readonly string[];
}

function script(name: string): string {
  return join(root, "test", name);
}

/** Reads a minidump by the package `minidump`. */
export function parseMinidump(path: string): ParsedMinidump {
  return JSON.parse(output(python, [script("read_minidump.py"), path])) as ParsedMinidump;
}

/** What a program in Python prints; it must succeed. */
export function runPython(code: string, ...args: readonly string[]): string {
  return output(python, ["-c", code, ...args]);
}

/** A frame as minidump-stackwalk tells it. */
export interface WalkedFrame {
  readonly module: string | null;
  readonly module_offset: string | null;
  readonly offset: string;
  readonly trust: string;
}

/** What minidump-stackwalk tells. */
export interface Walked {
  readonly crash_info: {
    readonly type: string;
    readonly address: string | null;
    readonly crashing_thread: number | null;
    readonly instruction: string | null;
    readonly memory_accesses?: readonly { readonly access_type?: string }[] | null;
  };
  readonly threads: readonly {
    readonly thread_id: number;
    readonly thread_name: string | null;
    readonly frames: readonly WalkedFrame[];
  }[];
  readonly crashing_thread: {
    readonly frames: readonly (WalkedFrame & { registers?: Record<string, string> })[];
    readonly thread_id: number;
  };
  readonly modules: readonly { filename: string; base_addr: string; debug_id: string }[];
  readonly system_info: {
    readonly os: string;
    readonly os_ver: string | null;
    readonly cpu_arch: string;
    readonly cpu_count: number;
    readonly cpu_info: string | null;
  };
  readonly pid: number | null;
}

/** Walks the stack of a minidump by minidump-stackwalk. */
export function stackwalk(path: string): Walked {
  return JSON.parse(output(stackwalkPath, ["--json", "--no-color", path])) as Walked;
}

/** What lldb prints after `commands` about a minidump. */
export function lldb(path: string, commands: readonly string[]): string {
  const args = commands.flatMap((command) => ["-o", command]);
  return output("lldb", ["--no-lldbinit", "--batch", "-c", path, ...args]);
}

/** A part of a form. */
export interface FormPart {
  readonly name: string;
  readonly filename: string | null;
  readonly type: string | null;
  readonly sha256: string;
  /** Of a field that is no file. */
  readonly text: string | null;
}

/** Reads a form strictly, by the package `multipart`. */
export function parseForm(contentType: string, body: Uint8Array): readonly FormPart[] {
  const result = spawnSync(python, [script("read_form.py"), contentType], { input: body });
  if (result.status !== 0) throw new Error(`The form is refused: ${result.stderr}`);
  return JSON.parse(result.stdout.toString()) as FormPart[];
}
