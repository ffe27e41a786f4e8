/**
 * Native frames as text.
 *
 * @module
 */
import type { StackFrame } from "./stack_frame.ts";
import type { Span } from "./styled_text.ts";

/** "0x10". */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

/** The last part of a path. Of another system's, too. */
export function baseName(path: string): string {
  return /[^/\\]+$/.exec(path)?.[0] ?? path;
}

/** "inner at fault.c:12", "strlen (libc.so.6)", "libc.so.6+0x8a10": short and without addresses. */
export function placeText({ symbol, file, line, module, offset, address }: StackFrame): string {
  if (symbol === null) return module === null ? hex(address) : `${baseName(module)}+${hex(offset)}`;
  if (file === null) return module === null ? symbol : `${symbol} (${baseName(module)})`;
  return `${symbol} at ${baseName(file)}${line === null ? "" : `:${line}`}`;
}

/** Where a frame lies in its source, or in its module. */
export function frameSpans(frame: StackFrame): readonly Span[] {
  const { symbol, file, line, column, module, offset, inlined, trust } = frame;
  const inModule = module === null ? "code of no file" : baseName(module);
  const spans: Span[] = symbol === null
    ? [["cyan", module === null ? inModule : `${inModule}+${hex(offset)}`]]
    : [["cyan", file === null ? `${symbol}+${hex(offset)}` : symbol]];
  if (file !== null) {
    const place = [file, line, column].filter((part) => part !== null).join(":");
    spans.push(` ${place}`);
  }
  if (symbol !== null) spans.push(["dim", ` (${inModule})`]);
  if (inlined) spans.push(["dim", " [inlined]"]);
  if (trust !== "context" && trust !== "cfi") {
    spans.push(["yellow", ` [${trust === "scan" ? "scan" : "frame pointer"}]`]);
  }
  return spans;
}

/** Frames to show, by index, and how many are left out behind them. */
export interface ShownFrames {
  readonly frames: readonly (readonly [number, StackFrame])[];
  readonly omitted: number;
  readonly tail: readonly (readonly [number, StackFrame])[];
}

/** At most `head` + `tail` of many frames: those next to the fault, and those next to the call. */
export function shownFrames(
  frames: readonly StackFrame[],
  head: number,
  tail: number,
): ShownFrames {
  const all = frames.map((frame, index) => [index, frame] as const);
  if (all.length <= head + tail) return { frames: all, omitted: 0, tail: [] };
  const end = all.length - tail;
  return { frames: all.slice(0, head), omitted: end - head, tail: all.slice(end) };
}
