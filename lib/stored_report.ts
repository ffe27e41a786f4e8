/**
 * Reads ID.json, which the crash reporter wrote when a process died.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import type { ExceptionInfo } from "./exception_info.ts";
import { exceptionFromJson } from "./exception_json.ts";
import type { ExplainedMapping } from "./explanation.ts";
import { makeSvg } from "./crash_picture.ts";
import { reportText } from "./report_text.ts";
import type { StackFrame } from "./stack_frame.ts";
import type { TextOptions } from "./styled_text.ts";

/** A report from a file. */
export interface StoredReport {
  readonly id: string;
  /** ISO 8601, in UTC. */
  readonly time: string;
  readonly reason: string;
  readonly signature: string;
  /** Path of the program that ran. */
  readonly runtime: string | null;
  readonly info: ExceptionInfo;
  readonly backtrace: readonly StackFrame[];
  /** Lowest first: those next to what the exception was about. */
  readonly mappings: readonly ExplainedMapping[];
}

type Fields = Readonly<Record<string, unknown>>;

function refuse(field: string, value: unknown, expected: string): never {
  throw new TypeError(
    `Cannot read a crash report as its ${field} must be ${expected}: current value is ` +
      describeValue(value),
  );
}

function textOf(fields: Fields, name: string): string {
  const value = fields[name];
  return typeof value === "string" ? value : refuse(name, value, "text");
}

function wide(value: unknown, field: string): bigint {
  const isWide = typeof value === "string" && /^0x[0-9a-f]{1,16}$/.test(value);
  return isWide ? BigInt(value) : refuse(field, value, '"0x" text of at most 64 bits');
}

function mappingOf(value: unknown, index: number): ExplainedMapping {
  const field = `mappings[${index}]`;
  if (typeof value !== "object" || value === null) return refuse(field, value, "an object");
  const { start, end, protection, path } = value as Fields;
  if (typeof protection !== "string") {
    return refuse(`${field}.protection`, protection, "text");
  }
  if (path !== null && typeof path !== "string") {
    return refuse(`${field}.path`, path, "text or null");
  }
  return {
    ...{ protection, path },
    start: wide(start, `${field}.start`),
    end: wide(end, `${field}.end`),
  };
}

const format = "faultline.crash";
const version = 1;

/** The object that the text holds. */
function parse(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? value as Fields : refuse("JSON", value, "an object");
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new TypeError(`Cannot read a crash report as it is no JSON: ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * Reads the text of an ID.json.
 *
 * @throws {TypeError} If it has another shape; the message names the field.
 */
export function readStoredReport(text: string): StoredReport {
  const fields = parse(text);
  if (fields.format !== format) refuse("format", fields.format, `"${format}"`);
  if (!Number.isSafeInteger(fields.version) || (fields.version as number) < version) {
    refuse("version", fields.version, `${version} or above`);
  }
  const { exception, backtrace, mappings, runtime } = fields;
  if (!Array.isArray(mappings)) return refuse("mappings", mappings, "an array");
  const { info } = exceptionFromJson({
    ...{ format: "faultline.exception", version: 1, message: "" },
    info: { ...exception as object, backtrace },
  });
  return {
    id: textOf(fields, "id"),
    time: textOf(fields, "time"),
    reason: textOf(fields, "reason"),
    signature: textOf(fields, "signature"),
    runtime: typeof runtime === "string" ? runtime : null,
    info,
    backtrace: info.backtrace(),
    mappings: mappings.map(mappingOf),
  };
}

const reasons: Readonly<Record<string, string>> = {
  "crash": "the process ended with this exception",
  "on-demand": "a signal asked for this report, and the process went on",
  "watchdog": "the watchdog asked for this report, and the process went on",
};

/** The report as text for people. */
export function storedText(
  { info, backtrace, reason }: StoredReport,
  options: TextOptions,
): string {
  const message = reasons[reason] ?? reason;
  return reportText({ info, message, backtrace, memory: null, javascript: [] }, options);
}

/** The report's picture. */
export function storedSvg({ id, info, backtrace, mappings }: StoredReport): string {
  return makeSvg({ id, info, backtrace, mappings, isComplete: false, stack: null });
}
