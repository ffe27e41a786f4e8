/**
 * Files in memory that survive what others do to them.
 *
 * @module
 */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { lostRangeLayout, nativeStatus, pageState } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import { HardwareException } from "./hardware_exception.ts";
import { checkStatus, native } from "./native.ts";
import { openMemory, OwnedBytes } from "./owned_bytes.ts";
import { codeName, exceptionType, signalCodes, signalNumber, zxType } from "./signal_table.ts";
import { syntheticException } from "./synthetic_exception.ts";
import { systemError } from "./system_error.ts";

/**
 * A part of a mapped file that was lost.
 *
 * @example Usage
 * ```ts
 * import type { LostRange } from "faultline";
 *
 * const describe = ({ offset, byteLength }: LostRange): string => `${byteLength} from ${offset}`;
 * console.log(describe({ offset: 4096n, byteLength: 10, code: "BUS_ADRERR" })); // 10 from 4096
 * ```
 */
export interface LostRange {
  /** Where in the file it begins. */
  readonly offset: bigint;
  readonly byteLength: number;
  /**
   * Why: "BUS_ADRERR" past the end of the file, or after an input or output error; "BUS_OBJERR";
   * "BUS_MCEERR_AR" and "BUS_MCEERR_AO" where the machine's memory failed.
   */
  readonly code: string;
}

/**
 * A file in memory.
 *
 * @example Usage
 * ```ts
 * import { writeFileSync } from "node:fs";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { mapFile, type MappedFile } from "faultline";
 *
 * const path = join(tmpdir(), "faultline_mapped_file");
 * writeFileSync(path, "hello");
 * const file: MappedFile = mapFile(path);
 * console.log(new TextDecoder().decode(file.bytes)); // hello
 * file.close();
 * ```
 */
export interface MappedFile extends Disposable {
  /** The file's bytes; none after `close()`. */
  readonly bytes: Uint8Array;
  /**
   * Ranges that were lost since the mapping was made, by offset; neighbours with one code are one.
   * It looks at the size of the file, too: what is past the end is lost though nobody has touched
   * it, from the byte on.
   */
  lost(): readonly LostRange[];
  /**
   * Throws if anything was lost: what was read may be zeroes in place of data.
   *
   * @throws {HardwareException} With the code and the address of the first lost byte.
   */
  verify(): void;
  /**
   * Writes what was changed to the file's storage and waits for it. Nothing without `write`.
   *
   * @throws {Error} With the errno's name as `code`, for instance `EIO`.
   */
  flush(): void;
  /**
   * Takes the memory from `bytes` and from every view of its buffer, and gives it back. Once more
   * does nothing.
   */
  close(): void;
}

/**
 * What may be asked of a mapping.
 *
 * @example Usage
 * ```ts
 * import type { MapFileOptions } from "faultline";
 *
 * const secondPage: MapFileOptions = { offset: 4096n, byteLength: 4096 };
 * console.log(secondPage.write ?? false); // false
 * ```
 */
export interface MapFileOptions {
  /** Whether writes to `bytes` change the file. Default: they change nothing but `bytes`. */
  readonly write?: boolean;
  /** Where in the file `bytes` begins; need not be aligned. Default 0n. */
  readonly offset?: bigint;
  /** How many bytes. Default: all up to the end. */
  readonly byteLength?: number;
}

const what = "map a file";

function checkPath(path: unknown): asserts path is string | URL {
  if (typeof path === "string" || path instanceof URL) return;
  throw new TypeError(
    `Cannot ${what} as path must be a string or a file URL: current value is ` +
      describeValue(path),
  );
}

/** Options, each looked at once and of the right kind. */
function takeOptions(options: unknown): Required<Pick<MapFileOptions, "write" | "offset">> & {
  readonly byteLength: number | undefined;
} {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      `Cannot ${what} as its options must be an object: current value is ${describeValue(options)}`,
    );
  }
  const { write = false, offset = 0n, byteLength } = options as Record<string, unknown>;
  const wrong = (name: string, kind: string, value: unknown): string =>
    `Cannot ${what} as ${name} must be ${kind}: current value is ${describeValue(value)}`;
  if (typeof write !== "boolean") throw new TypeError(wrong("write", "a boolean", write));
  if (typeof offset !== "bigint") throw new TypeError(wrong("offset", "a bigint", offset));
  if (offset < 0n) throw new RangeError(wrong("offset", "0n or more", offset));
  if (byteLength !== undefined && typeof byteLength !== "number") {
    throw new TypeError(wrong("byteLength", "a number", byteLength));
  }
  if (byteLength !== undefined && (!Number.isSafeInteger(byteLength) || byteLength < 0)) {
    const kind = "a whole number from 0 to 2 ** 53 - 1";
    throw new RangeError(wrong("byteLength", kind, byteLength));
  }
  return { write, offset, byteLength };
}

/** Opens the file; does not wait for the other end of a pipe. */
function openFile(path: string | URL, write: boolean): number {
  return openSync(path, (write ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK);
}

/** The size of an open file, which must be one that can be mapped. */
function sizeOf(path: string | URL, descriptor: number): bigint {
  const stat = fstatSync(descriptor, { bigint: true });
  if (stat.isFile()) return stat.size;
  const name = path instanceof URL ? path.pathname : path;
  if (stat.isDirectory()) {
    throw systemError("open", "EISDIR", `Cannot map ${name} as it is a directory: name a file`);
  }
  throw systemError("mmap", "ENODEV", `Cannot map ${name} as it is no regular file: name one`);
}

/** How many bytes to map. */
function lengthOf(size: bigint, offset: bigint, byteLength: number | undefined): number {
  const rest = size - offset;
  if (rest < 0n || BigInt(byteLength ?? 0) > rest) {
    throw new RangeError(
      `Cannot ${what} as the file has ${size} bytes: asked for ${byteLength ?? "those"} from ` +
        `offset ${offset} on`,
    );
  }
  const length = byteLength ?? Number(rest);
  if (Number.isSafeInteger(length)) return length;
  throw new RangeError(`Cannot ${what} of ${size} bytes as that is too long: give a byteLength`);
}

function openMapping(
  descriptor: number,
  offset: bigint,
  byteLength: number,
  write: boolean,
): OwnedBytes {
  const made = openMemory((functions, into) =>
    functions.fl_mapping_open!(
      descriptor,
      offset,
      byteLength,
      write ? 1 : 0,
      into,
      into.byteLength,
    )
  );
  const asked = `Cannot map ${byteLength} bytes of a file`;
  if (made.status === nativeStatus.no_memory || made.errno === outOfMemory) {
    throw new RangeError(`${asked} as there is no room for so many: map a part of it`);
  }
  if (made.status === nativeStatus.no_free_slot) {
    throw new Error(
      `${asked} as there are 1,024 hooks, mapped files and write trackers: close some`,
    );
  }
  if (made.errno !== 0) throw systemError("mmap", made.errno, `${asked} as the system refuses it`);
  checkStatus(made.status, asked);
  return new OwnedBytes("a mapped file", made, byteLength);
}

const outOfMemory = 12; // ENOMEM

const { SIGBUS } = signalCodes;

/** The code that stands for each state of a lost page. */
const codes: ReadonlyMap<number, number> = new Map([
  [pageState.lost_end, SIGBUS.BUS_ADRERR!],
  [pageState.lost_error, SIGBUS.BUS_OBJERR!],
  [pageState.lost_memory, SIGBUS.BUS_MCEERR_AR!],
  [pageState.lost_memory_early, SIGBUS.BUS_MCEERR_AO!],
]);

const signal = signalNumber("SIGBUS");
const rangesPerCall = 128;

/** Reads the lost ranges of a mapping; those that meet and have one code become one. */
function lostRanges(handle: bigint): LostRange[] {
  const { functions } = native();
  const layout = lostRangeLayout;
  const cursor = new BigUint64Array(1);
  const bytes = new Uint8Array(rangesPerCall * layout.byteLength);
  const view = new DataView(bytes.buffer);
  const found: { offset: bigint; byteLength: number; code: string }[] = [];
  while (true) {
    const count = functions.fl_mapping_lost!(handle, cursor, bytes, bytes.byteLength) as number;
    checkStatus(count, "Cannot ask what was lost");
    for (let start = 0; start < count * layout.byteLength; start += layout.byteLength) {
      const offset = view.getBigUint64(start + layout.offset.offset, true);
      const byteLength = Number(view.getBigUint64(start + layout.byte_length.offset, true));
      const state = view.getUint32(start + layout.state.offset, true);
      const code = codeName(signal, codes.get(state)!);
      const last = found.at(-1);
      if (last?.code === code && last.offset + BigInt(last.byteLength) === offset) {
        last.byteLength += byteLength;
      } else {
        found.push({ offset, byteLength, code });
      }
    }
    if (count < rangesPerCall) return found;
  }
}

/** What `verify` throws. */
function lossException(range: LostRange, address: bigint): HardwareException {
  const { offset, byteLength, code } = range;
  const codeNumber = SIGBUS[code]!;
  const type = exceptionType(signal, codeNumber);
  const explanation = `${byteLength} bytes of a mapped file, from offset ${offset} on, were lost ` +
    "and read as zero";
  return new HardwareException({
    info: syntheticException({
      type,
      zxType: zxType(type, signal, codeNumber),
      signal: "SIGBUS",
      signalNumber: signal,
      code,
      codeNumber,
      address,
      explanation,
      addressLsb: type === "machine-check" ? 12 : null,
    }),
    message: `${explanation} (SIGBUS, ${code})`,
    additional: undefined,
  });
}

class Mapping implements MappedFile {
  readonly #memory: OwnedBytes;
  readonly #offset: bigint;
  readonly #write: boolean;

  constructor(memory: OwnedBytes, offset: bigint, write: boolean) {
    this.#memory = memory;
    this.#offset = offset;
    this.#write = write;
  }

  get bytes(): Uint8Array {
    return this.#memory.bytes;
  }

  lost(): readonly LostRange[] {
    return lostRanges(this.#memory.handle);
  }

  verify(): void {
    const [first] = this.lost();
    if (first === undefined) return;
    throw lossException(first, this.#memory.address + (first.offset - this.#offset));
  }

  flush(): void {
    const { handle } = this.#memory;
    if (!this.#write) return;
    const errno = native().functions.fl_mapping_flush!(handle) as number;
    checkStatus(errno, "Cannot flush a mapped file");
    if (errno === 0) return;
    throw systemError("msync", errno, "Cannot flush a mapped file as the system refuses it");
  }

  close(): void {
    this.#memory.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** No bytes of a file: there is nothing to map, and nothing that could be lost. */
class EmptyMapping implements MappedFile {
  readonly bytes: Uint8Array = new Uint8Array();

  lost(): readonly LostRange[] {
    return [];
  }

  verify(): void {}
  flush(): void {}
  close(): void {}
  [Symbol.dispose](): void {}
}

/**
 * Maps a file into memory. Reading it reads the file, page by page, as it is needed.
 *
 * A mapped file is a promise that anyone can break: when another program truncates it, or its disk
 * or the machine's memory fails, the next access to a page that is not there any more ends the
 * process. Here such a page is replaced by zeroes, in the signal handler, whoever touches it:
 * JavaScript, native code, any thread. `lost()` says what was lost, and `verify()` throws when
 * anything was: read first, then verify, then believe. Lost pages stay zero until `close()`, also
 * when the file grows again.
 *
 * Without `write`, what is written to `bytes` stays there (private copy-on-write) and the file
 * never changes; pages that were not written show what others write to the file. With `write` it
 * changes the file.
 *
 * A system call that is given a lost page may fail with EFAULT. Memory that is changed by others is
 * no ground for a decision made on it twice: copy first what you check. Close it: a mapping that is
 * forgotten gives its pages back when its arrays are collected, but keeps its addresses. Keep the
 * `MappedFile` while its memory is in use, and do not transfer its buffer: it becomes zeroes when
 * the mapping is closed or its thread ends.
 *
 * @param path A path or a file URL.
 * @returns The mapping. It belongs to this thread.
 * @throws {Error} If the file cannot be opened or mapped, with the errno's name as `code`:
 * `ENOENT`, `EISDIR`, `EACCES` ...
 * @throws {RangeError} If the range is not within the file, or too long for the runtime's arrays.
 * @throws {TypeError} If an argument is of the wrong kind.
 *
 * @example Usage
 * ```ts
 * import { truncateSync, writeFileSync } from "node:fs";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import { catchException, mapFile } from "faultline";
 *
 * const path = join(tmpdir(), "faultline_map_file");
 * writeFileSync(path, new Uint8Array(3 * 4096).fill(7));
 * using file = mapFile(path);
 * truncateSync(path, 4096); // Somebody else does this.
 * console.log(file.bytes[0], file.bytes[5000]); // 7 0
 * console.log(file.lost()); // [ { offset: 4096n, byteLength: 8192, code: "BUS_ADRERR" } ]
 * const result = catchException(() => file.verify());
 * if (!result.ok) console.log(result.error.info.type); // bus-error
 * ```
 */
export function mapFile(path: string | URL, options: MapFileOptions = {}): MappedFile {
  checkPath(path);
  const { write, offset, byteLength } = takeOptions(options);
  const descriptor = openFile(path, write);
  try {
    const length = lengthOf(sizeOf(path, descriptor), offset, byteLength);
    if (length === 0) return new EmptyMapping();
    return new Mapping(openMapping(descriptor, offset, length, write), offset, write);
  } finally {
    closeSync(descriptor);
  }
}
