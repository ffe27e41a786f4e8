/**
 * Checks hooks as users describe them, and writes them as the native library takes them.
 *
 * @module
 */
import { hookKind, hookRequestLayout } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import type { LiveException } from "./live_exception.ts";
import { machine, portableNames, registerOffsets } from "./machine.ts";
import { bitsOf, checkProtection, type MemoryRange, type Protection } from "./memory_range.ts";
import { takeRange } from "./memory_range.ts";
import { native } from "./native.ts";
import { defaultSignals, signalMask, type SignalName } from "./signal_table.ts";

/**
 * What a hook says: the exception is mended and the thread goes on, or the next one is asked.
 *
 * @example Usage
 * ```ts
 * import type { HookAnswer } from "faultline";
 *
 * const answer: HookAnswer = "handled";
 * console.log(answer);
 * ```
 */
export type HookAnswer = "handled" | "next";

/**
 * What a hook does: a function of JavaScript, or an action that the signal handler carries out
 * itself, on whatever thread the exception happens.
 *
 * @example Usage
 * ```ts
 * import type { HookAction } from "faultline";
 *
 * const action: HookAction = { action: "protect", protection: "rw-" };
 * console.log(action.action);
 * ```
 */
export type HookAction =
  | ((exception: LiveException) => HookAnswer)
  /** Asks the next hook. */
  | { readonly action: "next" }
  /** Ends the guarded call with the exception, also one with `exceptions: "propagate"`. */
  | { readonly action: "throw" }
  /** Ends the process by the signal. */
  | { readonly action: "die" }
  /** Goes on behind the instruction: `byteLength` is its length, which is 4 on arm64. */
  | { readonly action: "skip-instruction"; readonly byteLength: number }
  /** Sets registers and runs the instruction again. */
  | { readonly action: "set-registers"; readonly registers: Readonly<Record<string, bigint>> }
  /** Makes the faulting page accessible. */
  | { readonly action: "protect"; readonly protection: Protection }
  /** Replaces the faulting page by fresh memory, all zero or a repeated pattern. */
  | { readonly action: "map"; readonly protection: Protection; readonly fill?: Uint8Array }
  /** `int f(siginfo_t*, ucontext_t*, void* data)`, in signal context; not 0 means handled. */
  | { readonly action: "call"; readonly function: bigint; readonly data?: bigint };

/**
 * Which exceptions a hook is asked about.
 *
 * @example Usage
 * ```ts
 * import type { HookFilter } from "faultline";
 *
 * const filter: HookFilter = { signals: ["SIGSEGV"], range: { address: 4096n, byteLength: 4096 } };
 * console.log(filter.signals);
 * ```
 */
export interface HookFilter {
  /** Default: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP. */
  readonly signals?: readonly SignalName[];
  /** Only exceptions with an address in here. */
  readonly range?: MemoryRange;
  /** JavaScript hooks see exceptions of the thread that adds them; others those of any. */
  readonly thread?: "current" | "any";
}

const what = "add a hook";
const layout = hookRequestLayout;
const registersStart = Math.min(...Object.values(registerOffsets));
/** A request in its native form, and what must stay alive until it was added. */
export interface HookRequest {
  readonly bytes: Uint8Array;
  readonly refersTo: unknown;
}

function refuse(reason: string): never {
  throw new TypeError(`Cannot ${what} as ${reason}`);
}

function checkNames(kind: string, value: object, known: readonly string[]): void {
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    refuse(`its ${kind} has the property "${name}": it has only ${known.join(", ")}`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A bad filter is a TypeError whatever is wrong with it. */
function rangeOf(range: unknown): MemoryRange {
  let taken: MemoryRange;
  try {
    taken = takeRange(what, range);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new TypeError(error.message, { cause: error });
  }
  if (taken.byteLength === 0) refuse("its range is empty, so that no exception can be in it");
  return taken;
}

function writeFilter(view: DataView, filter: unknown, isFunction: boolean): void {
  if (!isObject(filter)) refuse(`its filter must be an object: it is ${describeValue(filter)}`);
  checkNames("filter", filter, ["signals", "range", "thread"]);
  const { signals = defaultSignals, range, thread = isFunction ? "current" : "any" } = filter;
  const mask = signalMask(signals as readonly SignalName[]);
  if (mask === 0) refuse("its filter names no signals: leave them out for the default");
  view.setUint32(layout.signals.offset, mask, true);
  if (thread !== "current" && thread !== "any") {
    refuse(`its thread must be "current" or "any": it is ${describeValue(thread)}`);
  }
  if (isFunction && thread === "any") {
    refuse(
      "a JavaScript hook can run on the thread that adds it only: leave out `thread`, or use a " +
        "native action",
    );
  }
  view.setUint32(layout.this_thread.offset, thread === "current" ? 1 : 0, true);
  if (range === undefined) return;
  const { address, byteLength } = rangeOf(range);
  view.setBigUint64(layout.range_start.offset, address, true);
  view.setBigUint64(layout.range_length.offset, BigInt(byteLength), true);
}

function checkedBigint(name: string, value: unknown): bigint {
  if (typeof value !== "bigint" || value < 0n || value >= 2n ** 64n) {
    refuse(`its ${name} must be a bigint from 0n to 2n ** 64n - 1n: it is ${describeValue(value)}`);
  }
  return value;
}

/** The machine name of a register, or undefined. */
function machineName(name: string): string | undefined {
  if (Object.hasOwn(registerOffsets, name)) return name;
  if (!Object.hasOwn(portableNames, name)) return undefined;
  return portableNames[name as keyof typeof portableNames];
}

function writeRegisters(view: DataView, registers: unknown): void {
  if (!isObject(registers)) {
    refuse(`its registers must be an object: they are ${describeValue(registers)}`);
  }
  const set = new Map<number, bigint>();
  for (const [name, value] of Object.entries(registers)) {
    const machine = machineName(name);
    if (machine === undefined) refuse(`"${name}" is no register of this machine`);
    const index = (registerOffsets[machine]! - registersStart) / 8;
    const word = checkedBigint(`register "${name}"`, value);
    const known = set.get(index);
    if (known !== undefined && known !== word) {
      refuse(`its registers give ${machine} two values, once by its portable name`);
    }
    set.set(index, word);
  }
  if (set.size === 0) refuse("it sets no registers");
  let mask = 0n;
  for (const [index, value] of set) {
    mask |= 1n << BigInt(index);
    view.setBigUint64(layout.registers.offset + 8 * index, value, true);
  }
  view.setBigUint64(layout.register_mask.offset, mask, true);
}

function writeProtection(view: DataView, protection: unknown): void {
  checkProtection(what, protection);
  view.setBigUint64(layout.value.offset, BigInt(bitsOf[protection]), true);
}

function writeFill(view: DataView, fill: unknown): unknown {
  if (fill === undefined) return null;
  if (!(fill instanceof Uint8Array) || fill.byteLength === 0) {
    refuse(`its fill must be a Uint8Array that is not empty: it is ${describeValue(fill)}`);
  }
  const copy = fill.slice();
  const { runtime, functions } = native();
  view.setBigUint64(layout.fill.offset, runtime.addressOfBuffer(copy, functions), true);
  view.setBigUint64(layout.fill_length.offset, BigInt(copy.byteLength), true);
  return copy;
}

/** What each action has besides its name, and how that is written. Gives what to keep alive. */
const actions: Readonly<
  Record<string, {
    readonly kind: number;
    readonly names: readonly string[];
    readonly write?: (view: DataView, action: Readonly<Record<string, unknown>>) => unknown;
  }>
> = {
  next: { kind: hookKind.next, names: [] },
  throw: { kind: hookKind.throw, names: [] },
  die: { kind: hookKind.die, names: [] },
  "skip-instruction": {
    kind: hookKind.skip_instruction,
    names: ["byteLength"],
    write: (view, { byteLength }) => {
      const { instructionLengthMin: min, instructionLength: max } = machine;
      const isLength = typeof byteLength === "number" && Number.isInteger(byteLength) &&
        byteLength >= min && byteLength <= max;
      if (!isLength) {
        const wanted = min === max ? `which is ${max} here` : `from ${min} to ${max}`;
        refuse(
          `its byteLength must be the instruction's, ${wanted}: it is ${describeValue(byteLength)}`,
        );
      }
      view.setBigUint64(layout.value.offset, BigInt(byteLength), true);
    },
  },
  "set-registers": {
    kind: hookKind.set_registers,
    names: ["registers"],
    write: (view, { registers }) => writeRegisters(view, registers),
  },
  protect: {
    kind: hookKind.protect,
    names: ["protection"],
    write: (view, { protection }) => writeProtection(view, protection),
  },
  map: {
    kind: hookKind.map,
    names: ["protection", "fill"],
    write: (view, { protection, fill }) => {
      if (view.getBigUint64(layout.range_length.offset, true) === 0n) {
        refuse("it replaces memory anywhere: give its filter a range");
      }
      writeProtection(view, protection);
      return writeFill(view, fill);
    },
  },
  call: {
    kind: hookKind.call,
    names: ["function", "data"],
    write: (view, { function: address, data = 0n }) => {
      const target = checkedBigint("function", address);
      if (target === 0n) refuse("its function is the null pointer");
      view.setBigUint64(layout.function.offset, target, true);
      view.setBigUint64(layout.data.offset, checkedBigint("data", data), true);
    },
  },
};

/**
 * The native form of a hook.
 *
 * @param runner Gives the address of what runs JavaScript hooks, if this is one.
 */
export function hookRequest(filter: unknown, action: unknown, runner: () => bigint): HookRequest {
  const bytes = new Uint8Array(layout.byteLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(layout.size.offset, layout.byteLength, true);
  const isFunction = typeof action === "function";
  writeFilter(view, filter, isFunction);
  if (isFunction) {
    view.setUint32(layout.kind.offset, hookKind.javascript, true);
    view.setBigUint64(layout.function.offset, runner(), true);
    return { bytes, refersTo: null };
  }
  if (!isObject(action)) {
    refuse(`its action must be a function or an object: it is ${describeValue(action)}`);
  }
  const name = action["action"];
  if (typeof name !== "string" || !Object.hasOwn(actions, name)) {
    refuse(
      `its action is ${describeValue(name)}, which is not one of ${
        Object.keys(actions).join(", ")
      }`,
    );
  }
  const { kind, names, write } = actions[name]!;
  checkNames("action", action, ["action", ...names]);
  view.setUint32(layout.kind.offset, kind, true);
  return { bytes, refersTo: write?.(view, action) };
}
