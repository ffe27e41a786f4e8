/**
 * Shows a caught exception as a block of text: what happened, the JavaScript line that called, the
 * native frames, and the register that explains it. It is made of the lines of a report, of which
 * five in a row would be too long to read.
 *
 * @module
 */
import { dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { frameSpans, hex, shownFrames } from "../frame_text.ts";
import type { HardwareException } from "../hardware_exception.ts";
import { shortMessage } from "../report_text.ts";
import { javascriptFrames, placeOfFrame, sourceLines } from "../source_text.ts";
import { cutLine, line, type Span, type StyledLine } from "../styled_text.ts";
import { tellingRegister } from "../telling_register.ts";

const here = import.meta.url;
const packageRoot = here.startsWith("file:") ? dirname(dirname(dirname(fileURLToPath(here)))) : "/";

/** A heading across `width` columns: a mark and a title on the left, `right` at the end. */
export function heading(
  mark: Span,
  title: string,
  right: readonly Span[],
  width: number,
): StyledLine {
  const length = [mark, ...right].reduce((sum, span) => {
    return sum + (typeof span === "string" ? span : span[1]).length;
  }, title.length + 4);
  const rule = "━".repeat(Math.max(width - length, 2));
  return cutLine(mark, " ", ["bold", title], " ", ["dim", rule], " ", ...right);
}

const gutterLength = 4;

function gutter(text: string, mark: string): Span {
  return ["dim", `${text.padStart(gutterLength)} ${mark} `];
}

/** The line of `file` that made the call, with a caret below what was called. */
function callLines({ stack }: HardwareException, file: string): StyledLine[] {
  const frames = javascriptFrames(stack, false).map(placeOfFrame);
  const place = frames.find((one) => one?.file === file);
  if (place === undefined || place === null) return [];
  const text = sourceLines(file)?.[place.line - 1] ?? "";
  const shown = text.trimStart();
  const column = Math.max((place.column ?? 1) - 1 - (text.length - shown.length), 0);
  const name = /^[\w$]+/.exec(shown.slice(column))?.[0] ?? " ";
  const path = relative(packageRoot, file);
  const where = [path, place.line, place.column].filter((part) => part !== null).join(":");
  return [
    line(8, gutter("", "╭─"), where),
    cutLine(gutter(String(place.line), "│"), ` ${shown}`),
    cutLine(gutter("", "│"), ` ${" ".repeat(column)}`, ["red", "^".repeat(name.length)]),
  ];
}

const framesMax = 3;

function nativeLines({ info }: HardwareException): StyledLine[] {
  const { frames, omitted } = shownFrames(info.backtrace(), framesMax, 0);
  const lines = frames.map(([index, frame]) =>
    line(10, gutter("", index === 0 ? "╰─" : "  "), `#${index} `, ...frameSpans(frame))
  );
  return omitted === 0 ? lines : [...lines, line(8, ["dim", `        ... ${omitted} more`])];
}

/** What a block shows. */
export interface CrashBlock {
  readonly number: number;
  readonly title: string;
  readonly error: HardwareException;
  /** The file whose line made the call. */
  readonly file: string;
  /** Something to add, or null. */
  readonly note: string | null;
}

/** The lines of a block. */
export function crashBlock(block: CrashBlock, width: number): StyledLine[] {
  const { error, file, note, number, title } = block;
  const { info, message } = error;
  const kind: readonly Span[] = [["alarm", info.signal ?? "no signal"], ` ${info.code}`];
  const what = shortMessage(message, info).replace(/ \([^()]*\)$/, "");
  const where = info.address === null || info.access === null ? "" : `${hex(info.address)}: `;
  const lines = [
    heading(["badMark", ` ${number} `], title, kind, width),
    line(4, `    ${what}`),
    line(4, ["dim", `    ${where}${info.explanation}`]),
    ...callLines(error, file),
    ...nativeLines(error),
  ];
  const register = tellingRegister(info);
  if (register !== null) {
    const { name, value, meaning } = register;
    lines.push(line(8, "        ", ["yellow", `${name} = ${hex(value)}`], ["dim", `  ${meaning}`]));
  }
  if (note !== null) lines.push(line(8, ["dim", `        ${note}`]));
  return lines;
}
