/**
 * Prints the report of an exception that nobody caught, before the runtime prints the error with
 * its frames of JavaScript.
 *
 * Both runtimes tell process listeners of an uncaught exception, and one of them of a rejection
 * that nobody handles, too. The other calls nobody for such a rejection, but its printer, which is
 * no JavaScript, asks the error for its own `cause` before it prints anything.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import type { CrashReport } from "./crash_report.ts";
import { textOptions } from "./terminal.ts";

const standardError = 2;

/** What is used of a HardwareException: it may come from another copy of this module. */
interface Reportable {
  readonly toReport: () => CrashReport;
}

function isReportable(error: unknown, brand: symbol): error is Reportable {
  return typeof error === "object" && error !== null && brand in error &&
    typeof (error as Partial<Reportable>).toReport === "function";
}

/** What was printed: the watcher and the printer may both come along. */
const printed = new WeakSet<object>();

function print(error: Reportable): void {
  if (printed.has(error)) return;
  printed.add(error);
  try {
    const report = error.toReport();
    if (report.exception.signal === null) return;
    let rest: Uint8Array = new TextEncoder().encode(
      `${report.toText(textOptions({}, builtin("node:process").stderr))}\n\n`,
    );
    // A pipe may take a part.
    while (rest.byteLength > 0) {
      rest = rest.subarray(builtin("node:fs").writeSync(standardError, rest));
    }
  } catch {
    // Nothing here may replace the error that is being reported.
  }
}

/**
 * Begins to watch, once per thread. A program that handles uncaught exceptions itself is left to
 * it.
 *
 * @param brand What marks a HardwareException.
 */
export function watchUncaught(brand: symbol): void {
  const key = Symbol.for("faultline.watchesUncaught");
  const holder = globalThis as unknown as Record<symbol, boolean | undefined>;
  if (holder[key] === true) return;
  Object.defineProperty(holder, key, { value: true });
  const process = builtin("node:process");
  process.on("uncaughtExceptionMonitor", (error: unknown) => {
    if (!isReportable(error, brand)) return;
    if (process.listenerCount("uncaughtException") === 0) print(error);
  });
}

/**
 * Whether native code called the getter that asks, with no JavaScript below it. Not known, so
 * false, where the program does not let stacks be taken.
 */
function isAskedByPrinter(): boolean {
  const { stackTraceLimit } = Error;
  try {
    // This function, the getter, and whoever asked it.
    Error.stackTraceLimit = 3;
    const { stack } = new Error();
    return stack?.match(/^\s+at /gm)?.length === 2;
  } catch {
    return false;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** `cause` is none, as of any error that was made without one; it can be given one later. */
const cause = Object.freeze({
  get(this: object): undefined {
    if (isAskedByPrinter()) print(this as Reportable);
  },
  set(this: object, value: unknown): void {
    Object.defineProperty(this, "cause", { value, writable: true, configurable: true });
  },
  configurable: true,
});

/**
 * Lets the runtime's printer of errors cause the report to be printed. One property, which costs a
 * fraction of a throw; nothing is made unless it is looked at.
 */
export function showToPrinter(error: Reportable): void {
  Object.defineProperty(error, "cause", cause);
}
