/**
 * What the tests of definitions share.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { arm64 } from "./platform_support.ts";
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { dlopen, HardwareException } from "../mod.ts";
import { isMusl } from "./musl_support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = process.env.FAULTLINE_BUILD ?? join(root, ".build", "out");

/** The library that `fixture.zig` makes. */
export const fixturePath: string = join(out, "fixture", "fixture.so");

/** A path where nothing is: a definition that is refused must be refused before it is opened. */
export const missingPath = "./no_such_library.so";

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

/** The TypeError that opening these definitions must throw, before anything is opened. */
export function refusal(symbols: unknown): string {
  try {
    dlopen(missingPath, symbols as Record<string, never>);
  } catch (error) {
    assert.ok(error instanceof TypeError, String(error));
    return error.message;
  }
  assert.fail("nothing was thrown");
}

/** Why a library of the system cannot be used here, or false. */
export function lacks(name: string): string | false {
  if (isMusl) return `${name} of this system is made for glibc`;
  const own = `${arm64 ? "aarch64" : "x86_64"}-linux-gnu`;
  const folders = [`/lib/${own}`, `/usr/lib/${own}`, "/usr/lib64", "/lib64"];
  if (folders.some((folder) => existsSync(join(folder, name)))) return false;
  return `${name} is not installed`;
}

interface BunFfi {
  readonly FFIType: Readonly<Record<string, number>>;
  JSCallback: new (
    body: (value: number) => number,
    definition: unknown,
  ) => { readonly ptr: number; close(): void };
}
interface Host {
  readonly Deno?: {
    UnsafeCallback: new (
      definition: unknown,
      body: (value: number) => number,
    ) => { readonly pointer: object; close(): void };
  };
}

/** Bun's own FFI, or null elsewhere. */
export function bunFfi(): BunFfi | null {
  if (!("Bun" in globalThis)) return null;
  return process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
}

/** A C function `i32 f(i32)` that runs JavaScript, by the runtime's own means. */
export function rawCallback(
  body: (value: number) => number,
): { readonly pointer: number | object; close(): void } {
  const bun = bunFfi();
  if (bun !== null) {
    const callback = new bun.JSCallback(body, { args: ["i32"], returns: "i32" });
    return { pointer: callback.ptr, close: () => callback.close() };
  }
  const { UnsafeCallback } = (globalThis as unknown as Host).Deno!;
  return new UnsafeCallback({ parameters: ["i32"], result: "i32" }, body);
}
