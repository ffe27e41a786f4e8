/**
 * Disassembles an instruction by the optional package iced-x86.
 *
 * The package is CommonJS and loads its WebAssembly while it is required, so that it can be loaded
 * when a text is first asked for, synchronously, in both runtimes.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { machine } from "./machine.ts";

/** What is used of iced-x86. Its objects live in WebAssembly memory until they are freed. */
interface Iced {
  readonly Decoder: new (bitness: number, bytes: Uint8Array, options: number) => {
    ip: bigint;
    decode(): { readonly isInvalid: boolean; free(): void };
    free(): void;
  };
  readonly Formatter: new (syntax: number) => { format(instruction: object): string; free(): void };
  readonly FormatterSyntax: { readonly Intel: number };
}

let loaded: Iced | null | undefined;

/** The package, or null where it is not installed or may not be read. */
function load(): Iced | null {
  try {
    return builtin("node:module").createRequire(import.meta.url)("iced-x86") as Iced;
  } catch {
    return null;
  }
}

/** The text of the first instruction in `bytes` in Intel's syntax; null without the package. */
export function instructionText(bytes: Uint8Array, address: bigint): string | null {
  if (machine.architecture !== "x64") return null;
  if (loaded === undefined) loaded = load();
  if (loaded === null) return null;
  const decoder = new loaded.Decoder(64, bytes, 0);
  try {
    decoder.ip = address;
    const instruction = decoder.decode();
    const formatter = new loaded.Formatter(loaded.FormatterSyntax.Intel);
    try {
      return instruction.isInvalid ? null : formatter.format(instruction);
    } finally {
      formatter.free();
      instruction.free();
    }
  } finally {
    decoder.free();
  }
}
