/**
 * Memory as an array of the runtime's own, over which no code of ours stands.
 *
 * @module
 */
import process from "node:process";
import { dlopen } from "../mod.ts";
import { fixturePath, runtimeName } from "./support.ts";

interface BunFfi {
  toArrayBuffer(address: number, offset: number, byteLength: number): ArrayBuffer;
}
interface Host {
  readonly Deno: {
    readonly UnsafePointerView: {
      getArrayBuffer(pointer: unknown, byteLength: number): ArrayBuffer;
    };
  };
}

const definition = {
  fx_echo_u64: { parameters: ["address"], result: "pointer" },
} as const;

/** An array over `byteLength` bytes at `address`. */
export function viewOf(address: bigint, byteLength: number): Uint8Array<ArrayBuffer> {
  if (runtimeName() === "bun") {
    const { toArrayBuffer } = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
    return new Uint8Array(toArrayBuffer(Number(address), 0, byteLength));
  }
  const pointer = dlopen(fixturePath, definition).symbols.fx_echo_u64(address);
  const { UnsafePointerView } = (globalThis as unknown as Host).Deno;
  return new Uint8Array(UnsafePointerView.getArrayBuffer(pointer, byteLength));
}
