/**
 * A watchdog that tells where the process is when it takes too long.
 *
 * @module
 */
import { watchFlag } from "./abi.ts";
import { expandPath } from "./crash_reporter.ts";
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import { requireCapability } from "./capabilities.ts";
import { checkStatus, native } from "./native.ts";
import { symbolsPath } from "./symbols.ts";

const timeoutMax = 2 ** 31 - 1;

function refuse(what: string, value: unknown): never {
  throw new TypeError(
    `Cannot start a watchdog as ${what}: current value is ${describeValue(value)}`,
  );
}

function checkTimeout(timeoutMs: unknown): number {
  if (typeof timeoutMs !== "number") refuse("timeoutMs must be a number", timeoutMs);
  if (!Number.isInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > timeoutMax) {
    throw new RangeError(
      `Cannot start a watchdog as timeoutMs must be an integer from 1 to ${timeoutMax}: current ` +
        `value is ${describeValue(timeoutMs)}`,
    );
  }
  return timeoutMs;
}

function flagBit(name: "repeat" | "exit", value: unknown): number {
  if (value !== undefined && typeof value !== "boolean") {
    refuse(`${name} must be true or false`, value);
  }
  return value ? watchFlag[name] : 0;
}

/** The path as a text that ends with a zero; empty for standard error. */
function pathBytes(path: unknown): Uint8Array {
  if (path === undefined) return new Uint8Array(1);
  const isFile = path instanceof URL && path.protocol === "file:";
  const text = isFile ? builtin("node:url").fileURLToPath(path) : path;
  if (typeof text !== "string" || text === "" || text.includes("\0")) {
    refuse("path must be a path or a file URL", path);
  }
  return new TextEncoder().encode(`${expandPath(text)}\0`);
}

/**
 * Writes where all threads are, as text, when it is not cancelled in time: also while native code
 * blocks this thread, because a native thread waits for it. It does not keep the program running.
 *
 * @param timeoutMs After how long.
 * @param options `repeat`: again after each such time. `exit`: then end the process with code 124,
 * without any cleaning up. `path`: a file, emptied now, in whose name `%p` stands for the process
 * id and `%t` for the seconds since 1970; standard error by default.
 * @returns Disposing it cancels it.
 * @throws {TypeError} If an argument has the wrong type.
 * @throws {RangeError} If `timeoutMs` is no integer from 1 on.
 * @throws {Error} If the file or the thread cannot be made.
 *
 * @example Usage
 * ```ts
 * import { dumpLater } from "faultline";
 *
 * {
 *   using _watchdog = dumpLater(5000);
 *   // Work that should be over by then.
 * }
 * ```
 */
export function dumpLater(
  timeoutMs: number,
  options: { repeat?: boolean; exit?: boolean; path?: string | URL } = {},
): Disposable {
  const timeout = checkTimeout(timeoutMs);
  requireCapability("crashReporter", "Cannot start a watchdog");
  if (typeof options !== "object" || options === null) {
    refuse("the options are not an object", options);
  }
  const flags = flagBit("repeat", options.repeat) | flagBit("exit", options.exit);
  const path = pathBytes(options.path);
  const symbols = new TextEncoder().encode(`${symbolsPath() ?? ""}\0`);
  const { functions } = native();
  const id = functions.fl_watch_start!(timeout, flags, path, symbols) as number;
  checkStatus(
    id,
    `Cannot start a watchdog${options.path ? ` that writes to ${options.path}` : ""}`,
  );
  let isOver = false;
  return {
    [Symbol.dispose](): void {
      if (isOver) return;
      isOver = true;
      functions.fl_watch_stop!(id);
    },
  };
}
