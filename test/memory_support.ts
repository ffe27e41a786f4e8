/**
 * What the tests of mapped files and write trackers share.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dlopen, type ForeignLibrary } from "../mod.ts";
import { fixtureFile } from "./support.ts";

/** Bytes of a page. */
export const page = 4096;

/** Definitions of what `memory_fixture.zig` makes. */
export const memorySymbols = {
  fm_reader_start: { parameters: ["u32", "address", "u64", "u8"], result: "i32" },
  fm_reader_rounds: { parameters: ["u32"], result: "u64" },
  fm_reader_stop: { parameters: ["u32"], result: "u64" },
  fm_sum_pages: { parameters: ["address", "u64"], result: "u64" },
  fm_truncate_and_sum: { parameters: ["i32", "i64", "address", "u64"], result: "u64" },
  fm_writers_start: { parameters: ["u32", "address", "u64"], result: "i32" },
  fm_writers_written: { parameters: ["u32"], result: "u64" },
  fm_writers_stop: { parameters: ["u32"], result: "u64" },
  fm_fail: { parameters: ["i32", "address", "i32"], result: "i32" },
  fm_fail_and_read: { parameters: ["i32", "address", "i32"], result: "u64" },
} as const;

/** Opens the fixture with recovery points. */
export function openMemoryFixture(): ForeignLibrary<typeof memorySymbols> {
  return dlopen(fixtureFile("memory_fixture.so"), memorySymbols);
}

/** A file of its own, whose bytes are all `fill`; removed with its folder once `body` is over. */
export function withFile<T>(byteLength: number, fill: number, body: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "faultline_memory_"));
  const path = join(folder, "file");
  writeFileSync(path, new Uint8Array(byteLength).fill(fill));
  const remove = (): void => rmSync(folder, { recursive: true });
  let result: T | undefined;
  try {
    result = body(path);
  } finally {
    if (!(result instanceof Promise)) remove();
  }
  return result instanceof Promise ? result.finally(remove) as T : result;
}

/** The sum of all bytes, in a loop that the engine compiles. */
export function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let index = 0; index < bytes.length; index++) total += bytes[index]!;
  return total;
}

/** Asserts that `body` throws an Error of `kind` whose `code` is the one given. */
export function failsWith(
  body: () => unknown,
  kind: new (...args: never[]) => Error,
  code: string | undefined,
  message: RegExp,
): void {
  assert.throws(body, (error: unknown) => {
    assert.ok(error instanceof kind, String(error));
    assert.equal((error as { code?: string }).code, code, String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** How many descriptors and mappings of this process a file has. */
export function holders(path: string): number {
  const descriptors = readdirSync("/proc/self/fd").filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`) === path;
    } catch {
      return false; // The one by which the folder was read.
    }
  });
  const mappings = readFileSync("/proc/self/maps", "utf8").split("\n");
  return descriptors.length + mappings.filter((line) => line.endsWith(` ${path}`)).length;
}
