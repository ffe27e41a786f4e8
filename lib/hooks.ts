/**
 * Hooks: who is asked about a hardware exception before it is thrown or passed on.
 *
 * @module
 */
import { hookAnswer } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import { ExceptionReader } from "./exception_info.ts";
import { type HookAction, type HookAnswer, type HookFilter, hookRequest } from "./hook_request.ts";
import { HookedException, type LiveException } from "./live_exception.ts";
import { keep, keptCount, letGo } from "./kept.ts";
import { checkStatus, makeRoom, type Native, native } from "./native.ts";
import { asHook, callOfSlot } from "./running_hooks.ts";
import type { CFunction, CSignature } from "./runtime/types.ts";

/**
 * A hook that was added.
 *
 * @example Usage
 * ```ts
 * import { addHook, type Hook } from "faultline";
 *
 * const hook: Hook = addHook({ signals: ["SIGFPE"] }, { action: "next" });
 * console.log(hook.hits, hook.remove(), hook.remove()); // 0 true false
 * ```
 */
export interface Hook extends Disposable {
  /** Grows with each hook; the same for all its signals. */
  readonly id: bigint;
  /** How often it was asked, "next" included. */
  readonly hits: number;
  /** True the first time, false after. */
  remove(): boolean;
}

type Body = (exception: LiveException) => HookAnswer;

/** The JavaScript hooks of this thread, by their native index. */
const bodies = new Map<number, Body>();

const runnerSignature: CSignature = {
  parameters: ["u32", "u32", "u32", "u32", "f64"],
  result: "i32",
};

let runner: bigint | undefined;

/** What native code calls for every hook of this thread. It stays as long as the thread. */
function runnerAddress(): bigint {
  if (runner !== undefined) return runner;
  const ready = native();
  let probed = false;
  const run = (index: number, depth: number, turn: number, offset: number, place: number) => {
    if (index !== probeIndex) return runHook(ready, index, depth, turn, offset, place);
    probed = true;
    return hookAnswer.handled;
  };
  const { address } = ready.runtime.createCallback(
    runnerSignature,
    run as CFunction,
    ready.functions,
  );
  findStackEnd((byteLength) => {
    probed = false;
    try {
      ready.functions.fl_hook_probe!(address, byteLength, ready.runtime.stackMax);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error; // The stack is full for the engine.
    }
    return probed;
  });
  return runner = address;
}

/** Stands for a hook where only whether JavaScript can run is asked. */
const probeIndex = 0xffff_ffff;

/**
 * Finds out how deep in the stack JavaScript can run, which native code notes: engines keep to a
 * part of it, and where they refuse to run a hook, the exception would be lost.
 */
function findStackEnd(runsAt: (byteLength: number) => boolean): void {
  let deepest = 0;
  for (let step = 2 ** 23; step >= 2 ** 14; step /= 2) {
    if (runsAt(deepest + step)) deepest += step;
  }
}

/**
 * Runs the hook `index`, `depth` hooks deep, about the exception at `offset`. `turn` counts the
 * hooks that were asked about it before.
 */
function runHook(
  ready: Native,
  index: number,
  depth: number,
  turn: number,
  offset: number,
  place: number,
): number {
  const { record } = ready;
  if (turn === 0) {
    const call = callOfSlot(new ExceptionReader({ chunk: record.chunk, offset }).u32("slot"));
    record.hooked[depth] = { chunk: record.chunk, offset, call };
    // The next exception may come before this one is over.
    makeRoom(ready);
  }
  const body = bodies.get(index);
  const bytes = record.hooked[depth]!;
  if (body === undefined) return hookAnswer.next;
  const exception = new HookedException(bytes, place);
  // What a callback of the interrupted call threw waits for that call to return.
  const { thrown } = record;
  record.thrown = null;
  try {
    const answer: unknown = asHook(bytes, () => body(exception as unknown as LiveException));
    if (answer === "handled") {
      exception.commit();
      record.thrown = thrown;
      return hookAnswer.handled;
    }
    if (answer !== "next") {
      throw new TypeError(
        `Cannot go on as a hook answered ${describeValue(answer)}: return "handled" or "next"`,
      );
    }
    exception.discard();
    record.thrown = thrown;
    return hookAnswer.next;
  } catch (error) {
    record.thrown = thrown ?? { value: error };
    return hookAnswer.thrown;
  } finally {
    exception.end();
  }
}

class AddedHook implements Hook {
  readonly id: bigint;
  readonly #index: number;
  #hits: number | undefined;

  constructor(index: number, id: bigint) {
    this.id = id;
    this.#index = index;
  }

  get hits(): number {
    if (this.#hits !== undefined) return this.#hits;
    return Number(native().functions.fl_hook_hits!(this.#index, this.id));
  }

  remove(): boolean {
    if (this.#hits !== undefined) return false;
    const hits = new BigUint64Array(1);
    const { functions } = native();
    const removed = functions.fl_hook_remove!(this.#index, this.id, hits) as number;
    checkStatus(removed, "Cannot remove a hook");
    this.#hits = Number(hits[0]);
    bodies.delete(this.#index);
    return removed === 1;
  }

  [Symbol.dispose](): void {
    this.remove();
  }
}

/**
 * Adds a hook in front of all others. When a hardware exception happens in a guarded call, hooks
 * are asked, newest first, until one takes it; then the guarded call throws, or the process goes
 * its way.
 *
 * A function runs on the interrupted thread's own stack, outside signal context, and may do what
 * JavaScript may, guarded calls included. It answers "handled" when it has mended the cause, or
 * changed the registers: the instruction runs again. It answers "next" to have the next hook asked.
 * What it throws surfaces from the guarded call unchanged; `throwException(additional)` throws the
 * exception itself. It is asked about exceptions of the thread that added it, in a guarded call
 * that is not interrupted by JavaScript; where it cannot run it is passed over, and
 * `info.hooksSkipped` says why. It takes room on the stack: 128 KiB, and V8 uses no more than the
 * first 984 KiB of one.
 *
 * The other actions are carried out in the signal handler, on every thread. With `range` they are
 * asked about every exception there, also outside guarded calls and in the runtime's own code.
 *
 * An exception that is answered "handled" a thousand times in a row, with every register the same,
 * is taken from the hooks.
 *
 * @param filter Which exceptions. `{}` for all that guarded calls catch by default.
 * @param action What to do.
 * @returns The hook. It is asked until it is removed, or its thread ends.
 * @throws {TypeError} If the filter or the action is wrong.
 * @throws {Error} If there are 1,024 hooks, or Deno may not make callbacks: JavaScript hooks take
 * `--allow-ffi` without a list of paths.
 *
 * @example Usage
 * ```ts
 * import { addHook, addressOf, protect, writeMemory } from "faultline";
 *
 * const bytes = new Uint8Array(3 * 4096);
 * const address = (addressOf(bytes) + 4095n) & ~4095n;
 * const range = { address, byteLength: 4096 };
 * protect(range, "r--");
 * using hook = addHook({ signals: ["SIGSEGV"], range }, () => {
 *   protect(range, "rw-");
 *   return "handled";
 * });
 * writeMemory(address, Uint8Array.of(7));
 * console.log(bytes.includes(7), hook.hits); // true 1
 * ```
 */
export function addHook(filter: HookFilter, action: HookAction): Hook {
  const count = keptCount();
  const id = new BigUint64Array(1);
  let index: number;
  try {
    const { bytes, refersTo } = hookRequest(filter, action, runnerAddress);
    keep(refersTo);
    index = native().functions.fl_hook_add!(bytes, bytes.byteLength, id) as number;
  } finally {
    letGo(count);
  }
  checkStatus(index, "Cannot add a hook");
  if (typeof action === "function") bodies.set(index, action);
  return new AddedHook(index, id[0]!);
}
