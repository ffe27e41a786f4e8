/**
 * What tells faults apart and is equal for the same fault on every machine. Pure.
 *
 * @module
 */
import { baseName, hex } from "./frame_text.ts";
import type { StackFrame } from "./stack_frame.ts";

const framesMax = 5;

/** The file's name without what differs between machines: folders, and whether it is gone. */
function moduleName(module: string): string {
  return baseName(module.replace(/ \(deleted\)$/, ""));
}

/** "libz.so.1!inflate", or "libz.so.1!0x8a10" where no symbol is known. */
function frameText({ module, symbol, offset }: StackFrame & { module: string }): string {
  return `${moduleName(module)}!${symbol ?? hex(offset)}`;
}

function isInFile(frame: StackFrame): frame is StackFrame & { module: string } {
  return frame.module !== null;
}

/**
 * The type, then `module!function` or `module!offset` of at most five frames. Never an address:
 * code that was made at run time is left out. So are inlined functions, which are known only where
 * debug information is.
 */
export function signatureOf(type: string, frames: readonly StackFrame[]): string {
  const known = frames.filter((frame) => !frame.inlined).filter(isInFile);
  // What a search of the stack finds differs from run to run.
  const end = known.findIndex(({ trust }, index) => index > 0 && trust === "scan");
  const shown = known.slice(0, end < 0 ? framesMax : Math.min(end, framesMax));
  return [type, ...shown.map(frameText)].join(" ");
}
