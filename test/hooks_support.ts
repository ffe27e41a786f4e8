/**
 * What the tests of hooks share: the fixture, pages to fault on, and hooks that note what they saw.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { dlopen, type ForeignLibrary, protect, type Protection } from "../mod.ts";
import { addHook, type Hook, type HookFilter, type LiveException } from "../mod.ts";
import { emulated } from "./platform_support.ts";
import { childDies, type ChildResult, fixtureFile, openFixture, runChild } from "./support.ts";

/** The library that `hooks_fixture.zig` makes. */
export const hooksPath: string = fixtureFile("hooks_fixture.so");

/** Definitions of what most tests need of it. */
export const hooksSymbols = {
  fh_survive: { parameters: ["address", "address", "u32"] },
  fh_read_often: { parameters: ["address", "u64"], result: "u64" },
  fh_hold: { parameters: ["address", "buffer"], result: "u64" },
  fh_vector_after: { parameters: ["address", "f64"], result: "f64" },
  fh_steps: { result: "u32" },
  fh_steps_first: { type: "address" },
  fh_steps_and_callback: { parameters: ["function", "i32"], result: "i32" },
  fh_registers_after: { parameters: ["address"], result: "u64" },
  fh_at_depth: { parameters: ["address", "u64"], result: "u64" },
  fh_protect_often: { parameters: ["address", "u64"], result: "u64" },
  fh_stack_pointer: { result: "u64" },
  fh_hook: { type: "address" },
  fh_note: { type: "address" },
  fh_noted: { result: "u64" },
  fh_on_thread: { parameters: ["buffer"], result: "i32" },
  fh_queue_self: { parameters: ["u32"], result: "i32" },
} as const;

/** Opens the fixture with recovery points. */
export function openHooks(): ForeignLibrary<typeof hooksSymbols> {
  return dlopen(hooksPath, hooksSymbols);
}

/** The length of a page on x86-64, and on the kernels of arm64 that the tests have. */
export const pageLength = 4096;

/** Memory of its own, `count` pages long, with the protection given. */
export function pages(count: number, protection: Protection = "---"): bigint {
  const address = openFixture().symbols.fx_map(BigInt(count * pageLength), 3);
  if (protection !== "rw-") protect({ address, byteLength: count * pageLength }, protection);
  return address;
}

/**
 * Protects one page, many times over. Under an emulator by the system call alone: `protect` reads
 * the list of mappings, which takes an emulator tens of milliseconds.
 */
export function protectOften(address: bigint, protection: "---" | "r--"): void {
  if (!emulated) protect({ address, byteLength: pageLength }, protection);
  else assert.equal(fixture.fx_protect(address, pageLength, protection === "r--" ? 1 : 0), 0);
}

const fixture = openFixture().symbols;

/** What a hook of `mending` saw, oldest first. */
export interface Mending extends Disposable {
  readonly hook: Hook;
  readonly addresses: readonly (bigint | null)[];
}

/** Adds a hook that makes the page that was touched accessible. */
export function mending(filter: HookFilter = { signals: ["SIGSEGV"] }): Mending {
  const addresses: (bigint | null)[] = [];
  const hook = addHook(filter, ({ address }) => {
    addresses.push(address);
    assert.notEqual(address, null);
    const start = address! & ~BigInt(pageLength - 1);
    protect({ address: start, byteLength: pageLength }, "rw-");
    return "handled";
  });
  return { hook, addresses, [Symbol.dispose]: () => void hook.remove() };
}

/** A hook that notes its name and asks the next one. */
export function noting(
  names: string[],
  name: string,
  answer: (exception: LiveException) => "handled" | "next" = () => "next",
): Hook {
  return addHook({}, (exception) => {
    names.push(name);
    return answer(exception);
  });
}

/** Moves on behind an instruction of `length` bytes. */
export function skip(exception: LiveException, length: bigint): "handled" {
  exception.registers.instructionPointer += length;
  return "handled";
}

/** What the fixture's hook for the action "call" is told, and what it says. */
export class Told {
  readonly words: BigUint64Array = new BigUint64Array(7);

  constructor(mode: "next" | "skip" | "protect" | "fault", length = 0n) {
    this.words[0] = BigInt(["next", "skip", "protect", "fault"].indexOf(mode));
    this.words[1] = length;
  }

  get calls(): bigint {
    return this.words[2]!;
  }
  get signal(): bigint {
    return this.words[3]!;
  }
  get address(): bigint {
    return this.words[4]!;
  }
  get ip(): bigint {
    return this.words[5]!;
  }
  get thread(): bigint {
    return this.words[6]!;
  }
}

/** Runs one case of `children/hooks.ts`, which must pass. */
export function hooksPass(test: string, where: "main" | "worker" = "main"): void {
  const flags = ["--allow-all", "--v8-flags=--expose-gc"];
  const { status, signal, stdout, stderr } = runChild("hooks", [test, where], flags);
  assert.deepEqual([status, signal, stdout], [0, null, "passed\n"], `${test}: ${stderr}`);
}

/** Runs one case of `children/hooks.ts`, which must die by `signal`. */
export function hooksDie(signal: string, test: string): ChildResult {
  return childDies(signal, "hooks", test);
}
