/**
 * Arrays over memory that native code looks after, from the moment that it is made to the moment
 * that it is given back.
 *
 * @module
 */
import { openedMemoryLayout } from "./abi.ts";
import { FaultlineError } from "./faultline_error.ts";
import { type Native, native } from "./native.ts";
import type { NativeFunctions } from "./runtime/types.ts";

/** Memory that a native function made. */
export interface OpenedMemory {
  readonly handle: bigint;
  readonly address: bigint;
  /** The system's, 0 when it succeeded. */
  readonly errno: number;
  /** How writes are noted. */
  readonly tracking: number;
}

/** Calls a native function that makes memory; `status` is negative when it made none. */
export function openMemory(
  make: (functions: NativeFunctions, into: Uint8Array) => unknown,
): OpenedMemory & { readonly status: number } {
  const layout = openedMemoryLayout;
  const into = new Uint8Array(layout.byteLength);
  const status = make(native().functions, into) as number;
  const view = new DataView(into.buffer);
  return {
    status,
    handle: view.getBigUint64(layout.handle.offset, true),
    address: view.getBigUint64(layout.address.offset, true),
    errno: view.getInt32(layout.errno.offset, true),
    tracking: view.getUint32(layout.tracking.offset, true),
  };
}

/**
 * Whoever forgets an array may have given its buffer to another thread before: nothing tells. The
 * memory becomes ordinary zeroes then, and keeps its addresses.
 */
const forgotten = new FinalizationRegistry<bigint>((handle) => {
  native().functions.fl_memory_close!(handle, 0);
});

/** A Uint8Array over memory that native code made. */
export class OwnedBytes {
  /** The array; empty after `close()`. */
  readonly bytes: Uint8Array;
  readonly address: bigint;
  readonly #what: string;
  readonly #ready: Native;
  #handle: bigint;

  /**
   * @param what What it is, for errors.
   * @throws {RangeError} If the runtime has no arrays of that length.
   */
  constructor(what: string, { handle, address }: OpenedMemory, byteLength: number) {
    this.#what = what;
    this.#ready = native();
    this.#handle = handle;
    this.address = address;
    const { runtime, functions } = this.#ready;
    try {
      this.bytes = new Uint8Array(runtime.bufferOver(address, byteLength, functions));
    } catch (error) {
      functions.fl_memory_close!(handle, 1);
      if (!(error instanceof RangeError)) throw error;
      throw new RangeError(
        `Cannot make an array of ${byteLength} bytes as this runtime has none so long: use less`,
        { cause: error },
      );
    }
    // A view keeps its buffer: not before the last of them is gone is this one.
    forgotten.register(this.bytes.buffer, handle, this);
  }

  /** For native functions. */
  get handle(): bigint {
    if (this.#handle === 0n) {
      throw new FaultlineError("CLOSED", `Cannot use ${this.#what} as it is closed: open another`);
    }
    return this.#handle;
  }

  get closed(): boolean {
    return this.#handle === 0n;
  }

  /** Takes the memory from all arrays over it and gives it back; once more does nothing. */
  close(): void {
    if (this.#handle === 0n) return;
    const handle = this.#handle;
    this.#handle = 0n;
    forgotten.unregister(this);
    this.#ready.functions.fl_memory_close!(handle, detach(this.bytes.buffer) ? 1 : 0);
  }
}

/** Empties a buffer, and says whether that took its memory from everyone who had it. */
function detach(buffer: ArrayBufferLike): boolean {
  if (!(buffer instanceof ArrayBuffer) || buffer.detached) return false; // Somebody else has it.
  try {
    buffer.transfer(0);
  } catch (error) {
    // Refused to everyone, for instance by `markAsUntransferable`.
    if (!(error instanceof TypeError)) throw error;
  }
  return buffer.detached;
}
