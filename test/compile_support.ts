/**
 * Compiles C and C++ libraries for tests, and asks other tools about them.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

import { arm64 } from "./platform_support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = join(
  process.env.FAULTLINE_BUILD ?? join(root, ".build", "out"),
  "compiled",
  String(process.pid),
);
const timeout = 300_000;

// GNU's tools are built for the processors of one machine, LLVM's for all.
const prefix = arm64 ? "llvm-" : "";
/** The program that copies parts of ELF files. */
export const objcopyTool: string = `${prefix}objcopy`;
/** The program that `addr2line` asks. */
export const addr2lineTool: string = `${prefix}addr2line`;

/** What a program wrote; it must succeed. */
export function output(command: string, args: readonly string[], input = ""): string {
  const env = { ...process.env, ...zigFolders() };
  const maxBuffer = 64 * 1024 * 1024;
  const result = spawnSync(command, args, { encoding: "utf8", timeout, env, input, maxBuffer });
  assert.equal(result.status, 0, `${command} ${args.join(" ")}: ${JSON.stringify(result)}`);
  return result.stdout;
}

/** Whether a program can be started. */
function exists(command: string): boolean {
  return spawnSync(command, ["--version"], { timeout }).status === 0;
}

/**
 * Options of a test that runs an outside tool. A skip inside the test would count as passed in
 * Deno.
 */
export function needs(tool: string): { skip: string | false } {
  return { skip: exists(tool) ? false : `${tool} is not installed` };
}

/** Zig's compiler traps undefined behaviour unless told otherwise: these faults must be real. */
const own = [
  "-target",
  `${arm64 ? "aarch64" : "x86_64"}-linux-gnu.2.17`,
  "-fno-sanitize=undefined",
  "-Wno-everything",
];

/** Where a guest without a compiler finds what was compiled for it. */
const madeBefore = process.env.FAULTLINE_COMPILED;

/** The path of a file in the folder of what tests compile. */
export function compiledFile(name: string): string {
  mkdirSync(folder, { recursive: true });
  return join(folder, name);
}

/**
 * Compiles `source` of this folder to a library; gives its path. C is compiled by Zig's compiler;
 * so is C++, unless the system has g++ for this processor, whose libstdc++ is a library of its own.
 */
export function compile(name: string, source: string, flags: readonly string[]): string {
  if (madeBefore !== undefined) return join(madeBefore, `${name}.so`);
  const path = compiledFile(`${name}.so`);
  const inputs = ["-shared", "-fPIC", "-g", ...flags, "-o", path, join(root, "test", source)];
  if (source.endsWith(".cpp") && !arm64 && exists("g++")) {
    output("g++", inputs);
    return path;
  }
  const compiler = source.endsWith(".cpp") ? "c++" : "cc";
  const python = join(root, ".venv", "bin", "python");
  output(python, ["-m", "ziglang", compiler, ...own, ...inputs]);
  return path;
}

/** Compiles `source` of this folder to a program; gives its path. */
export function compileProgram(name: string, source: string): string {
  if (madeBefore !== undefined) return join(madeBefore, name);
  const path = compiledFile(name);
  const inputs = ["-g", "-O1", "-o", path, join(root, "test", source), "-ldl"];
  output(join(root, ".venv", "bin", "python"), ["-m", "ziglang", "cc", ...own, ...inputs]);
  return path;
}

function zigFolders(): Record<string, string> {
  return {
    ZIG_GLOBAL_CACHE_DIR: process.env.ZIG_GLOBAL_CACHE_DIR ?? join(root, ".build", "zig_global"),
    ZIG_LOCAL_CACHE_DIR: process.env.ZIG_LOCAL_CACHE_DIR ?? join(root, ".build", "zig_local"),
  };
}

/** A function at an address, as another tool tells. */
export interface ToolFrame {
  readonly symbol: string;
  readonly file: string;
  readonly line: number;
  /** null where the tool does not tell columns. */
  readonly column: number | null;
}

/** What addr2line tells about an address of `path`, innermost first. */
export function addr2line(path: string, address: bigint): readonly ToolFrame[] {
  const args = ["-e", path, "-f", "-i", "-C", `0x${address.toString(16)}`];
  const lines = output(addr2lineTool, args).trim().split("\n");
  return Array.from({ length: lines.length / 2 }, (_, index) => {
    const place = /^(.*):(\d+|\?)(?: \(discriminator \d+\))?$/.exec(lines[2 * index + 1]!)!;
    const symbol = withoutParameters(lines[2 * index]!);
    return { symbol, file: place[1]!, line: Number(place[2]), column: null };
  });
}

/** What llvm-symbolizer tells. */
export function llvmSymbolizer(path: string, address: bigint): readonly ToolFrame[] {
  return llvmSymbolizerAll(path, [address])[0]!;
}

/** What llvm-symbolizer tells about many addresses. */
export function llvmSymbolizerAll(
  path: string,
  addresses: readonly bigint[],
): readonly (readonly ToolFrame[])[] {
  const input = addresses.map((address) => `0x${address.toString(16)}\n`).join("");
  const lines = output("llvm-symbolizer", ["--obj", path, "--output-style=JSON"], input);
  return lines.trim().split("\n").map((line) => {
    const { Symbol: found } = JSON.parse(line) as {
      Symbol: { FunctionName: string; FileName: string; Line: number; Column: number }[];
    };
    return found.map(({ FunctionName, FileName, Line, Column }) => ({
      symbol: withoutParameters(FunctionName),
      file: FileName,
      line: Line,
      column: Column,
    }));
  });
}

/** "a::b<int>(char) const" to "a::b<int>", with the lambdas' and anonymous namespaces' brackets. */
function withoutParameters(name: string): string {
  const kept = name.replaceAll("(anonymous namespace)", "\u0001");
  const cut = kept.includes("lambda") ? kept : kept.replace(/\(.*\)(?: const)?$/, "");
  return cut.replaceAll("\u0001", "(anonymous namespace)").replace(/^[\w ]+ (?=shapes::)/, "");
}
