/**
 * Finds the address that an instruction of x86-64 accessed, where the processor does not tell. Only
 * as much is decoded as names the operand in memory; what is not sure is null.
 *
 * @module
 */

/** An operand in memory. */
export interface MemoryOperand {
  /** As computed from the registers, 64 bits. */
  readonly address: bigint;
  /** The registers that it was computed from, the base first. */
  readonly registers: readonly string[];
  /** Bytes that its address must be a multiple of; 1 where any address will do. */
  readonly alignment: bigint;
}

const names = [
  ...["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"],
  ...["r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"],
];

/** What precedes the ModRM byte. */
interface Opcode {
  readonly map: 1 | 0x0f | 0x38 | 0x3a;
  readonly opcode: number;
  /** Offset of the ModRM byte. */
  readonly at: number;
  /** REX.X and REX.B, as what they add to a register's number. */
  readonly index: number;
  readonly base: number;
  /** 66, F3 or F2; 0 for none. */
  readonly prefix: number;
  /** Bytes of a vector in VEX's encoding; 0 for others. */
  readonly vexLength: number;
}

const vexPrefixes = [0, 0x66, 0xf3, 0xf2] as const;
const vexMaps = [null, 0x0f, 0x38, 0x3a] as const;

function readVex(bytes: Uint8Array, at: number): Opcode | null {
  const isLong = bytes[at] === 0xc4;
  const first = bytes[at + 1] ?? 0;
  const last = isLong ? bytes[at + 2] ?? 0 : first;
  const map = isLong ? vexMaps[first & 31] ?? null : 0x0f;
  const opcode = bytes[at + (isLong ? 3 : 2)];
  if (map === null || opcode === undefined) return null;
  return {
    map,
    opcode,
    at: at + (isLong ? 4 : 3),
    index: isLong && (first & 0x40) === 0 ? 8 : 0,
    base: isLong && (first & 0x20) === 0 ? 8 : 0,
    prefix: vexPrefixes[last & 3]!,
    vexLength: (last & 4) === 0 ? 16 : 32,
  };
}

function readOpcode(bytes: Uint8Array): Opcode | null {
  let at = 0;
  let prefix = 0;
  // Segments but FS and GS have no base; an address of 32 bits (67) is another computation.
  while ([0x66, 0xf2, 0xf3, 0x2e, 0x3e, 0x26, 0x36, 0xf0].includes(bytes[at] ?? 0)) {
    const byte = bytes[at++]!;
    if (byte === 0xf2 || byte === 0xf3 || (byte === 0x66 && prefix === 0)) prefix = byte;
  }
  if (bytes[at] === 0xc5 || bytes[at] === 0xc4) return readVex(bytes, at);
  let rex = 0;
  if (((bytes[at] ?? 0) & 0xf0) === 0x40) rex = bytes[at++]!;
  let map: Opcode["map"] = 1;
  let opcode = bytes[at++];
  if (opcode === 0x0f) {
    map = 0x0f;
    opcode = bytes[at++];
    if (opcode === 0x38 || opcode === 0x3a) {
      map = opcode;
      opcode = bytes[at++];
    }
  }
  if (opcode === undefined) return null;
  const [index, base] = [(rex & 2) === 0 ? 0 : 8, (rex & 1) === 0 ? 0 : 8];
  return { map, opcode, at, index, base, prefix, vexLength: 0 };
}

/** Whether a ModRM byte follows, and its operand is accessed. */
function hasOperand({ map, opcode }: Opcode): boolean {
  if (map === 0x38 || map === 0x3a) return true;
  if (map === 0x0f) {
    const without = [0x05, 0x06, 0x07, 0x08, 0x09, 0x0b, 0x0d, 0x0e, 0x77, 0xa0, 0xa1, 0xa2];
    if (without.includes(opcode) || [0xa8, 0xa9, 0xaa, 0x18, 0x1f].includes(opcode)) return false;
    return !(opcode >= 0x30 && opcode < 0x38) && !(opcode >= 0x80 && opcode < 0x90) &&
      !(opcode >= 0xc8 && opcode < 0xd0) && !(opcode >= 0x20 && opcode < 0x24);
  }
  if (opcode < 0x40) return (opcode & 7) < 4;
  const single = [0x63, 0x69, 0x6b, 0xc0, 0xc1, 0xc6, 0xc7, 0xf6, 0xf7, 0xfe, 0xff];
  return single.includes(opcode) || (opcode >= 0x80 && opcode < 0x90 && opcode !== 0x8d) ||
    (opcode >= 0xd0 && opcode < 0xd4) || (opcode >= 0xd8 && opcode < 0xe0);
}

/** Bytes that the operand's address must be a multiple of. */
function alignmentOf({ map, opcode, prefix, vexLength }: Opcode): bigint {
  if (map !== 0x0f && !(map === 0x38 && opcode === 0x2a)) return 1n;
  const moves = [0x28, 0x29, 0x2b, 0xe7];
  const isMove = moves.includes(opcode) || map === 0x38 ||
    ((opcode === 0x6f || opcode === 0x7f) && prefix === 0x66);
  if (vexLength > 0) return isMove ? BigInt(vexLength) : 1n;
  // Prefixes F2 and F3 make it scalar, or one that takes any address.
  if (prefix === 0xf2 || prefix === 0xf3) return 1n;
  if (isMove && !(opcode === 0xe7 && prefix === 0)) return 16n;
  const isPacked = (opcode >= 0x51 && opcode < 0x60) || opcode === 0xc2 || opcode === 0xc6;
  const isInteger = prefix === 0x66 &&
    ((opcode >= 0x60 && opcode < 0x6e) || (opcode >= 0x74 && opcode < 0x77) || opcode > 0xd0);
  return isPacked || isInteger ? 16n : 1n;
}

type Registers = Readonly<Record<string, bigint | undefined>>;

/** Base, scaled index and displacement, by the ModRM byte at `found.at`. */
function computeAddress(
  bytes: Uint8Array,
  found: Opcode,
  registers: Registers,
): Omit<MemoryOperand, "alignment"> | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let { at } = found;
  const modrm = bytes[at++];
  if (modrm === undefined) return null;
  const mod = modrm >> 6;
  const hasIndex = (modrm & 7) === 4;
  const sib = hasIndex ? bytes[at++] : 0;
  if (mod === 3 || sib === undefined) return null;
  const base = hasIndex ? sib & 7 : modrm & 7;
  const hasBase = mod !== 0 || base !== 5;
  // Relative to the instruction pointer, which is never far off.
  if (!hasBase && !hasIndex) return null;
  const index = ((sib >> 3) & 7) + found.index;
  const length = mod === 1 ? 1 : mod === 2 || !hasBase ? 4 : 0;
  if (at + length > bytes.byteLength) return null;
  let sum = BigInt(length === 0 ? 0 : length === 1 ? view.getInt8(at) : view.getInt32(at, true));
  const parts: (readonly [string, bigint])[] = [];
  if (hasBase) parts.push([names[base + found.base]!, 1n]);
  if (hasIndex && index !== 4) parts.push([names[index]!, 1n << BigInt(sib >> 6)]);
  for (const [name, scale] of parts) {
    const value = registers[name];
    if (value === undefined) return null;
    sum += value * scale;
  }
  return { address: BigInt.asUintN(64, sum), registers: parts.map(([name]) => name) };
}

/**
 * The operand in memory of the first instruction in `bytes`; null when it has none, or none that is
 * computed from general registers alone.
 */
export function memoryOperand(bytes: Uint8Array, registers: Registers): MemoryOperand | null {
  const found = readOpcode(bytes);
  if (found === null || !hasOperand(found)) return null;
  const computed = computeAddress(bytes, found, registers);
  return computed === null ? null : { ...computed, alignment: alignmentOf(found) };
}
