/**
 * The files whose code is mapped into this process: where, and their build ids.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { mappingsAround, readAvailable } from "./exception_details.ts";
import type { ExplainedMapping } from "./explanation.ts";

/** A file that code of this process comes from. */
export interface LoadedModule {
  readonly path: string;
  readonly base: bigint;
  readonly byteLength: bigint;
  /** Lower-case hexadecimal text; null when the file has none. */
  readonly buildId: string | null;
}

/** Of a process that maps very much: what lies above is left out. */
const mappingsMax = 16_384;

/** All mappings of this process, lowest first. */
function allMappings(): readonly ExplainedMapping[] {
  const found: ExplainedMapping[] = [];
  let next = 0n;
  while (found.length < mappingsMax) {
    const { at, above } = mappingsAround(next);
    if (at !== null) found.push(at);
    if (above !== null) found.push(above);
    const last = above ?? at;
    if (last === null || last.end <= next || above === null) break;
    next = last.end;
  }
  return found;
}

/** Mappings of one file that no other file lies between. */
interface Extent {
  readonly path: string;
  readonly base: bigint;
  end: bigint;
  hasCode: boolean;
}

function extentsOf(mappings: readonly ExplainedMapping[]): readonly Extent[] {
  const extents: Extent[] = [];
  for (const { path, start, end, protection } of mappings) {
    if (path === null || !path.startsWith("/")) continue;
    const hasCode = protection.includes("x");
    const last = extents.at(-1);
    if (last?.path === path) {
      last.end = end;
      last.hasCode ||= hasCode;
    } else {
      extents.push({ path, base: start, end, hasCode });
    }
  }
  return extents.filter((extent) => extent.hasCode);
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
      const { Buffer } = builtin("node:buffer");
      return Buffer.from(bytes.subarray(start, start + length)).toString("hex");
    }
    at = start + padded(length);
  }
  return null;
}

/** The build id of the ELF file that is mapped at `base`; undefined when none is. */
function readBuildId(base: bigint): string | null | undefined {
  const head = readAvailable(base, 64);
  if (head.byteLength < 64 || String.fromCharCode(...head.subarray(0, 4)) !== "\x7fELF") {
    return undefined;
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

/** The files that code of this process comes from now, by address. */
export function loadedModules(): readonly LoadedModule[] {
  const found: LoadedModule[] = [];
  for (const { path, base, end } of extentsOf(allMappings())) {
    const buildId = readBuildId(base);
    // A part of a file that is mapped once more belongs to the module that it is.
    if (buildId === undefined && found.some((module) => module.path === path)) continue;
    found.push(Object.freeze({ path, base, byteLength: end - base, buildId: buildId ?? null }));
  }
  return Object.freeze(found);
}
