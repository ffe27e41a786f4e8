/**
 * Reports what nobody catches, before the process ends as it would have ended.
 *
 * @module
 */
import { crashFormat, crashRequestLayout as layout } from "./abi.ts";
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import { requireCapability } from "./capabilities.ts";
import { checkStatus, native } from "./native.ts";
import { symbolsPath } from "./symbols.ts";

/** The files that a report may consist of. */
export type CrashReportFormat = "text" | "json" | "minidump";

/**
 * Where reports of crashes go, and what they hold.
 *
 * @example Usage
 * ```ts
 * import { type CrashReporterOptions } from "faultline";
 *
 * const options: CrashReporterOptions = { directory: "crashes", maxReports: 10, redact: true };
 * console.log(options.directory);
 * ```
 */
export interface CrashReporterOptions {
  /**
   * Directory for ID.json, ID.dmp and ID.txt; created if missing. In its name `%p` stands for the
   * process id, `%t` for the time of the installation in seconds since 1970, `%%` for a percent
   * sign.
   */
  readonly directory: string | URL;
  /** What to write. Default: all three. */
  readonly formats?: readonly CrashReportFormat[];
  /** Also on standard error. Default true. */
  readonly stderr?: boolean;
  /**
   * At most 1000, sent ones included. The oldest are removed first; the marks of sent ones stay for
   * `sendReports`. Default: any number.
   */
  readonly maxReports?: number;
  /** Upper bound of one dump, at most 16 MiB. Default 1 MiB; stacks are cut first. */
  readonly maxBytes?: number;
  /** After this the process dies even if the report is not finished. Default 5000. */
  readonly deadlineMs?: number;
  /** Blank every stack word that does not point into a module or stack. */
  readonly redact?: boolean;
  /** Also dump, without dying, when this signal arrives. */
  readonly onDemand?: "SIGUSR1" | "SIGUSR2";
}

/** Numbers of Linux, include/uapi/asm-generic/signal.h. */
const onDemandSignals: Readonly<Record<string, number>> = { SIGUSR1: 10, SIGUSR2: 12 };
const formatNames: readonly CrashReportFormat[] = ["text", "json", "minidump"];
const pathMax = layout.directory.byteLength - 1;
const dumpMin = 4096;
const dumpMax = 16 * 1024 * 1024;
const deadlineMax = 10 * 60 * 1000;
/** As zig/inside/crash/files.zig has it. */
const reportsMax = 1000;

function refuse(what: string, value: unknown): never {
  throw new TypeError(
    `Cannot install the crash reporter as ${what}: current value is ${describeValue(value)}`,
  );
}

/** `value` between the bounds, or `otherwise` when it is undefined. */
function integer(
  name: string,
  value: unknown,
  bounds: readonly [number, number],
  otherwise: number,
): number {
  if (value === undefined) return otherwise;
  if (typeof value !== "number") refuse(`${name} must be a number`, value);
  const [low, high] = bounds;
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new RangeError(
      `Cannot install the crash reporter as ${name} must be an integer from ${low} to ${high}: ` +
        `current value is ${describeValue(value)}`,
    );
  }
  return value;
}

function flag(name: string, value: unknown, otherwise: boolean): boolean {
  if (value === undefined) return otherwise;
  if (typeof value !== "boolean") refuse(`${name} must be true or false`, value);
  return value;
}

/**
 * Names of files of reports: `%p` is the process id, `%t` the time in seconds since 1970, `%%` a
 * percent sign.
 */
export function expandPath(path: string): string {
  return path.replaceAll(/%[pt%]/g, (found) => {
    if (found === "%p") return String(builtin("node:process").pid);
    return found === "%t" ? String(Math.floor(Date.now() / 1000)) : "%";
  });
}

/** The path that an option names. */
function pathOption(name: string, value: unknown): string {
  const isFile = value instanceof URL && value.protocol === "file:";
  const path = isFile ? builtin("node:url").fileURLToPath(value) : value;
  if (typeof path !== "string" || path === "" || path.includes("\0")) {
    return refuse(`${name} must be a path or a file URL`, value);
  }
  return expandPath(path);
}

function formatBits(formats: unknown): number {
  if (formats === undefined) return formatBits(formatNames);
  if (!Array.isArray(formats)) refuse("formats must be an array", formats);
  let bits = 0;
  for (const name of formats as readonly unknown[]) {
    if (!formatNames.includes(name as CrashReportFormat)) {
      refuse(`each of formats must be one of ${formatNames.join(", ")}`, name);
    }
    bits |= crashFormat[name as CrashReportFormat];
  }
  return bits;
}

function onDemandSignal(name: unknown): number {
  if (name === undefined) return 0;
  const isKnown = typeof name === "string" && Object.hasOwn(onDemandSignals, name);
  return isKnown ? onDemandSignals[name]! : refuse("onDemand must be SIGUSR1 or SIGUSR2", name);
}

/** Where reports go when their own directory fails; asking may need a permission of its own. */
function temporaryDirectory(): string {
  try {
    return builtin("node:os").tmpdir();
  } catch {
    return "/tmp"; // What it is when the environment, which may not be read, does not say.
  }
}

/** The request as native code reads it. */
function makeRequest(options: CrashReporterOptions): { bytes: Uint8Array; directory: string } {
  const { formats, stderr, maxReports, maxBytes, deadlineMs, redact, onDemand } = options;
  const directory = pathOption("directory", options.directory);
  const bytes = new Uint8Array(layout.byteLength);
  const view = new DataView(bytes.buffer);
  const set = (field: { readonly offset: number }, value: number): void =>
    view.setUint32(field.offset, value, true);
  set(layout.size, layout.byteLength);
  set(layout.formats, formatBits(formats));
  set(layout.stderr, Number(flag("stderr", stderr, true)));
  set(layout.reports_max, integer("maxReports", maxReports, [1, reportsMax], 0));
  set(layout.bytes_max, integer("maxBytes", maxBytes, [dumpMin, dumpMax], 1024 * 1024));
  set(layout.deadline_ms, integer("deadlineMs", deadlineMs, [1, deadlineMax], 5000));
  set(layout.redact, Number(flag("redact", redact, false)));
  set(layout.on_demand, onDemandSignal(onDemand));
  const paths = { directory, temporary: temporaryDirectory(), symbols: symbolsPath() ?? "" };
  for (const [name, path] of Object.entries(paths)) {
    const encoded = new TextEncoder().encode(path);
    if (encoded.byteLength > pathMax) refuse(`directory must have ${pathMax} bytes at most`, path);
    bytes.set(encoded, layout[name as keyof typeof paths].offset);
  }
  return { bytes, directory };
}

/** Which installation is in force: a newer one takes the place of an older. */
let current: object | undefined;

/**
 * Reports every hardware exception that nobody catches, on every thread and also in calls through
 * the runtime's own FFI: text on standard error, and files in a directory. Then the process ends by
 * the exception's own signal, with a true wait status and core.
 *
 * A report is written by the process itself in the signal handler, with raw system calls. Its names
 * come from dynamic symbol tables; files and lines are looked up later, by whoever reads it. It
 * holds neither the environment nor the heap, but up to 32 KiB of stack.
 *
 * @param options Where to, and what. A second installation takes the place of the first.
 * @returns Disposing it disarms the reporter; the signal handlers stay.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If a number is out of its range.
 * @throws {FaultlineError} With code NOT_SUPPORTED where there is no crash reporter, for the reason
 * that `capabilities.crashReporter` gives.
 * @throws {Error} If the directory cannot be made or opened.
 *
 * @example Usage
 * ```ts
 * import { installCrashReporter } from "faultline";
 *
 * using _reporter = installCrashReporter({ directory: "/tmp/crashes-%p", maxReports: 5 });
 * ```
 */
export function installCrashReporter(options: CrashReporterOptions): Disposable {
  if (typeof options !== "object" || options === null) {
    refuse("the options are not an object", options);
  }
  requireCapability("crashReporter", "Cannot install the crash reporter");
  const { bytes, directory } = makeRequest(options);
  builtin("node:fs").mkdirSync(directory, { recursive: true, mode: 0o700 });
  checkStatus(
    native().functions.fl_crash_install!(bytes, bytes.byteLength) as number,
    `Cannot install the crash reporter for ${directory}`,
  );
  const installation = {};
  current = installation;
  return {
    [Symbol.dispose](): void {
      if (current !== installation) return;
      current = undefined;
      native().functions.fl_crash_uninstall!();
    },
  };
}
