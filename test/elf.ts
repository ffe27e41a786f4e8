/**
 * Reads what the tests want to know of an ELF shared library of a 64-bit little-endian machine.
 *
 * Layout: the System V gABI, chapters 4 and 5 (`Elf64_Ehdr`, `Elf64_Phdr`, `Elf64_Dyn`,
 * `Elf64_Sym`, `Elf64_Rela`).
 *
 * @module
 */

/** A symbol of the dynamic symbol table. */
export interface ElfSymbol {
  readonly name: string;
  readonly weak: boolean;
  readonly defined: boolean;
}

/** What a shared library asks of its loader. */
export interface Elf {
  /** `e_machine`: 62 for x86-64, 183 for AArch64. */
  readonly machine: number;
  /** Names of the libraries that it needs (`DT_NEEDED`). */
  readonly needed: readonly string[];
  readonly symbols: readonly ElfSymbol[];
  /** Types of all relocations, in order. */
  readonly relocations: readonly number[];
  /** Tags of the dynamic section. */
  readonly tags: readonly number[];
  readonly segments: readonly ElfSegment[];
}

/** A program header. */
export interface ElfSegment {
  readonly type: number;
  readonly writable: boolean;
  readonly executable: boolean;
  readonly offset: number;
  readonly address: number;
  readonly fileLength: number;
  readonly memoryLength: number;
}

/** `p_type` of the segments that the tests name. */
export const segmentType = { load: 1, dynamic: 2, tls: 7, stack: 0x6474e551 } as const;

const tag = {
  needed: 1,
  pltrelsz: 2,
  hash: 4,
  strtab: 5,
  symtab: 6,
  rela: 7,
  relasz: 8,
  jmprel: 23,
} as const;
const symbolLength = 24;
const relaLength = 24;

class ElfReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly segments: readonly ElfSegment[];
  readonly dynamic: readonly (readonly [number, number])[];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const magic = this.u32(0) === 0x464c457f && bytes[4] === 2 && bytes[5] === 1;
    if (!magic) throw new TypeError("Cannot read the library as it is not a 64-bit ELF file");
    const table = this.u64(32);
    const [length, count] = [this.u16(54), this.u16(56)];
    const offsets = Array.from({ length: count }, (_, index) => table + index * length);
    this.segments = offsets.map((offset) => this.#segment(offset));
    this.dynamic = this.#dynamic();
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): number {
    return Number(this.#view.getBigUint64(offset, true));
  }

  text(offset: number): string {
    const end = this.#bytes.indexOf(0, offset);
    return new TextDecoder().decode(this.#bytes.subarray(offset, end));
  }

  /** The value of a tag of the dynamic section, or null when it is absent. */
  value(wanted: number): number | null {
    return this.dynamic.find(([found]) => found === wanted)?.[1] ?? null;
  }

  /** Where an address lies in the file. */
  offsetOf(address: number): number {
    const segment = this.segments.find(({ type, address: start, fileLength }) =>
      type === segmentType.load && address >= start && address < start + fileLength
    );
    if (segment === undefined) throw new RangeError(`Cannot find address ${address} in the file`);
    return address - segment.address + segment.offset;
  }

  #segment(at: number): ElfSegment {
    const flags = this.u32(at + 4);
    return {
      type: this.u32(at),
      executable: (flags & 1) !== 0,
      writable: (flags & 2) !== 0,
      offset: this.u64(at + 8),
      address: this.u64(at + 16),
      fileLength: this.u64(at + 32),
      memoryLength: this.u64(at + 40),
    };
  }

  #dynamic(): [number, number][] {
    const segment = this.segments.find(({ type }) => type === segmentType.dynamic);
    if (segment === undefined) return [];
    const entries: [number, number][] = [];
    for (let at = segment.offset; at < segment.offset + segment.fileLength; at += 16) {
      if (this.u64(at) === 0) break;
      entries.push([this.u64(at), this.u64(at + 8)]);
    }
    return entries;
  }
}

function readSymbols(reader: ElfReader): ElfSymbol[] {
  const [symtab, strtab] = [reader.value(tag.symtab), reader.value(tag.strtab)];
  if (symtab === null || strtab === null) return [];
  const strings = reader.offsetOf(strtab);
  const symbols: ElfSymbol[] = [];
  // The symbol table has no length of its own; the hash table has one chain entry per symbol.
  const hash = reader.value(tag.hash);
  if (hash === null) throw new TypeError("Cannot count the symbols as there is no DT_HASH");
  const count = reader.u32(reader.offsetOf(hash) + 4);
  for (let index = 1; index < count; index++) {
    const at = reader.offsetOf(symtab) + index * symbolLength;
    symbols.push({
      name: reader.text(strings + reader.u32(at)),
      weak: (reader.u32(at + 4) & 0xff) >> 4 === 2,
      defined: reader.u16(at + 6) !== 0,
    });
  }
  return symbols;
}

function readRelocations(reader: ElfReader): number[] {
  const tables = [[tag.rela, tag.relasz], [tag.jmprel, tag.pltrelsz]] as const;
  return tables.flatMap(([table, size]) => {
    const [address, length] = [reader.value(table), reader.value(size)];
    if (address === null || length === null) return [];
    const at = reader.offsetOf(address);
    const count = length / relaLength;
    return Array.from({ length: count }, (_, index) => reader.u32(at + index * relaLength + 8));
  });
}

/** Reads a shared library. */
export function readElf(bytes: Uint8Array): Elf {
  const reader = new ElfReader(bytes);
  const strings = reader.value(tag.strtab);
  const names = reader.dynamic.filter(([found]) => found === tag.needed);
  return {
    machine: reader.u16(18),
    needed: names.map(([, offset]) => reader.text(reader.offsetOf(strings!) + offset)),
    symbols: readSymbols(reader),
    relocations: readRelocations(reader),
    tags: reader.dynamic.map(([found]) => found),
    segments: reader.segments,
  };
}
