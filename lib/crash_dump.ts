/**
 * Collects what a minidump of a caught exception holds: the registers and the stack that the
 * handler kept, and the code, modules and mappings of now.
 *
 * @module
 */
import { readAvailable } from "./exception_details.ts";
import type { ExceptionBytes, ExceptionInfo } from "./exception_info.ts";
import { type MemoryBlock, writeMinidump } from "./minidump.ts";
import { allMappings, loadedModules } from "./module_list.ts";
import { storedStack } from "./stored_stack.ts";

/** What a dump is made of. */
export interface DumpedException {
  readonly info: ExceptionInfo;
  readonly message: string;
  /** Frames of JavaScript, innermost first. */
  readonly javascript: readonly string[];
  /** What the handler wrote; null for an exception from elsewhere. */
  readonly bytes: ExceptionBytes | null;
}

const nearBytes = 128n;
const memoryEnd = 2n ** 64n;

/** What can be read right below and above an address. */
function memoryAround(address: bigint): readonly MemoryBlock[] {
  const start = address > nearBytes ? address - nearBytes : 0n;
  const end = address + nearBytes < memoryEnd ? address + nearBytes : memoryEnd;
  const below = readAvailable(start, Number(address - start));
  const above = readAvailable(address, Number(end - address));
  if (BigInt(below.byteLength) < address - start) return [{ address, bytes: above }];
  const bytes = new Uint8Array(below.byteLength + above.byteLength);
  bytes.set(below);
  bytes.set(above, below.byteLength);
  return [{ address: start, bytes }];
}

function notesOf({ info, message, javascript }: DumpedException): unknown {
  const { type, code, access, explanation, call } = info;
  return {
    format: "faultline.notes",
    version: 1,
    ...{ message, type, code, access, explanation, call, javascript },
  };
}

/** The code around the instruction; of an exception from elsewhere what came with it. */
function instructionMemory({ info, bytes }: DumpedException): readonly MemoryBlock[] {
  if (bytes !== null) return memoryAround(info.instructionPointer);
  if (info.instruction === null) return [];
  return [{ address: info.instructionPointer, bytes: info.instruction.bytes }];
}

/**
 * A minidump of an exception.
 *
 * @throws {FaultlineError} NOT_SUPPORTED if no processor raised it.
 */
export function makeMinidump(exception: DumpedException): Uint8Array {
  const { info, bytes } = exception;
  const isOwn = bytes !== null;
  const mappings = isOwn ? allMappings() : [];
  return writeMinidump({
    info,
    time: Date.now(),
    stack: isOwn ? storedStack(bytes) : null,
    memory: [
      ...instructionMemory(exception),
      ...(isOwn && info.address !== null ? memoryAround(info.address) : []),
    ],
    modules: isOwn ? loadedModules(mappings) : [],
    mappings,
    notes: notesOf(exception),
  });
}
