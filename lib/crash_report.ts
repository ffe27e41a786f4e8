/**
 * The report of one exception: everything that is known, collected when it is asked for.
 *
 * @module
 */
import { makeMinidump } from "./crash_dump.ts";
import { makeSvg } from "./crash_picture.ts";
import { readAvailable } from "./exception_details.ts";
import type { ExceptionBytes, ExceptionInfo } from "./exception_info.ts";
import type { LoadedModule } from "./loaded_module.ts";
import { allMappings, loadedModules } from "./module_list.ts";
import { type MemoryNear, reportText } from "./report_text.ts";
import { signatureOf } from "./signature.ts";
import { javascriptFrames } from "./source_text.ts";
import type { StackFrame } from "./stack_frame.ts";
import { storedStack } from "./stored_stack.ts";
import { textOptions } from "./terminal.ts";

/**
 * What is known about one exception.
 *
 * @example Usage
 * ```ts
 * import { catchException, type CrashReport, dlopen } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
 * const result = catchException(() => libc.symbols.strlen(16n));
 * if (!result.ok) {
 *   const report: CrashReport = result.error.toReport();
 *   console.log(report.toText({ width: 100 }));
 * }
 * ```
 */
export interface CrashReport {
  readonly version: 1;
  /** Names this report; another one of the same exception has another id. */
  readonly id: string;
  /**
   * Equal for the same fault in another run, also on another machine: the type, and the modules and
   * functions of the innermost frames.
   */
  readonly signature: string;
  readonly exception: ExceptionInfo;
  /** Innermost first. */
  readonly backtrace: readonly StackFrame[];
  /**
   * The files that code of the process comes from, by address, looked up at first use. None for an
   * exception from another process.
   */
  readonly modules: readonly LoadedModule[];
  /**
   * The report as text for people; its last line begins with "SUMMARY".
   *
   * @param options `color` wins over NO_COLOR; by default it is on when standard output is a
   * terminal. `width` is the terminal's by default, 80 without one; lines are longer only where
   * they are one word.
   * @throws {RangeError} If `width` is no integer of at least 1.
   */
  toText(options?: { color?: boolean; width?: number }): string;
  /**
   * A picture of the address space as an SVG document: what lies next to the address, the stack
   * with its guard, the code, and the registers and callers that point there, each strip to its own
   * scale. It needs nothing else, and suits light and dark ground. Mappings are those of now.
   */
  toSvg(): string;
  /**
   * The report as a minidump, which minidump-stackwalk, lldb, Sentry and Crashpad's collectors
   * read: the registers and the innermost 12 KiB of the stack as they were, the bytes around the
   * instruction and the address, modules with build ids, all mappings. No environment variables and
   * no other memory.
   *
   * @throws {FaultlineError} NOT_SUPPORTED if no processor raised the exception.
   */
  toMinidump(): Uint8Array;
}

/** What a report is made of. */
export interface ReportedException {
  readonly info: ExceptionInfo;
  readonly message: string;
  readonly stack: string | undefined;
  readonly backtrace: readonly StackFrame[];
  /** What the handler wrote; null when the exception did not happen in this process. */
  readonly bytes: ExceptionBytes | null;
}

const rowLength = 16;
const rowsBefore = 3n;
const rowsAfter = 4n;
const memoryEnd = 2n ** 64n;

/** Reads what lies around `address`: whole rows, each of which lies in one page. */
function memoryNear(address: bigint): MemoryNear {
  const step = BigInt(rowLength);
  const row = address - address % step;
  const start = row > rowsBefore * step ? row - rowsBefore * step : 0n;
  const last = row + rowsAfter * step;
  const end = last < memoryEnd ? last : memoryEnd;
  const bytes: (number | null)[] = [];
  for (let at = start; at < end; at += step) {
    const read = readAvailable(at, rowLength);
    for (let index = 0; index < rowLength; index += 1) bytes.push(read[index] ?? null);
  }
  return { start, bytes };
}

/** Collects a report now; its text is made when it is asked for. */
export function makeReport(reported: ReportedException): CrashReport {
  const { info, message, stack, backtrace, bytes } = reported;
  const isOwn = bytes !== null;
  let modules: readonly LoadedModule[] | undefined;
  const memory = isOwn && info.address !== null ? memoryNear(info.address) : null;
  const javascript = javascriptFrames(stack);
  const content = { info, message, backtrace, memory, javascript };
  const id = crypto.randomUUID();
  return Object.freeze({
    version: 1,
    id,
    signature: signatureOf(info.type, backtrace),
    exception: info,
    backtrace,
    get modules(): readonly LoadedModule[] {
      return modules ??= isOwn ? loadedModules() : Object.freeze([]);
    },
    toText: (options?: { color?: boolean; width?: number }): string =>
      reportText(content, textOptions(options)),
    toSvg: (): string =>
      makeSvg({
        ...{ id, info, backtrace },
        mappings: isOwn ? allMappings() : null,
        isComplete: isOwn,
        stack: isOwn ? storedStack(bytes) : null,
      }),
    toMinidump: (): Uint8Array => makeMinidump({ info, message, javascript, bytes }),
  });
}
