/**
 * Finds the register that explains an exception.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";

/** A register, and what it says about the exception. */
export interface TellingRegister {
  readonly name: string;
  readonly value: bigint;
  readonly meaning: string;
}

// Argument registers first: they are the likeliest to hold what the caller got wrong.
const pointerRegisters = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "rbx", "rbp"];

/** The register that explains the exception; null when none stands out. */
export function tellingRegister(
  info: Pick<ExceptionInfo, "registers" | "address" | "type" | "access">,
): TellingRegister | null {
  const { registers, address, type, access } = info;
  if (type === "stack-overflow" && address !== null) {
    const meaning = `stack pointer; ${access ?? "access"} at 0x${address.toString(16)}`;
    return { name: "rsp", value: registers.stackPointer, meaning };
  }
  if (type === "abort") {
    const meaning = "the signal that the library sent itself";
    return { name: "rdx", value: registers["rdx"] ?? 0n, meaning };
  }
  if (type !== "access-violation" || address === null) return null;
  const name = pointerRegisters.find((one) => registers[one] === address);
  if (name === undefined) return null;
  const past = { read: "read", write: "written", execute: "jumped to" }[access ?? "read"];
  return { name, value: address, meaning: `the address that was ${past}` };
}
