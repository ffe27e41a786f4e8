/**
 * Writes a minidump: what debuggers and crash collectors read. Pure: nothing here touches native
 * code, so that a dump can be made of an exception from another machine.
 *
 * Layouts: Breakpad's src/google_breakpad/common/minidump_format.h (`MDRawHeader`, `MDRawThread`,
 * `MDRawModule`, `MDRawExceptionStream`, `MDRawSystemInfo`, `MDRawMemoryInfo`, `MDRawMiscInfo`).
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import type { ExceptionInfo } from "./exception_info.ts";
import type { ExplainedMapping } from "./explanation.ts";
import { FaultlineError } from "./faultline_error.ts";
import type { LoadedModule } from "./loaded_module.ts";
import { type Machine, machineOf, minidumpContext } from "./minidump_context.ts";
import { type Location, MinidumpWriter } from "./minidump_writer.ts";

/** Memory as it was, from `address` on. */
export interface MemoryBlock {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** What a minidump is made of. */
export interface MinidumpContent {
  readonly info: Pick<
    ExceptionInfo,
    | ("registers" | "context" | "signalNumber" | "codeNumber" | "address" | "processId")
    | "threadId"
  >;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** The innermost part of the thread's stack; null when nobody kept it. */
  readonly stack: MemoryBlock | null;
  /** Other memory. A block that overlaps an earlier one is left out. */
  readonly memory: readonly MemoryBlock[];
  readonly modules: readonly LoadedModule[];
  /** All mappings, lowest first. */
  readonly mappings: readonly ExplainedMapping[];
  /** What the format has no place for, as JSON in a stream of our own. */
  readonly notes: unknown;
}

/** Stream types. */
const stream = {
  threadList: 3,
  moduleList: 4,
  memoryList: 5,
  exception: 6,
  systemInfo: 7,
  miscInfo: 15,
  memoryInfoList: 16,
  /** Ours: "FL" and a number, above what Microsoft reserves. JSON in UTF-8. */
  notes: 0x464c_0001,
} as const;

const headerLength = 32;
const directoryEntryLength = 12;
const architectures: Readonly<Record<Machine, number>> = { x64: 9, arm64: 12 };
const platformLinux = 0x8201;
const u32Max = 2n ** 32n - 1n;

interface ThreadParts {
  readonly context: Location;
  readonly stack: { readonly address: bigint; readonly location: Location } | null;
}

/** Writes a MINIDUMP_MEMORY_DESCRIPTOR. */
function writeRange(
  writer: MinidumpWriter,
  at: number,
  range: { readonly address: bigint; readonly location: Location },
): void {
  writer.u64(at, range.address);
  writer.location(at + 8, range.location);
}

function writeThreads(
  writer: MinidumpWriter,
  { threadId }: MinidumpContent["info"],
  { context, stack }: ThreadParts,
): Location {
  const list = writer.reserve(4 + 48);
  const thread = list.offset + 4;
  writer.u32(list.offset, 1);
  writer.u32(thread, threadId);
  if (stack !== null) writeRange(writer, thread + 24, stack);
  writer.location(thread + 40, context);
  return list;
}

function writeException(
  writer: MinidumpWriter,
  { threadId, signalNumber, codeNumber, address }: MinidumpContent["info"],
  context: Location,
): Location {
  const at = writer.reserve(168, 8);
  writer.u32(at.offset, threadId);
  writer.u32(at.offset + 8, signalNumber);
  writer.u32(at.offset + 12, codeNumber >>> 0);
  writer.u64(at.offset + 24, address ?? 0n);
  writer.location(at.offset + 160, context);
  return at;
}

function writeSystem(writer: MinidumpWriter, machine: Machine): Location {
  const version = writer.text("Linux");
  const at = writer.reserve(56, 8);
  writer.u16(at.offset, architectures[machine]);
  writer.u32(at.offset + 20, platformLinux);
  writer.u32(at.offset + 24, version.offset);
  return at;
}

function writeProcess(writer: MinidumpWriter, processId: number): Location {
  const at = writer.reserve(24);
  writer.u32(at.offset, 24);
  writer.u32(at.offset + 4, 1); // Only the process id is valid.
  writer.u32(at.offset + 8, processId);
  return at;
}

const moduleLength = 108;
/** "BpEL": what follows is an ELF build id. */
const codeViewElf = 0x4270_454c;

function writeModule(writer: MinidumpWriter, at: number, module: LoadedModule): void {
  const { path, base, byteLength, buildId } = module;
  writer.u64(at, base);
  writer.u32(at + 8, Number(byteLength < u32Max ? byteLength : u32Max));
  writer.u32(at + 20, writer.text(path).offset);
  if (buildId === null) return;
  const id = builtin("node:buffer").Buffer.from(buildId, "hex");
  const record = writer.reserve(4 + id.byteLength);
  writer.u32(record.offset, codeViewElf);
  writer.set(record.offset + 4, id);
  writer.location(at + 76, record);
}

function writeModules(writer: MinidumpWriter, modules: readonly LoadedModule[]): Location {
  const list = writer.reserve(4 + moduleLength * modules.length);
  writer.u32(list.offset, modules.length);
  modules.forEach((module, index) => {
    writeModule(writer, list.offset + 4 + moduleLength * index, module);
  });
  return list;
}

interface WrittenBlock {
  readonly address: bigint;
  readonly location: Location;
}

function endOf({ address, location }: WrittenBlock): bigint {
  return address + BigInt(location.byteLength);
}

/** Writes the blocks' bytes; gives those that do not overlap an earlier one, by address. */
function writeBlocks(
  writer: MinidumpWriter,
  stack: WrittenBlock | null,
  memory: readonly MemoryBlock[],
): readonly WrittenBlock[] {
  const written: WrittenBlock[] = stack === null ? [] : [stack];
  for (const { address, bytes } of memory) {
    const end = address + BigInt(bytes.byteLength);
    const isTaken = written.some((other) => address < endOf(other) && other.address < end);
    if (bytes.byteLength === 0 || isTaken) continue;
    written.push({ address, location: writer.bytes(bytes, 16) });
  }
  return written.sort((a, b) => a.address < b.address ? -1 : 1);
}

function writeMemory(writer: MinidumpWriter, blocks: readonly WrittenBlock[]): Location {
  const list = writer.reserve(4 + 16 * blocks.length);
  writer.u32(list.offset, blocks.length);
  blocks.forEach((block, index) => writeRange(writer, list.offset + 4 + 16 * index, block));
  return list;
}

/** PAGE_NOACCESS and its kin, by "rwx" as bits 4, 2 and 1: Windows has no write without read. */
const pageProtections = [0x01, 0x10, 0x04, 0x40, 0x02, 0x20, 0x04, 0x40];

function pageProtection(protection: string): number {
  const bits = ["r", "w", "x"].reduce((sum, one, index) => {
    return sum + (protection[index] === one ? 4 >> index : 0);
  }, 0);
  return pageProtections[bits]!;
}

const infoLength = 48;
const stateCommitted = 0x1000;
const typePrivate = 0x2_0000;
const typeMapped = 0x4_0000;

function writeMappings(
  writer: MinidumpWriter,
  mappings: readonly ExplainedMapping[],
): Location {
  const list = writer.reserve(16 + infoLength * mappings.length, 8);
  writer.u32(list.offset, 16);
  writer.u32(list.offset + 4, infoLength);
  writer.u64(list.offset + 8, BigInt(mappings.length));
  mappings.forEach(({ start, end, protection, path }, index) => {
    const at = list.offset + 16 + infoLength * index;
    const page = pageProtection(protection);
    writer.u64(at, start);
    writer.u64(at + 8, start);
    writer.u32(at + 16, page);
    writer.u64(at + 24, end - start);
    writer.u32(at + 32, stateCommitted);
    writer.u32(at + 36, page);
    writer.u32(at + 40, path !== null && path.startsWith("/") ? typeMapped : typePrivate);
  });
  return list;
}

function refuseMachine(): never {
  throw new FaultlineError(
    "NOT_SUPPORTED",
    "Cannot make a minidump of this exception as it has no registers that a minidump can hold: " +
      "make one of an exception that a processor raised",
  );
}

/** The streams, in the order of the directory. */
function writeStreams(
  writer: MinidumpWriter,
  content: MinidumpContent,
): readonly (readonly [number, Location])[] {
  const { info, modules, mappings, notes } = content;
  const machine = machineOf(info.registers) ?? refuseMachine();
  const context = writer.bytes(minidumpContext(machine, info), 16);
  const stack = content.stack === null || content.stack.bytes.byteLength === 0
    ? null
    : { address: content.stack.address, location: writer.bytes(content.stack.bytes, 16) };
  const blocks = writeBlocks(writer, stack, content.memory);
  return [
    [stream.systemInfo, writeSystem(writer, machine)],
    [stream.miscInfo, writeProcess(writer, info.processId)],
    [stream.exception, writeException(writer, info, context)],
    [stream.threadList, writeThreads(writer, info, { context, stack })],
    [stream.moduleList, writeModules(writer, modules)],
    [stream.memoryList, writeMemory(writer, blocks)],
    [stream.memoryInfoList, writeMappings(writer, mappings)],
    [stream.notes, writer.json(notes)],
  ];
}

const streamCount = 8;

/**
 * The bytes of a minidump.
 *
 * @throws {FaultlineError} NOT_SUPPORTED if the exception has no registers of x86-64 or arm64.
 */
export function writeMinidump(content: MinidumpContent): Uint8Array {
  const writer = new MinidumpWriter();
  writer.reserve(headerLength);
  const directory = writer.reserve(directoryEntryLength * streamCount);
  const streams = writeStreams(writer, content);
  writer.u32(0, 0x504d_444d); // "MDMP"
  writer.u32(4, 0xa793); // MINIDUMP_VERSION
  writer.u32(8, streams.length);
  writer.u32(12, directory.offset);
  writer.u32(20, Math.floor(content.time / 1000) >>> 0);
  streams.forEach(([type, location], index) => {
    const at = directory.offset + directoryEntryLength * index;
    writer.u32(at, type);
    writer.location(at + 4, location);
  });
  return writer.finish();
}
