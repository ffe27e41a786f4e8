/**
 * The text of a report: what happened in one line, then everything else, then a summary to search
 * for.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import { baseName, frameSpans, hex, placeText, shownFrames } from "./frame_text.ts";
import { doingText, isAccess, kindText } from "./headline.ts";
import { machine } from "./machine.ts";
import { placeOfFrame, sourceLines, type SourcePlace } from "./source_text.ts";
import type { StackFrame } from "./stack_frame.ts";
import {
  cutLine,
  harmless,
  line,
  renderLines,
  type Span,
  type StyledLine,
  type TextOptions,
} from "./styled_text.ts";
import { tellingRegister } from "./telling_register.ts";

/** Memory as it was when the report was made; null for a byte that could not be read. */
export interface MemoryNear {
  /** A multiple of 16. */
  readonly start: bigint;
  readonly bytes: readonly (number | null)[];
}

/** What the text is about. */
export interface ReportContent {
  readonly info: ExceptionInfo;
  readonly message: string;
  readonly backtrace: readonly StackFrame[];
  readonly memory: MemoryNear | null;
  /** Frames of JavaScript, innermost first. */
  readonly javascript: readonly string[];
}

function headLine({ info, backtrace }: ReportContent): StyledLine {
  const [frame] = backtrace;
  const doing = doingText(info);
  return line(
    4,
    `==${info.processId}==FAULTLINE: `,
    ["alarm", kindText(info)],
    doing === null ? "" : ` ${doing}`,
    frame === undefined ? "" : ` in ${placeText(frame)}`,
  );
}

/** Always the last line, for searching and for telling faults apart. */
function summaryLine({ info, backtrace }: ReportContent): StyledLine {
  const [frame] = backtrace;
  const overflow = info.type === "stack-overflow" ? "stack overflow " : "";
  const where = frame === undefined ? "" : ` in ${placeText(frame)}`;
  return line(4, ["bold", "SUMMARY: "], `FAULTLINE: ${overflow}${kindText(info)}${where}`);
}

const labelLength = 14;

function labelled(label: string, ...spans: readonly Span[]): StyledLine {
  return line(labelLength, ["dim", `  ${label.padEnd(labelLength - 3)} `], ...spans);
}

const bytesShown = 8;

function instructionSpans({ instruction, instructionPointer }: ExceptionInfo): readonly Span[] {
  if (instruction === null) return [`${hex(instructionPointer)}, which cannot be read`];
  const { bytes, text } = instruction;
  // Where the instruction ends only a disassembler could tell.
  const shown = Array.from(bytes.subarray(0, bytesShown), byteText).join(" ");
  return [
    ...(text === null ? [] : [["bold", text], "  "] as const),
    ["dim", `${shown} at ${hex(instructionPointer)}`],
  ];
}

function detailLines({ info, message }: ReportContent): StyledLine[] {
  const { address, explanation, call, hooksSkipped, suspects } = info;
  const what = shortMessage(message, info).replace(/ \([^()]*\)$/, "");
  const lines = [labelled("what", what)];
  if (address === null || !isAccess(info)) lines.push(labelled("why", explanation));
  else lines.push(labelled("address", `${hex(address)}, ${explanation}`));
  if (info.signal !== null) lines.push(labelled("instruction", ...instructionSpans(info)));
  const register = tellingRegister(info);
  if (register !== null) {
    const { name, value, meaning } = register;
    lines.push(labelled("register", ["yellow", `${name} = ${hex(value)}`], ` ${meaning}`));
  }
  if (call !== null) lines.push(labelled("call", `${call.symbol}() of ${call.library}`));
  lines.push(labelled("thread", `${info.threadId} of process ${info.processId}`));
  if (info.safety === "suspect") {
    const names = suspects.length === 0 ? "the signal mask was changed" : suspects.join(", ");
    lines.push(labelled("safety", ["yellow", "suspect"], `: ${names}`));
  }
  if (hooksSkipped !== null) lines.push(labelled("hooks", `skipped: ${hooksSkipped}`));
  return lines;
}

const headFrames = 24;
const tailFrames = 8;

function frameLines({ backtrace, info }: ReportContent): StyledLine[] {
  if (backtrace.length === 0) {
    return info.signal === null ? [] : [line(4, "  native frames are not known")];
  }
  const { frames, omitted, tail } = shownFrames(backtrace, headFrames, tailFrames);
  const digits = String(backtrace.length - 1).length;
  const show = ([index, frame]: readonly [number, StackFrame]): StyledLine => {
    const number = `  #${String(index).padEnd(digits)} `;
    const address = frame.address.toString(16).padStart(12, "0");
    return line(6, number, ["dim", `0x${address} `], ...frameSpans(frame));
  };
  const gap = omitted === 0 ? [] : [line(6, `  ... ${omitted} frames are left out ...`)];
  return [...frames.map(show), ...gap, ...tail.map(show)];
}

const linesBefore = 2;
const linesAfter = 1;

/** Expands tabs, as columns of compilers count them as one character. */
function visible(text: string): string {
  return harmless(text.replaceAll("\t", " "));
}

/** The source around a place, with a caret below its column; none when it cannot be read. */
function excerptLines(place: SourcePlace | null, width: number): StyledLine[] {
  const lines = place === null ? null : sourceLines(place.file);
  if (place === null || lines?.[place.line - 1] === undefined) return [];
  const first = Math.max(place.line - linesBefore, 1);
  const shown = lines.slice(first - 1, place.line + linesAfter);
  const digits = String(first + shown.length - 1).length;
  const gutter = (text: string): Span => ["dim", `  ${text.padStart(digits)} | `];
  const text = Array.from(visible(lines[place.line - 1]!));
  const column = Math.min(
    (place.column ?? 0) || 1 + text.findIndex((one) => one !== " "),
    text.length + 1,
  );
  const name = /^[\w$]+/.exec(text.slice(column - 1).join(""))?.[0].length ?? 1;
  // Where the caret would be cut off, all lines begin further right.
  const room = Math.max(width - digits - 5, 1);
  const skipped = Math.min(Math.max(column + name - room, 0), column - 1);
  const cut = (value: string): string => Array.from(value).slice(skipped).join("");
  const result = [line(4, ["dim", `  ${" ".repeat(digits)}--> `], `${place.file}:${place.line}`)];
  shown.forEach((one, index) => {
    result.push(cutLine(gutter(String(first + index)), cut(visible(one))));
    if (first + index !== place.line) return;
    const caret = `${" ".repeat(column - 1 - skipped)}${"^".repeat(name)}`;
    result.push(cutLine(gutter(""), ["red", caret]));
  });
  return result;
}

/** The innermost frame whose source can be shown. */
function nativeExcerpt({ backtrace }: ReportContent, width: number): StyledLine[] {
  for (const { file, line: number, column } of backtrace) {
    if (file === null || number === null) continue;
    const lines = excerptLines({ file, line: number, column }, width);
    if (lines.length > 0) return lines;
  }
  return [];
}

const portable = ["instructionPointer", "stackPointer", "framePointer", "flags"];

/** Machine names in the order that people know. */
function registerNames({ registers }: ExceptionInfo): readonly string[] {
  const first = machine.firstRegisters.filter((name) => name in registers);
  const skipped = new Set([...portable, ...first]);
  return [...first, ...Object.keys(registers).filter((name) => !skipped.has(name))];
}

const cellLength = 25;

function registerLines({ info }: ReportContent, width: number): StyledLine[] {
  if (info.signal === null) return [];
  const telling = tellingRegister(info)?.name;
  const names = registerNames(info);
  const perLine = Math.max(Math.floor(width / (cellLength + 2)), 1);
  const lines: StyledLine[] = [];
  for (let at = 0; at < names.length; at += perLine) {
    const spans = names.slice(at, at + perLine).flatMap((name): Span[] => {
      const digits = (info.registers[name] ?? 0n).toString(16).padStart(16, "0");
      const cell = `${name.padEnd(6)} 0x${digits}`;
      return ["  ", name === telling ? ["yellow", cell] : cell];
    });
    lines.push(line(4, ...spans));
  }
  return [line(4, ["bold", "Registers"]), ...lines];
}

function byteText(byte: number | null): string {
  return byte === null ? "??" : byte.toString(16).padStart(2, "0");
}

/** One row: its address, its bytes with the address that was accessed in brackets, its text. */
function memoryRow(start: bigint, bytes: readonly (number | null)[], marked: bigint): StyledLine {
  const spans: Span[] = [`  0x${start.toString(16).padStart(12, "0")} `];
  bytes.forEach((byte, index) => {
    const at = start + BigInt(index);
    const before = at === marked ? "[" : at === marked + 1n && index > 0 ? "]" : " ";
    const text = byteText(byte);
    spans.push(before, at === marked ? ["alarm", text] : byte === null ? ["dim", text] : text);
  });
  const isLast = start + BigInt(bytes.length) === marked + 1n;
  const text = bytes.map((byte) =>
    byte === null ? " " : byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."
  ).join("");
  return line(4, ...spans, isLast ? "]" : " ", ["dim", `|${text}|`]);
}

/** Bytes of one row in `width` columns: each takes four. */
function rowLength(width: number): number {
  if (width >= 19 + 16 * 4) return 16;
  return width >= 19 + 8 * 4 ? 8 : 4;
}

function memoryLines({ memory, info }: ReportContent, width: number): StyledLine[] {
  const { address } = info;
  if (memory === null || address === null || !isAccess(info)) return [];
  const { start, bytes } = memory;
  const length = rowLength(width);
  const lines = [line(4, ["bold", `Memory near ${hex(address)}`])];
  if (bytes.every((byte) => byte === null)) {
    const end = start + BigInt(bytes.length) - 1n;
    return [...lines, line(4, `  ??  nothing from ${hex(start)} to ${hex(end)} can be read`)];
  }
  // Few columns get fewer bytes, not more rows: the row of the address stays in the middle.
  for (let at = 0; at < bytes.length; at += length) {
    const row = start + BigInt(at);
    if (length < 16 && (address < row - 32n || address > row + 32n)) continue;
    lines.push(memoryRow(row, bytes.slice(at, at + length), address));
  }
  return lines;
}

function javascriptLines({ javascript }: ReportContent, width: number): StyledLine[] {
  if (javascript.length === 0) return [];
  const place = placeOfFrame(javascript[0]!);
  return [
    line(4, ["bold", "JavaScript"]),
    ...javascript.map((frame) => line(6, `  ${frame}`)),
    ...excerptLines(place, width),
  ];
}

/** What is shown between the head and the summary; sections without lines are left out. */
function sections(content: ReportContent, width: number): readonly StyledLine[][] {
  return [
    detailLines(content),
    [line(4, ["bold", "Native frames"]), ...frameLines(content), ...nativeExcerpt(content, width)],
    registerLines(content, width),
    memoryLines(content, width),
    javascriptLines(content, width),
  ];
}

/** The whole report. */
export function reportText(content: ReportContent, options: TextOptions): string {
  const parts = sections(content, options.width).filter((lines) => lines.length > 1);
  const lines = [headLine(content), ...parts.flatMap((part) => [...part, line(0)])];
  return renderLines([...lines, summaryLine(content)], options);
}

/** The library's file without folders, in place of its path. */
export function shortMessage(message: string, { call }: ExceptionInfo): string {
  return call === null ? message : message.replace(call.library, () => baseName(call.library));
}
