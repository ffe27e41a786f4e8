/**
 * Frames of JavaScript, and lines of source files for excerpts.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { runtime } from "./native.ts";

/** A place in a source file. */
export interface SourcePlace {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1; null when not known. */
  readonly column: number | null;
}

const here = new URL(".", import.meta.url).href;

/** The file that a URL means; modules may come from a server, and are left as they are. */
function fileOf(url: string): string {
  return url.startsWith("file:") ? builtin("node:url").fileURLToPath(url) : url;
}

/** Frames of a `stack` without the error's text and, unless told, without this package's own. */
export function javascriptFrames(stack: string | undefined, withoutOwn = true): readonly string[] {
  const hereAsPath = fileOf(here);
  const lines = (stack ?? "").split("\n").filter((text) => /^\s+at /.test(text));
  const isOwn = (text: string): boolean => text.includes(here) || text.includes(hereAsPath);
  return lines.filter((text) => !withoutOwn || !isOwn(text)).map((text) => text.trim());
}

/** The place that a frame of JavaScript names; null when it is in no file. */
export function placeOfFrame(frame: string): SourcePlace | null {
  const match = /(file:\/\/[^\s()]+|\/[^()]*?):(\d+):(\d+)\)?$/.exec(frame);
  if (match === null) return null;
  const [, where, line, column] = match as unknown as [string, string, string, string];
  try {
    return { file: fileOf(where), line: Number(line), column: Number(column) };
  } catch {
    return null;
  }
}

const sourceMax = 8 * 1024 * 1024;

/** Lines of a source file; null when it is not there, not text, or may not be read. */
export function sourceLines(file: string): readonly string[] | null {
  try {
    if (!file.startsWith("/") || !runtime().mayRead(file)) return null;
    const { readFileSync, statSync } = builtin("node:fs");
    const found = statSync(file);
    if (!found.isFile() || found.size > sourceMax) return null;
    const text = readFileSync(file, "utf8");
    return text.includes("\0") ? null : text.split(/\r?\n/);
  } catch {
    return null;
  }
}
