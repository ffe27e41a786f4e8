/**
 * Exceptions that no CPU raised, in the shape of those that one did.
 *
 * @module
 */
import process from "node:process";
import { type ExceptionInfo, withBacktrace } from "./exception_info.ts";
import { currentThreadId } from "./native.ts";

/** What a synthetic exception says. */
export type SyntheticParts =
  & Pick<ExceptionInfo, "type" | "zxType" | "code" | "codeNumber" | "explanation">
  & Partial<Pick<ExceptionInfo, "signal" | "signalNumber" | "address" | "addressLsb">>;

/** An exception without registers, instruction and frames. */
export function syntheticException(parts: SyntheticParts): ExceptionInfo {
  return withBacktrace({
    signal: null,
    signalNumber: 0,
    address: null,
    access: null,
    instruction: null,
    instructionPointer: 0n,
    stackPointer: 0n,
    registers: Object.freeze({
      instructionPointer: 0n,
      stackPointer: 0n,
      framePointer: 0n,
      flags: 0n,
    }),
    processId: process.pid,
    threadId: currentThreadId(),
    call: null,
    symbolAddress: null,
    addressLsb: null,
    bounds: null,
    protectionKey: null,
    synthCode: 0,
    synthData: 0n,
    safety: "unknown",
    suspects: Object.freeze([]),
    hooksSkipped: null,
    siginfo: new Uint8Array(),
    context: new Uint8Array(),
    ...parts,
  }, () => []);
}
