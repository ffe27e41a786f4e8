/**
 * Makes the guarded functions of one handle: takes slots, binds thunks, and knows when all of it
 * can be given back.
 *
 * @module
 */
import { nativeStatus } from "./abi.ts";
import { blockFunction, type BlockTarget, nonblockingFunction } from "./call_block.ts";
import { nameCallsOf } from "./breadcrumbs.ts";
import type { ParsedDefinition } from "./definition.ts";
import { details } from "./exception_details.ts";
import { type ExceptionBytes, hasSuspects } from "./exception_info.ts";
import { FaultlineError } from "./faultline_error.ts";
import { type GuardedFunction, guardedFunction, type GuardedSignature } from "./guarded_call.ts";
import { HardwareException } from "./hardware_exception.ts";
import { checkStatus, type Native, native } from "./native.ts";
import { nameSlot } from "./running_hooks.ts";
import type { CFunction } from "./runtime/types.ts";
import { pointerConversions } from "./pointers.ts";
import type { BoundThunks, ThunkBinding } from "./runtime/types.ts";

/** Functions that were made together. */
export interface GuardedFunctions {
  /** In the order of the definitions. */
  readonly functions: readonly CFunction[];
  /** Refuses further calls. */
  close(): void;
  /** Whether a call is open on this thread, or waited for. */
  inFlight(): boolean;
  /** Gives the slots back. Only after `close`, and when nothing is in flight. */
  release(): void;
}

/** Frees the slots of functions that were collected without being closed. */
const collected = new FinalizationRegistry<{ slot: number; gone: () => void }>(({ slot, gone }) => {
  native().functions.fl_slot_release!(slot);
  gone();
});

const registerThunks = 1024;

function thunkName(slot: number): string {
  return slot < registerThunks ? `fl_t${slot}` : `fl_s${slot - registerThunks}`;
}

/** A slot for a definition; null when every thunk is taken. */
function openSlot(definition: ParsedDefinition, target: bigint, ready: Native): number | null {
  const { caught, raised, propagate, stackBytes, signature } = definition;
  const slot = ready.functions.fl_slot_open!(
    target,
    caught,
    raised,
    stackBytes,
    propagate ? 1 : 0,
  ) as number;
  if (slot === nativeStatus.no_free_slot) return null;
  checkStatus(slot, `Cannot guard ${signature.symbol}() of ${signature.library}`);
  return slot;
}

function poisonedError(
  { library, symbol }: GuardedSignature,
  cause: HardwareException,
): FaultlineError {
  const { call, suspects } = cause.info;
  const others = suspects.filter((name) => name !== call?.symbol);
  const where = others.length === 0 ? "" : ` inside ${others.join(" and ")}`;
  return new FaultlineError(
    "LIBRARY_POISONED",
    `Cannot call ${symbol}() of ${library} as an exception in ${call?.symbol}()${where} may have ` +
      'left its state corrupt: open the library again, or set afterException to "continue"',
    { cause },
  );
}

class FunctionSet implements GuardedFunctions {
  readonly functions: readonly CFunction[];
  readonly #native: Native;
  readonly #slots: (number | null)[] = [];
  readonly #wrappers: GuardedFunction[] = [];
  readonly #tokens: object[] = [];
  readonly #thunks: BoundThunks;
  readonly #count: () => void;
  #closed = false;
  #poisoned = false;

  constructor(
    ready: Native,
    definitions: readonly ParsedDefinition[],
    targets: readonly bigint[],
    caught: () => void,
  ) {
    this.#native = ready;
    this.#count = caught;
    try {
      definitions.forEach((definition, index) => {
        const { nonblocking, signature } = definition;
        const bindable = signature.parameters.length <= ready.runtime.argumentsMax;
        const slot = nonblocking || !bindable ? null : openSlot(definition, targets[index]!, ready);
        this.#slots.push(slot);
      });
      this.#thunks = this.#bind(definitions);
    } catch (error) {
      this.#releaseSlots();
      throw error;
    }
    const bound = [...this.#thunks.functions];
    const pointers = pointerConversions(ready);
    definitions.forEach((definition, index) => {
      const { signature, nonblocking } = definition;
      const slot = this.#slots[index]!;
      const onCaught = (bytes: ExceptionBytes) => this.#caught(definition, bytes, wrapper.call);
      const block: BlockTarget = { ...definition, address: targets[index]! };
      const make = nonblocking ? nonblockingFunction : blockFunction;
      const wrapper: GuardedFunction = slot === null
        ? make(signature, block, ready, pointers, onCaught)
        : guardedFunction(signature, bound.shift()!, ready, pointers, onCaught);
      this.#keep(wrapper, slot, signature);
    });
    this.functions = this.#wrappers.map(({ call }) => call);
  }

  close(): void {
    this.#closed = true;
    for (const wrapper of this.#wrappers) wrapper.close();
  }

  inFlight(): boolean {
    const { functions } = this.#native;
    return this.#wrappers.some((wrapper) => wrapper.inFlight()) ||
      this.#slots.some((slot) => slot !== null && functions.fl_slot_in_flight!(slot) !== 0);
  }

  release(): void {
    for (const token of this.#tokens) collected.unregister(token);
    for (const wrapper of this.#wrappers) wrapper.gone();
    this.#releaseSlots();
    this.#thunks.close();
  }

  /** Counts an exception, and refuses further calls where that is what follows. */
  #caught(
    { afterException }: ParsedDefinition,
    bytes: ExceptionBytes,
    call: CFunction,
  ): HardwareException | null {
    this.#count();
    if (afterException === "continue" || this.#poisoned) return null;
    if (afterException === null && !hasSuspects(bytes, details)) return null;
    const error = new HardwareException(bytes);
    // Its stack begins with the call, as that of others: how it came to be made says nothing.
    Error.captureStackTrace(error, call);
    this.#poisoned = true;
    // A callback may have closed the library that it was called from.
    if (this.#closed) return error;
    for (const wrapper of this.#wrappers) {
      wrapper.refuse((signature) => poisonedError(signature, error));
    }
    return error;
  }

  #bind(definitions: readonly ParsedDefinition[]): BoundThunks {
    const { runtime, functions, path } = this.#native;
    const thunks: ThunkBinding[] = [];
    definitions.forEach(({ signature }, index) => {
      const slot = this.#slots[index];
      if (slot === null || slot === undefined) return;
      thunks.push({
        index: slot,
        name: thunkName(slot),
        address: functions.fl_thunk_address!(slot) as bigint,
        parameters: signature.parameters.map(({ ctype }) => ctype),
        result: runtime.voidResults ? "void" : signature.result.ctype,
      });
    });
    return runtime.bindThunks(path, thunks);
  }

  #keep(wrapper: GuardedFunction, slot: number | null, signature: GuardedSignature): void {
    const { library, symbol } = signature;
    Object.defineProperty(wrapper.call, "name", { value: symbol, configurable: true });
    this.#wrappers.push(wrapper);
    if (slot === null) return;
    nameSlot(slot, Object.freeze({ library, symbol }));
    nameCallsOf(this.#native, slot, library, symbol);
    const token = {};
    collected.register(wrapper.call, { slot, gone: wrapper.gone }, token);
    this.#tokens.push(token);
  }

  #releaseSlots(): void {
    for (const slot of this.#slots) {
      if (slot !== null) this.#native.functions.fl_slot_release!(slot);
    }
  }
}

/** Makes guarded functions for `targets`, one for each definition. */
export function guardedFunctions(
  ready: Native,
  definitions: readonly ParsedDefinition[],
  targets: readonly bigint[],
  caught: () => void,
): GuardedFunctions {
  return new FunctionSet(ready, definitions, targets, caught);
}
