/**
 * Signatures at random, and the C library whose functions have them: each notes its arguments as
 * 64-bit words, faults if it is told to, and gives the result that it was told to give.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { NativeType } from "../mod.ts";

/** A number from 0 up to, not including, `limit`. */
export type Random = (limit: number) => number;

/** The same numbers for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

/** Types of parameters, with what C calls them. */
export const cTypes = {
  bool: "_Bool",
  i8: "int8_t",
  u8: "uint8_t",
  i16: "int16_t",
  u16: "uint16_t",
  i32: "int32_t",
  u32: "uint32_t",
  i64: "int64_t",
  u64: "uint64_t",
  isize: "intptr_t",
  usize: "uintptr_t",
  f32: "float",
  f64: "double",
  pointer: "void *",
  buffer: "const void *",
  address: "uintptr_t",
} as const;

/** A type that a parameter can have here. */
export type Parameter = keyof typeof cTypes;

/** One function of the library. */
export interface Signature {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly result: NativeType;
}

const parametersMax = 24;
const names = Object.keys(cTypes) as Parameter[];

/** Signatures at random; the first ones make sure of every type as a result. */
export function generateSignatures(random: Random, count: number): Signature[] {
  const results: NativeType[] = ["void", ...names];
  return Array.from({ length: count }, (_, index) => {
    const length = index < results.length ? index : random(parametersMax + 1);
    const narrow = random(4) === 0 ? names.slice(random(names.length - 3)) : names;
    return {
      name: `sg_${index}`,
      parameters: Array.from({ length }, () => narrow[random(narrow.length)]!),
      result: results[index] ?? results[random(results.length)]!,
    };
  });
}

function noteSource(type: Parameter, index: number): string {
  switch (type) {
    case "f32":
    case "f64":
      return `__builtin_memcpy(&seen[${index}], &a${index}, sizeof a${index});`;
    case "i8":
    case "i16":
    case "i32":
    case "i64":
    case "isize":
      return `seen[${index}] = (uint64_t)(int64_t)a${index};`;
    default:
      return `seen[${index}] = (uint64_t)a${index};`;
  }
}

function resultSource(type: NativeType): string {
  if (type === "void") return "";
  const ctype = cTypes[type as Parameter];
  if (type !== "f32" && type !== "f64") return `return (${ctype})wanted;`;
  return `${ctype} result; __builtin_memcpy(&result, &wanted, sizeof result); return result;`;
}

function functionSource({ name, parameters, result }: Signature): string {
  const list = parameters.map((type, index) => `${cTypes[type]} a${index}`).join(", ");
  return [
    `${result === "void" ? "void" : cTypes[result as Parameter]} ${name}(${list || "void"}) {`,
    `  for (int i = 0; i < ${parametersMax}; i++) seen[i] = 0;`,
    ...parameters.map((type, index) => `  ${noteSource(type, index)}`),
    "  if (faulty) (void)*nowhere;",
    `  ${resultSource(result)}`,
    "}",
  ].join("\n");
}

/** The library in C. Nothing in it needs libc. */
export function librarySource(signatures: readonly Signature[]): string {
  return `#include <stdint.h>
static volatile uint64_t seen[${parametersMax}];
static volatile int faulty;
static uint64_t wanted;
static volatile int *volatile nowhere;
void sg_prepare(uint64_t result, uint32_t fault) { wanted = result; faulty = fault; }
void sg_seen(uint64_t *into) { for (int i = 0; i < ${parametersMax}; i++) into[i] = seen[i]; }
${signatures.map(functionSource).join("\n")}
`.replaceAll("__builtin_memcpy(&seen", "__builtin_memcpy((void *)&seen");
}

const root = fileURLToPath(new URL("..", import.meta.url));

/** Why the library cannot be built; false if it can. */
export function compilerMissing(): string | false {
  if (existsSync(join(root, ".venv", "bin", "python"))) return false;
  return "Zig's C compiler is not installed: run npm test once";
}

/** Builds the library of these signatures; where it is. */
export function buildLibrary(signatures: readonly Signature[]): string {
  const folder = join(root, ".build", "signatures");
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `signatures_${process.pid}`);
  writeFileSync(`${path}.c`, librarySource(signatures));
  const python = join(root, ".venv", "bin", "python");
  const target = ["-target", "x86_64-linux-none", "-nostdlib", "-ffreestanding"];
  const options = ["-shared", "-fPIC", "-O1", "-fno-sanitize=all", "-Wno-everything"];
  const args = ["-m", "ziglang", "cc", ...target, ...options, "-o", `${path}.so`, `${path}.c`];
  const caches = {
    ZIG_GLOBAL_CACHE_DIR: join(root, ".build", "zig_global"),
    ZIG_LOCAL_CACHE_DIR: join(root, ".build", "zig_local"),
  };
  const result = spawnSync(python, args, {
    encoding: "utf8",
    env: { ...caches, ...process.env },
    timeout: 120_000,
  });
  if (result.status !== 0) throw new Error(`zig cc failed: ${result.stderr}`);
  return `${path}.so`;
}
