/**
 * What happened, in a few words.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import { hex } from "./frame_text.ts";

/** "SIGSEGV (SEGV_MAPERR)". */
export function kindText({ signal, code, type }: ExceptionInfo): string {
  return signal === null ? type : `${signal} (${code})`;
}

/** Whether an address was accessed: for some exceptions it is that of the instruction. */
export function isAccess(
  { address, access, instructionPointer }: Pick<
    ExceptionInfo,
    "address" | "access" | "instructionPointer"
  >,
): boolean {
  return address !== null && (access !== null || address !== instructionPointer);
}

/** "stack overflow, writing 0x7ffc10"; null where there is nothing to say. */
export function doingText(info: ExceptionInfo): string | null {
  const { type, access, address } = info;
  const overflow = type === "stack-overflow" ? "stack overflow" : null;
  if (address === null || !isAccess(info)) return overflow;
  const verb = { read: "reading", write: "writing", execute: "jumping to" }[access ?? "read"];
  const doing = `${access === null ? "accessing" : verb} ${hex(address)}`;
  return overflow === null ? doing : `${overflow}, ${doing}`;
}
