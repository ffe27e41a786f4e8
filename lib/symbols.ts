/**
 * Names, files and lines of native code, from the symbols library. Importing this module opens
 * nothing: the first look-up does.
 *
 * @module
 */
import { demangle } from "./demangle.ts";
import { openSymbolsLibrary } from "./native.ts";
import type { CSignature, NativeFunctions } from "./runtime/types.ts";
import type { StackFrame } from "./stack_frame.ts";

/** A frame before anything is known about its address. */
export interface RawFrame {
  readonly address: bigint;
  readonly trust: StackFrame["trust"];
  /** Whether the address is an instruction that did not complete; else it follows a call. */
  readonly exact: boolean;
}

/** A function at an address. */
export interface FunctionAt {
  readonly name: string | null;
  /** Where its code begins. */
  readonly start: bigint | null;
  readonly file: string | null;
  readonly line: number | null;
  readonly column: number | null;
}

/** What is known about the code at an address. */
export interface CodeAt {
  readonly module: string;
  readonly moduleBase: bigint;
  /** Start of the symbol that holds the address. */
  readonly symbolAddress: bigint | null;
  /** Innermost first; all but the last are inlined into the one behind. */
  readonly functions: readonly FunctionAt[];
}

// By hand what zig/symbols/interface.zig declares; a change there raises the version.
const version = 1;
const entryLength = 16;
const foundLength = 32;
const functionLength = 24;
const trustNames = ["context", "cfi", "frame-pointer", "scan"] as const;
const framesMax = 256;
const answerMax = 128 * 1024;

const signatures: Readonly<Record<string, CSignature>> = {
  fl_sym_version: { parameters: [], result: "u32" },
  fl_sym_refresh: { parameters: [], result: "void" },
  fl_sym_unwind: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  fl_sym_lookup: { parameters: ["u64", "u32", "buffer", "u32"], result: "i32" },
};

interface Library {
  readonly path: string;
  readonly functions: NativeFunctions;
  readonly answer: Uint8Array;
  readonly view: DataView;
}

let opened: Library | undefined;
let problem: string | null = null;

function open(): Library {
  const { path, functions } = openSymbolsLibrary(signatures, ({ fl_sym_version }) => {
    const found = fl_sym_version!() as number;
    return found === version ? null : `its version is ${found}, and these files expect ${version}`;
  });
  const answer = new Uint8Array(answerMax);
  return { path, functions, answer, view: new DataView(answer.buffer) };
}

/** The library; null when it cannot be used, which `symbolsProblem` explains. */
function library(): Library | null {
  if (opened !== undefined) return opened;
  if (problem !== null) return null;
  try {
    opened = open();
    return opened;
  } catch (error) {
    problem = error instanceof Error ? error.message : String(error);
    return null;
  }
}

/** Why the symbols library cannot be used; null when it can. Asking opens it. */
export function symbolsProblem(): string | null {
  library();
  return problem;
}

/** Where the symbols library was opened; null when it cannot be used. */
export function symbolsPath(): string | null {
  return library()?.path ?? null;
}

/** Notes which files are mapped where, for the look-ups that follow. */
export function refreshModules(): void {
  const found = library();
  if (found !== null) found.functions.fl_sym_refresh!();
}

/**
 * The frames of an exception, innermost first; null when the library cannot be used.
 *
 * @param exception The exception's bytes, at the start of a buffer of their own.
 */
export function unwind(exception: Uint8Array): readonly RawFrame[] | null {
  const found = library();
  if (found === null) return null;
  const { functions, answer, view } = found;
  const count = functions.fl_sym_unwind!(
    exception,
    exception.byteLength,
    answer,
    framesMax,
  ) as number;
  if (count < 0) return null;
  return Array.from({ length: count }, (_, index) => ({
    address: view.getBigUint64(index * entryLength, true),
    trust: trustNames[view.getUint32(index * entryLength + 8, true)] ?? "scan",
    exact: view.getUint32(index * entryLength + 12, true) !== 0,
  }));
}

const decoder = new TextDecoder();

/**
 * What is known about the code at `address`; null when it comes from no file.
 *
 * @param withFunctions false looks up the module only, which reads no debug information.
 */
export function codeAt(address: bigint, withFunctions = true): CodeAt | null {
  const found = library();
  if (found === null) return null;
  const { functions, answer, view } = found;
  const wanted = withFunctions ? 1 : 0;
  if ((functions.fl_sym_lookup!(address, wanted, answer, answerMax) as number) < 0) return null;
  let at = foundLength;
  const text = (byteLength: number): string => {
    at += byteLength;
    return decoder.decode(answer.subarray(at - byteLength, at));
  };
  const known = (value: number): number | null => value === 0 ? null : value;
  const module = text(view.getUint32(24, true));
  const count = view.getUint32(4, true);
  const list: FunctionAt[] = [];
  for (let index = 0; index < count; index += 1) {
    const head = at;
    at += functionLength;
    const start = view.getBigUint64(head, true);
    const name = text(view.getUint32(head + 16, true));
    const file = text(view.getUint32(head + 20, true));
    list.push({
      name: name === "" ? null : demangle(name),
      start: start === 0n ? null : start,
      file: file === "" ? null : file,
      line: known(view.getUint32(head + 8, true)),
      column: known(view.getUint32(head + 12, true)),
    });
  }
  const symbolAddress = view.getBigUint64(16, true);
  return {
    module,
    moduleBase: view.getBigUint64(8, true),
    symbolAddress: symbolAddress === 0n ? null : symbolAddress,
    functions: list,
  };
}
