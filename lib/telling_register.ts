/**
 * Finds the register that explains an exception.
 *
 * @module
 */
import type { ExceptionInfo } from "./exception_info.ts";
import { machine, portableNames } from "./machine.ts";

/** A register, and what it says about the exception. */
export interface TellingRegister {
  readonly name: string;
  readonly value: bigint;
  readonly meaning: string;
}

/** The register that explains the exception; null when none stands out. */
export function tellingRegister(
  info: Pick<ExceptionInfo, "registers" | "address" | "type" | "access">,
): TellingRegister | null {
  const { registers, address, type, access } = info;
  if (type === "stack-overflow" && address !== null) {
    const meaning = `stack pointer; ${access ?? "access"} at 0x${address.toString(16)}`;
    return { name: portableNames.stackPointer, value: registers.stackPointer, meaning };
  }
  if (type === "abort") {
    const meaning = "the signal that the library sent itself";
    const name = machine.thirdArgument;
    return { name, value: registers[name] ?? 0n, meaning };
  }
  if (type !== "access-violation" || address === null) return null;
  const name = machine.tellingRegisters.find((one) => registers[one] === address);
  if (name === undefined) return null;
  const past = { read: "read", write: "written", execute: "jumped to" }[access ?? "read"];
  return { name, value: address, meaning: `the address that was ${past}` };
}
