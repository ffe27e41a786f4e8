/**
 * Prints the report of an exception that nobody caught, before the runtime prints the error with
 * its frames of JavaScript. Neither runtime looks at anything else that is made only when an error
 * is printed: both take the stack when it is thrown.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
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

function print(error: Reportable): void {
  try {
    const report = error.toReport();
    if (report.exception.signal === null) return;
    let rest: Uint8Array = new TextEncoder().encode(
      `${report.toText(textOptions({}, process.stderr))}\n\n`,
    );
    // A pipe may take a part.
    while (rest.byteLength > 0) rest = rest.subarray(writeSync(standardError, rest));
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
  process.on("uncaughtExceptionMonitor", (error: unknown) => {
    if (!isReportable(error, brand)) return;
    if (process.listenerCount("uncaughtException") === 0) print(error);
  });
}
