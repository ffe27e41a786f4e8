/**
 * Where every thread of the process is, now.
 *
 * @module
 */
import { nativeStatus, threadDumpLayout as layout } from "./abi.ts";
import { namedFrames } from "./backtrace.ts";
import { requireCapability } from "./capabilities.ts";
import { checkStatus, native } from "./native.ts";
import type { StackFrame } from "./stack_frame.ts";
import type { RawFrame } from "./symbols.ts";

/**
 * One thread, and where it was.
 *
 * @example Usage
 * ```ts
 * import { dumpThreads, type ThreadDump } from "faultline";
 *
 * const busy = ({ name, backtrace }: ThreadDump): string => `${name}: ${backtrace[0]?.symbol}`;
 * console.log(dumpThreads().map(busy).length > 0); // true
 * ```
 */
export interface ThreadDump {
  /** The kernel's thread id. */
  readonly threadId: number;
  /** As the kernel knows it: up to 15 bytes. */
  readonly name: string;
  /** Innermost first; empty for a thread that could not be stopped in time. */
  readonly backtrace: readonly StackFrame[];
}

const threadsMax = 129;
const trustNames = ["context", "cfi", "frame-pointer", "scan"] as const;

function readFrames(view: DataView, at: number): RawFrame[] {
  const count = view.getUint32(at + layout.frame_count.offset, true);
  return Array.from({ length: count }, (_, index) => {
    const frame = at + layout.frames.offset + index * 16;
    return {
      address: view.getBigUint64(frame, true),
      trust: trustNames[view.getUint32(frame + 8, true)] ?? "scan",
      exact: view.getUint32(frame + 12, true) !== 0,
    };
  });
}

/**
 * Every thread's native stack, now, without dying: the calling thread first. A helper process stops
 * each other thread for a moment. Frames of JavaScript have no names.
 *
 * @throws {Error} If other threads cannot be read: when a debugger traces the process, or a policy
 * of the system forbids it.
 *
 * @example Usage
 * ```ts
 * import { dumpThreads } from "faultline";
 *
 * for (const { threadId, name, backtrace } of dumpThreads()) {
 *   console.log(threadId, name, backtrace.length);
 * }
 * ```
 */
export function dumpThreads(): readonly ThreadDump[] {
  requireCapability("crashReporter", "Cannot read the threads");
  const bytes = new Uint8Array(threadsMax * layout.byteLength);
  const count = native().functions.fl_threads_dump!(bytes, bytes.byteLength) as number;
  if (count === nativeStatus.not_supported) {
    throw new Error(
      "Cannot read the other threads as the system does not let a helper process trace this one: " +
        "detach its debugger, or allow ptrace",
    );
  }
  checkStatus(count, "Cannot read the threads");
  const view = new DataView(bytes.buffer);
  const decoder = new TextDecoder();
  return Object.freeze(Array.from({ length: count }, (_, index) => {
    const at = index * layout.byteLength;
    const nameAt = at + layout.name.offset;
    const nameLength = view.getUint32(at + layout.name_length.offset, true);
    return Object.freeze({
      threadId: view.getUint32(at + layout.thread_id.offset, true),
      name: decoder.decode(bytes.subarray(nameAt, nameAt + nameLength)),
      backtrace: namedFrames(readFrames(view, at)),
    });
  }));
}
