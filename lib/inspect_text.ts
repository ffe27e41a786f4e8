/**
 * What `console.log` and the runtimes' `inspect` show of an exception: a compact block.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import { frameSpans, hex, shownFrames } from "./frame_text.ts";
import { shortMessage } from "./report_text.ts";
import { javascriptFrames } from "./source_text.ts";
import type { StackFrame } from "./stack_frame.ts";
import { line, renderLines, type StyledLine } from "./styled_text.ts";
import { tellingRegister } from "./telling_register.ts";

/** Shows another value with the options that this one is shown with. */
export type InspectValue = (value: unknown) => string;

/** What is shown. */
export interface InspectedException {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly info: ExceptionInfo;
  readonly backtrace: readonly StackFrame[];
  /** What else the error holds, by the name that it is shown under. */
  readonly others: Readonly<Record<string, unknown>>;
}

/** What the runtime asks with. */
export interface InspectAsked {
  readonly color: boolean;
  /** The value lies deeper than the runtime shows values. */
  readonly isNamedOnly: boolean;
  readonly inspect: InspectValue;
}

const headFrames = 5;

function explanationLines(info: ExceptionInfo): StyledLine[] {
  const { address, explanation, safety, suspects, signal } = info;
  if (signal === null) return [];
  const lines = [line(4, `    ${address === null ? "" : `${hex(address)}: `}${explanation}`)];
  const register = tellingRegister(info);
  if (register !== null) {
    const { name, value, meaning } = register;
    lines.push(line(4, "    ", ["yellow", `${name} = ${hex(value)}`], ` ${meaning}`));
  }
  if (safety === "suspect") {
    const names = suspects.length === 0 ? "the signal mask was changed" : suspects.join(", ");
    lines.push(line(4, "    the process is ", ["yellow", "suspect"], `: ${names}`));
  }
  return lines;
}

function nativeLines(backtrace: readonly StackFrame[]): StyledLine[] {
  const { frames, omitted } = shownFrames(backtrace, headFrames, 0);
  const lines = frames.map(([index, frame]) => line(8, `    #${index} `, ...frameSpans(frame)));
  return omitted === 0 ? lines : [...lines, line(8, `    ... ${omitted} more native frames`)];
}

/** The block: message, code, what explains it, native frames, JavaScript frames, the rest. */
export function inspectText(exception: InspectedException, asked: InspectAsked): string {
  const { name, message, stack, info, backtrace, others } = exception;
  const { color, isNamedOnly, inspect } = asked;
  if (isNamedOnly) return `[${name}: ${info.code}]`;
  const lines = [
    line(4, ["alarm", name], `: ${shortMessage(message, info)}`),
    ...explanationLines(info),
    ...nativeLines(backtrace),
    ...javascriptFrames(stack).map((frame) => line(8, `    ${frame}`)),
  ];
  const text = renderLines(lines, { color, width: Number.MAX_SAFE_INTEGER });
  const { code } = info;
  const hasOthers = Object.keys(others).length > 0;
  return `${text} ${hasOthers ? inspect({ code, ...others }) : `{ code: "${code}" }`}`;
}
