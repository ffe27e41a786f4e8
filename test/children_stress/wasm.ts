/**
 * A WebAssembly module that traps on demand, put together by hand.
 *
 * @module
 */

/** What the module exports. */
export interface WasmExports {
  /** Reads 4 bytes at `address`; there are 65,536. */
  load(address: number): number;
  trap(): void;
  divide(a: number, b: number): number;
  /** Recurses without end. */
  recurse(value: number): number;
  /** Loops without end. */
  spin(): void;
}

interface Host {
  readonly WebAssembly: {
    readonly Module: new (bytes: Uint8Array) => object;
    readonly Instance: new (module: object) => { readonly exports: unknown };
    readonly RuntimeError: new () => Error;
  };
}

const { Module, Instance, RuntimeError } = (globalThis as unknown as Host).WebAssembly;

/** What a trap throws. */
export const WasmError: new () => Error = RuntimeError;

const names: readonly (keyof WasmExports)[] = ["load", "trap", "divide", "recurse", "spin"];

/** Bytes of a section or of another item that begins with its length, all below 128. */
function sized(...bytes: readonly number[]): number[] {
  return [bytes.length, ...bytes];
}

const i32 = 0x7f;
const types = [3, 0x60, 1, i32, 1, i32, 0x60, 0, 0, 0x60, 2, i32, i32, 1, i32];
const functions = [5, 0, 1, 2, 0, 1];
const memory = [1, 0, 1];
const exported = names.flatMap((name, index) => [
  ...sized(...new TextEncoder().encode(name)),
  0,
  index,
]);
const code = [
  5,
  ...sized(0, 0x20, 0, 0x28, 2, 0, 0x0b), // local.get 0; i32.load
  ...sized(0, 0x00, 0x0b), // unreachable
  ...sized(0, 0x20, 0, 0x20, 1, 0x6d, 0x0b), // local.get 0; local.get 1; i32.div_s
  ...sized(0, 0x20, 0, 0x10, 3, 0x41, 1, 0x6a, 0x0b), // local.get 0; call 3; i32.const 1; i32.add
  ...sized(0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x0b), // loop; br 0; end
];

/** A new instance. */
export function instantiate(): WasmExports {
  const bytes = [
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, ...sized(...types)],
    ...[3, ...sized(...functions)],
    ...[5, ...sized(...memory)],
    ...[7, ...sized(names.length, ...exported)],
    ...[10, ...sized(...code)],
  ];
  return new Instance(new Module(new Uint8Array(bytes))).exports as WasmExports;
}
