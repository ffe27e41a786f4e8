/**
 * The modules that frames lie in: where they are mapped, and their build ids.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { mappingsAround, readAvailable } from "./exception_details.ts";
import type { StackFrame } from "./stack_frame.ts";

/** A file that code of this process comes from. */
export interface LoadedModule {
  readonly path: string;
  readonly base: bigint;
  readonly byteLength: bigint;
  /** Lower-case hexadecimal text; null when the file has none. */
  readonly buildId: string | null;
}

const mappingsMax = 64;

/** Start and end of the mappings of `path` around `address`; null when it lies in none. */
function extentOf(address: bigint, path: string): { base: bigint; end: bigint } | null {
  const around = mappingsAround(address);
  if (around.at === null || around.at.path !== path) return null;
  let { start: base, end } = around.at;
  let { below, above } = around;
  for (let count = 0; below?.path === path && count < mappingsMax; count += 1) {
    base = below.start;
    below = mappingsAround(base).below;
  }
  for (let count = 0; above?.path === path && count < mappingsMax; count += 1) {
    end = above.end;
    above = mappingsAround(above.start).above;
  }
  return { base, end };
}

const programHeaderNote = 4;
const noteBuildId = 3;
const notesMax = 4096;

/** The build id among the notes in `bytes`. */
function buildIdOf(bytes: Uint8Array): string | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const padded = (length: number): number => (length + 3) & ~3;
  let at = 0;
  while (at + 12 <= bytes.byteLength) {
    const nameLength = view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    const name = at + 12;
    const start = name + padded(nameLength);
    if (start + length > bytes.byteLength) return null;
    const isGnu = String.fromCharCode(...bytes.subarray(name, name + 4)) === "GNU\0";
    if (isGnu && view.getUint32(at + 8, true) === noteBuildId) {
      return Buffer.from(bytes.subarray(start, start + length)).toString("hex");
    }
    at = start + padded(length);
  }
  return null;
}

/** The build id of the ELF file that is mapped at `base`. */
function readBuildId(base: bigint): string | null {
  const head = readAvailable(base, 64);
  if (head.byteLength < 64 || String.fromCharCode(...head.subarray(0, 4)) !== "\x7fELF") {
    return null;
  }
  const header = new DataView(head.buffer);
  const entryLength = header.getUint16(54, true);
  const table = readAvailable(
    base + header.getBigUint64(32, true),
    entryLength * header.getUint16(56, true),
  );
  const entries = new DataView(table.buffer);
  for (let at = 0; at + 56 <= table.byteLength; at += entryLength) {
    if (entries.getUint32(at, true) !== programHeaderNote) continue;
    const length = Math.min(Number(entries.getBigUint64(at + 40, true)), notesMax);
    const found = buildIdOf(readAvailable(base + entries.getBigUint64(at + 16, true), length));
    if (found !== null) return found;
  }
  return null;
}

/** The modules of `frames`, in the order of the frames. */
export function modulesOf(frames: readonly StackFrame[]): readonly LoadedModule[] {
  const found = new Map<string, LoadedModule>();
  for (const { module, address } of frames) {
    if (module === null || found.has(module)) continue;
    const extent = extentOf(address, module);
    if (extent === null) continue;
    const { base, end } = extent;
    const byteLength = end - base;
    const buildId = readBuildId(base);
    found.set(module, Object.freeze({ path: module, base, byteLength, buildId }));
  }
  return Object.freeze([...found.values()]);
}
