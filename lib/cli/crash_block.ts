/**
 * Shows a caught exception as a block of text: what happened, the JavaScript line that called, and
 * the instruction that failed with the register that explains it.
 *
 * @module
 */
import { basename, dirname, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { HardwareException } from "../hardware_exception.ts";
import { tellingRegister } from "../telling_register.ts";
import { fit, lineWidth, paint, printedLength, wrap } from "./style.ts";

/** Where an instruction lies, and its first bytes. */
export interface Place {
  readonly address: bigint;
  /** Name of the library's file without folders; null when it lies in none. */
  readonly library: string | null;
  readonly offset: bigint;
  /** The exported function around it; null when the library does not name it. */
  readonly symbol: string | null;
  readonly symbolOffset: bigint;
  /** The bytes at the instruction; empty when they cannot be read. */
  readonly bytes: Uint8Array;
}

/** One line of JavaScript. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly text: string;
}

const packageRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** The innermost frame of `error` that lies in `file`, with its text. */
export function sourceLine(error: Error, file: string, source: string): SourceLine | null {
  for (const frame of (error.stack ?? "").split("\n")) {
    const match = /(file:\/\/[^\s()]+|\/[^()]*?):(\d+):(\d+)\)?$/.exec(frame);
    if (match === null) continue;
    const [, where, line, column] = match as unknown as [string, string, string, string];
    const path = where.startsWith("file:") ? fileURLToPath(where) : where;
    if (path !== file) continue;
    const text = source.split("\n")[Number(line) - 1] ?? "";
    return { file, line: Number(line), column: Number(column), text };
  }
  return null;
}

function hexBytes(bytes: Uint8Array, separator: string): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(separator);
}

function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** A heading across the line: number and title on the left, `right` at the end. */
export function heading(mark: string, title: string, right: string): string {
  const rule = lineWidth() - printedLength(`${mark}  ${title}  ${right} `);
  return `${mark} ${title} ${paint("dim", "━".repeat(Math.max(rule, 2)))} ${right}`;
}

function instructionLine(place: Place): string {
  const { address, library, offset, symbol, symbolOffset, bytes } = place;
  const inside = library === null ? hex(address) : `${library}+${hex(offset)}`;
  const where = symbol === null ? inside : `${symbol}+${hex(symbolOffset)} (${inside})`;
  // Where the instruction ends only a disassembler could tell.
  const code = hexBytes(bytes.subarray(0, 8), " ");
  return code === "" ? paint("cyan", where) : `${paint("cyan", where)}  ${paint("dim", code)}`;
}

function sourceLines(source: SourceLine): readonly [string, string, string] {
  const indent = source.text.length - source.text.trimStart().length;
  const caret = Math.max(source.column - 1 - indent, 0);
  const name = /^[\w$]+/.exec(source.text.slice(source.column - 1))?.[0] ?? " ";
  const path = relative(packageRoot, source.file);
  return [
    `${path.startsWith("..") ? basename(path) : path}:${source.line}:${source.column}`,
    source.text.trim(),
    `${" ".repeat(caret)}${paint("red", "^".repeat(name.length))}`,
  ];
}

/** The message without what the heading says, and with the library's name in place of its path. */
function sentence({ message, info }: HardwareException): string {
  const path = info.call?.library ?? "";
  return message.replace(/ \([^()]*\)$/, "").replace(path, basename(path));
}

/** What a block shows. */
export interface CrashBlock {
  readonly number: number;
  readonly title: string;
  readonly error: HardwareException;
  readonly place: Place;
  readonly source: SourceLine | null;
  /** Something to add, or null. */
  readonly note: string | null;
}

/** The lines of a block. */
export function crashBlock(block: CrashBlock): string[] {
  const { error, place, source, note } = block;
  const { info } = error;
  const width = lineWidth();
  const signal = `${paint(["bold", "red"], info.signal ?? "no signal")} ${info.code}`;
  const mark = paint(["inverse", "red"], ` ${block.number} `);
  const lines = [heading(mark, paint("bold", block.title), signal)];
  lines.push(...wrap(sentence(error), width - 4).map((line) => `    ${line}`));
  const bar = paint("dim", "│");
  const gutter = (text: string): string => paint("dim", text.padStart(4));
  if (source !== null) {
    const [where, text, caret] = sourceLines(source);
    lines.push(`${gutter("")} ${paint("dim", "╭─")} ${where}`);
    lines.push(`${gutter(String(source.line))} ${bar}  ${fit(text, width - 8)}`);
    lines.push(`${gutter("")} ${bar}  ${caret}`);
  }
  lines.push(`${gutter("")} ${paint("dim", "╰─")} ${instructionLine(place)}`);
  const register = tellingRegister(info);
  if (register !== null) {
    const { name, value, meaning } = register;
    lines.push(`        ${paint("yellow", `${name} = ${hex(value)}`)}  ${paint("dim", meaning)}`);
  }
  if (note !== null) lines.push(`        ${paint("dim", note)}`);
  return lines;
}
