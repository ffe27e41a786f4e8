/**
 * What an ELF file that is mapped into this process says about itself.
 *
 * Layout: the System V gABI, chapters 4 and 5 (`Elf64_Ehdr`, `Elf64_Phdr`, notes).
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { readAvailable } from "./exception_details.ts";

/** A segment, with its address as if the file's first one lay at `base`. */
interface Segment {
  readonly type: number;
  readonly isCode: boolean;
  readonly address: bigint;
  readonly byteLength: number;
}

const magic = "\x7fELF";
const headerLength = 64;
const entryLength = 56;
const entriesMax = 64;
const typeLoad = 1;
const typeNote = 4;
const flagExecute = 1;
const page = 4096n;

/** The segments of the file whose header lies at `base`; null when none does. */
function segmentsAt(base: bigint): readonly Segment[] | null {
  const head = readAvailable(base, headerLength);
  const isElf = head.byteLength === headerLength &&
    String.fromCharCode(...head.subarray(0, 4)) === magic;
  if (!isElf) return null;
  const header = new DataView(head.buffer);
  const count = Math.min(header.getUint16(56, true), entriesMax);
  const table = readAvailable(base + header.getBigUint64(32, true), entryLength * count);
  const entries = new DataView(table.buffer);
  const starts = Array.from(
    { length: Math.floor(table.byteLength / entryLength) },
    (_, index) => index * entryLength,
  );
  const first = starts.find((at) => entries.getUint32(at, true) === typeLoad);
  const lowest = first === undefined ? 0n : entries.getBigUint64(first + 16, true);
  const bias = base - (lowest - lowest % page);
  return starts.map((at) => ({
    type: entries.getUint32(at, true),
    isCode: (entries.getUint32(at + 4, true) & flagExecute) !== 0,
    address: bias + entries.getBigUint64(at + 16, true),
    byteLength: Number(entries.getBigUint64(at + 40, true)),
  }));
}

/**
 * Whether a file is loaded at `base`, so that its code lies where `isCode` finds code: files are
 * also mapped to be read, and small ones have their header in every mapping.
 */
export function isLoadedAt(base: bigint, isCode: (address: bigint) => boolean): boolean {
  const code = segmentsAt(base)?.filter((segment) => segment.type === typeLoad && segment.isCode);
  return code !== undefined && code.length > 0 && code.every(({ address }) => isCode(address));
}

const noteBuildId = 3;
const notesMax = 4096;

/** The build id among the notes in `bytes`. */
function buildIdIn(bytes: Uint8Array): string | null {
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

/**
 * The build id of the file that is loaded at `base`, as lower-case hexadecimal text; null when it
 * has none, undefined when no ELF file is there.
 */
export function buildIdAt(base: bigint): string | null | undefined {
  const segments = segmentsAt(base);
  if (segments === null) return undefined;
  for (const { type, address, byteLength } of segments) {
    if (type !== typeNote) continue;
    const found = buildIdIn(readAvailable(address, Math.min(byteLength, notesMax)));
    if (found !== null) return found;
  }
  return null;
}
