/**
 * Lines of text with styles, broken between words to a width and printed with or without colour.
 *
 * @module
 */

const styleCodes = {
  bold: "1",
  dim: "2",
  red: "31",
  green: "32",
  yellow: "33",
  cyan: "36",
  alarm: "1;31",
  success: "1;32",
  badMark: "7;31",
  goodMark: "7;32",
} as const;

/** How a piece of text looks. */
export type Style = keyof typeof styleCodes;

/** A piece of a line. */
export type Span = string | readonly [Style, string];

/** One line before it is broken. */
export interface StyledLine {
  readonly spans: readonly Span[];
  /** Columns that what follows a break begins with. */
  readonly hang: number;
  /** Cut at the width instead of broken. */
  readonly cut: boolean;
}

/** A line that is broken between words; `hang` is the indentation of its rest. */
export function line(hang: number, ...spans: readonly Span[]): StyledLine {
  return { spans, hang, cut: false };
}

/** A line that is cut at the width: program text, whose columns count. */
export function cutLine(...spans: readonly Span[]): StyledLine {
  return { spans, hang: 0, cut: true };
}

/** How lines are printed. */
export interface TextOptions {
  readonly color: boolean;
  readonly width: number;
}

interface Cell {
  readonly character: string;
  readonly style: Style | null;
}

const blank: Cell = { character: " ", style: null };

/** Names and paths come from files: what would steer a terminal is shown as U+FFFD. */
export function harmless(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "\ufffd");
}

function cellsOf(spans: readonly Span[]): Cell[] {
  return spans.flatMap((span) => {
    const [style, text] = typeof span === "string" ? [null, span] as const : span;
    return Array.from(harmless(text), (character) => ({ character, style }));
  });
}

const isBlank = ({ character }: Cell): boolean => character === " ";

function trimEnd(cells: readonly Cell[]): Cell[] {
  return cells.slice(0, cells.findLastIndex((cell) => !isBlank(cell)) + 1);
}

/** `cells` behind at most `indent` columns, fewer where its first word needs them. */
function indented(cells: readonly Cell[], indent: number, width: number): Cell[] {
  const start = cells.findIndex((cell) => !isBlank(cell));
  if (start < 0) return [];
  const word = cells.slice(start);
  const end = word.findIndex(isBlank);
  const room = Math.max(width - (end < 0 ? word.length : end), 0);
  return [...Array<Cell>(Math.min(indent, room)).fill(blank), ...word];
}

/** Breaks between words; a line is longer than `width` only where it is one word. */
function breakCells(cells: readonly Cell[], hang: number, width: number): Cell[][] {
  const lines: Cell[][] = [];
  const indent = Math.max(cells.findIndex((cell) => !isBlank(cell)), 0);
  let rest = trimEnd(cells);
  if (rest.length > width) rest = indented(rest, indent, width);
  while (rest.length > width) {
    const first = rest.findIndex((cell) => !isBlank(cell));
    const firstEnd = rest.findIndex((cell, index) => index > first && isBlank(cell));
    if (firstEnd < 0) break;
    const at = Math.max(
      rest.slice(0, width + 1).findLastIndex((cell, index) => index >= firstEnd && isBlank(cell)),
      firstEnd,
    );
    lines.push(trimEnd(rest.slice(0, at)));
    rest = indented(rest.slice(at), hang, width);
  }
  return [...lines, rest];
}

function print(cells: readonly Cell[], color: boolean): string {
  if (!color) return cells.map(({ character }) => character).join("");
  let text = "";
  let current: Style | null = null;
  for (const { character, style } of cells) {
    if (style !== current) {
      if (current !== null) text += "\u001b[0m";
      if (style !== null) text += `\u001b[${styleCodes[style]}m`;
      current = style;
    }
    text += character;
  }
  return current === null ? text : `${text}\u001b[0m`;
}

/** The lines as one text, without a line feed at its end. */
export function renderLines(lines: readonly StyledLine[], { color, width }: TextOptions): string {
  return lines.flatMap(({ spans, hang, cut }) => {
    const cells = cellsOf(spans);
    if (!cut) return breakCells(cells, hang, width);
    if (cells.length <= width) return [trimEnd(cells)];
    return [[...cells.slice(0, Math.max(width - 1, 0)), { character: "…", style: null }]];
  }).map((cells) => print(cells, color)).join("\n");
}
