/**
 * Colour and width of the terminal that the command writes to.
 *
 * @module
 */
import process from "node:process";
import { type InspectColor, styleText } from "node:util";

const widthMin = 60;
const widthMax = 100;
const widthDefault = 80;

function environment(name: string): string | undefined {
  try {
    return process.env[name];
  } catch {
    // Reading the environment can need a permission. Without it, the defaults serve.
    return undefined;
  }
}

const coloured = process.stdout.isTTY === true && !environment("NO_COLOR");

/** `text` in a style when standard output is a terminal and NO_COLOR is unset, else as it is. */
export function paint(format: InspectColor | InspectColor[], text: string): string {
  return coloured ? styleText(format, text, { validateStream: false }) : text;
}

/** Columns to use: those of the terminal within reason, 80 where there is none. */
export function lineWidth(): number {
  const columns = process.stdout.columns;
  if (typeof columns !== "number" || columns <= 0) return widthDefault;
  return Math.min(Math.max(columns, widthMin), widthMax);
}

const controls = new RegExp(`${String.fromCharCode(27)}\\[[\\d;]*m`, "g");

/** Characters that `text` takes on the screen. */
export function printedLength(text: string): number {
  return [...text.replaceAll(controls, "")].length;
}

/** `text` cut to `length` characters, with a mark where something is missing. */
export function fit(text: string, length: number): string {
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

/** `text` in lines of at most `length` characters, broken between words. */
export function wrap(text: string, length: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > length) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
