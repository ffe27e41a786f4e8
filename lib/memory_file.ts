/**
 * Files that lie in memory only, for native libraries that no file system has. Made by the C
 * library of this process, since no library of ours is open yet.
 *
 * @module
 */
import type { CSignature, NativeFunctions, Runtime } from "./runtime/types.ts";

// Linux include/uapi/linux/memfd.h and fcntl.h.
const closeOnExec = 1;
const allowSealing = 2;
const addSeals = 1033;
const getSeals = 1034;
const allSeals = 0b1111;

const signatures: Readonly<Record<string, CSignature>> = {
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "u64"], result: "i64" },
  readlink: { parameters: ["buffer", "buffer", "u64"], result: "i64" },
  fcntl: { parameters: ["i32", "i32", "u64"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
};

/** Descriptors that are looked at. A file beyond is made anew, and the library loaded twice. */
const descriptorsMax = 1024;
const sealRoundsMax = 1000;

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

function openLibc(runtime: Runtime, paths: readonly string[]): NativeFunctions {
  let problem: unknown;
  const granted = paths.filter((path) => runtime.permission("ffi", path) !== false);
  for (const path of granted.length === 0 ? paths : granted) {
    try {
      return runtime.openFunctions(path, signatures);
    } catch (error) {
      problem ??= error;
    }
  }
  throw problem;
}

/** The file that a descriptor is of, as the kernel shows it; "" for a closed descriptor. */
function shownFile(libc: NativeFunctions, descriptor: number): string {
  const into = new Uint8Array(256);
  const path = text(`/proc/self/fd/${descriptor}`);
  const length = Number(libc.readlink!(path, into, BigInt(into.byteLength)) as bigint);
  return length <= 0 ? "" : new TextDecoder().decode(into.subarray(0, length));
}

/** The lowest descriptor below `end` whose file has this name and is complete, or null. */
function findSealed(libc: NativeFunctions, name: string, end: number): number | null {
  for (let descriptor = 0; descriptor < end; descriptor++) {
    if (shownFile(libc, descriptor) !== `/memfd:${name} (deleted)`) continue;
    // Another thread may be writing it just now.
    for (let round = 0; round < sealRoundsMax; round++) {
      if (libc.fcntl!(descriptor, getSeals, 0n) === allSeals) return descriptor;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
  return null;
}

function writeAll(libc: NativeFunctions, descriptor: number, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.byteLength > 0) {
    const written = Number(libc.write!(descriptor, rest, BigInt(rest.byteLength)) as bigint);
    if (written <= 0) throw new Error("the system refuses to write to a file in memory");
    rest = rest.subarray(written);
  }
}

function create(libc: NativeFunctions, name: string, bytes: Uint8Array): number {
  const made = libc.memfd_create!(text(name), closeOnExec | allowSealing) as number;
  if (made < 0) throw new Error("the system refuses to make a file in memory (memfd_create)");
  try {
    writeAll(libc, made, bytes);
    if (libc.fcntl!(made, addSeals, BigInt(allSeals)) !== 0) {
      throw new Error("the system refuses to seal a file in memory");
    }
  } catch (error) {
    libc.close!(made);
    throw error;
  }
  return made;
}

/**
 * The path of a file in memory. All threads of the process get the same one, so that the loader
 * loads it once; it stays until the process ends.
 *
 * @param name Unique to these bytes.
 * @param libcPaths Where the C library may be.
 * @throws {Error} If the C library cannot be opened, or the system refuses.
 */
export function memoryFile(
  runtime: Runtime,
  name: string,
  bytes: () => Uint8Array,
  libcPaths: readonly string[],
): string {
  const libc = openLibc(runtime, libcPaths);
  let descriptor = findSealed(libc, name, descriptorsMax);
  if (descriptor === null) {
    const made = create(libc, name, bytes());
    descriptor = findSealed(libc, name, made) ?? made;
    if (descriptor !== made) libc.close!(made);
  }
  return `/proc/self/fd/${descriptor}`;
}
