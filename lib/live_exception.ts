/**
 * An exception while a hook looks at it: everything that `ExceptionInfo` says, and the state that
 * the interrupted thread goes on with.
 *
 * @module
 */
import { machineRegisters, nativeStatus, portableRegisters, statePart } from "./abi.ts";
import { describeValue } from "./describe_value.ts";
import { details } from "./exception_details.ts";
import {
  copyException,
  decodeException,
  type ExceptionBytes,
  type ExceptionInfo,
  ExceptionReader,
  type Registers,
} from "./exception_info.ts";
import { FaultlineError } from "./faultline_error.ts";
import { native } from "./native.ts";
import { codeName, signalName } from "./signal_table.ts";

/**
 * Parts of a thread's state.
 *
 * @example Usage
 * ```ts
 * import type { ThreadState } from "faultline";
 *
 * const stepping: ThreadState["singleStep"] = true;
 * console.log(stepping);
 * ```
 */
export interface ThreadState {
  general: Registers;
  /** x87 and SSE state: the 512 bytes of FXSAVE. */
  floatingPoint: Uint8Array;
  /** All extended state, in the standard form of XSAVE. */
  vector: Uint8Array;
  /** Debug registers. A thread cannot see its own. */
  debug: BigUint64Array;
  /** Whether each instruction raises SIGTRAP "single-step". */
  singleStep: boolean;
}

/**
 * The exception, with registers that a hook may write before it answers "handled".
 *
 * @example Usage
 * ```ts
 * import { addHook, type LiveException } from "faultline";
 *
 * const skip = (exception: LiveException): "handled" => {
 *   exception.registers.instructionPointer += 2n; // the length of ud2
 *   return "handled";
 * };
 * using _hook = addHook({ signals: ["SIGILL"] }, skip);
 * ```
 */
export interface LiveException extends Omit<ExceptionInfo, "registers"> {
  /**
   * What the thread goes on with when the hook answers "handled". A register has a portable and a
   * machine name: the one that was changed counts; two different changes are a TypeError.
   */
  readonly registers: Registers;
  /**
   * A copy of a part of the state.
   *
   * @throws {TypeError} If there is no such part.
   * @throws {FaultlineError} With code NOT_SUPPORTED for "debug".
   * @throws {Error} When the hook has returned.
   */
  readState<K extends keyof ThreadState>(kind: K): ThreadState[K];
  /**
   * Replaces a part of the state; what a hook that does not answer "handled" wrote is undone.
   *
   * @throws {TypeError} If the state has another type or length, or one that the processor refuses.
   * @throws {FaultlineError} With code NOT_SUPPORTED for "debug".
   * @throws {Error} When the hook has returned.
   */
  writeState<K extends keyof ThreadState>(kind: K, state: ThreadState[K]): void;
}

type MachineName = keyof typeof machineRegisters;
const machineNames = Object.keys(machineRegisters) as MachineName[];
const registersStart = Math.min(...Object.values(machineRegisters));
const registersLength = 8 * machineNames.length;
const portableNames = Object.entries(portableRegisters) as [string, MachineName][];

/** More than any processor's extended state has now. */
const stateMax = 16 * 1024;

function decodeRegisters(bytes: Uint8Array): Registers {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const registers: Record<string, bigint> = {};
  for (const [name, machine] of portableNames) {
    registers[name] = view.getBigUint64(machineRegisters[machine] - registersStart, true);
  }
  for (const name of machineNames) {
    registers[name] = view.getBigUint64(machineRegisters[name] - registersStart, true);
  }
  // A name that does not exist is a mistake, which must not look like a write.
  return Object.preventExtensions(registers) as unknown as Registers;
}

/** The value that a register was given under `name`, or undefined when it is as it was. */
function changed(registers: Registers, name: string, before: bigint): bigint | undefined {
  const value: unknown = registers[name];
  if (typeof value !== "bigint") {
    throw new TypeError(
      `Cannot go on with ${describeValue(value)} in the register ${name}: registers are bigints`,
    );
  }
  const word = BigInt.asUintN(64, value);
  return word === before ? undefined : word;
}

/** Writes what was changed in `registers` to `bytes`; false when nothing was. */
function encodeRegisters(registers: Registers, bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const writes = new Map<MachineName, bigint>();
  const names: [string, MachineName][] = [
    ...portableNames,
    ...machineNames.map((name): [string, MachineName] => [name, name]),
  ];
  for (const [name, machine] of names) {
    const before = view.getBigUint64(machineRegisters[machine] - registersStart, true);
    const value = changed(registers, name, before);
    if (value === undefined) continue;
    const other = writes.get(machine);
    if (other !== undefined && other !== value) {
      throw new TypeError(
        `Cannot go on with two values for the register ${machine}, one by its portable name`,
      );
    }
    writes.set(machine, value);
  }
  for (const [machine, value] of writes) {
    view.setBigUint64(machineRegisters[machine] - registersStart, value, true);
  }
  return writes.size > 0;
}

function notSupported(): FaultlineError {
  return new FaultlineError(
    "NOT_SUPPORTED",
    "Cannot reach a thread's own debug registers, which the kernel shows to tracers only",
  );
}

type PartName = Exclude<keyof ThreadState, "debug">;
const parts: Readonly<Record<PartName, number>> = {
  general: statePart.general,
  floatingPoint: statePart.floating_point,
  vector: statePart.vector,
  singleStep: statePart.single_step,
};

function checkPart(kind: unknown): asserts kind is PartName {
  if (kind === "debug") throw notSupported();
  if (typeof kind === "string" && Object.hasOwn(parts, kind)) return;
  throw new TypeError(
    `Cannot reach the state ${describeValue(kind)}: it is one of ` +
      `${Object.keys(parts).join(", ")} and debug`,
  );
}

/** The exception that hooks look at. */
export class HookedException {
  readonly bytes: ExceptionBytes;
  /** What native code knows it by, while the hook runs. */
  readonly #place: number;
  #info: ExceptionInfo | undefined;
  #registers: Registers | undefined;
  /** Parts that were written, as they were. */
  readonly #before: Map<PartName, Uint8Array> = new Map();
  #isOver = false;

  constructor(bytes: ExceptionBytes, place: number) {
    this.bytes = bytes;
    this.#place = place;
  }

  /** Everything but the registers, decoded when it is first looked at. */
  get info(): ExceptionInfo {
    return this.#info ??= decodeException(copyException(this.bytes), details);
  }

  get address(): bigint | null {
    return new ExceptionReader(this.bytes).address;
  }

  get signal(): ExceptionInfo["signal"] {
    return signalName(new ExceptionReader(this.bytes).u32("signal"));
  }

  get code(): string {
    const reader = new ExceptionReader(this.bytes);
    return codeName(reader.u32("signal"), reader.code);
  }

  get registers(): Registers {
    return this.#registers ??= this.#isOver
      ? { ...this.info.registers }
      : decodeRegisters(this.#read("general"));
  }

  readState<K extends keyof ThreadState>(kind: K): ThreadState[K];
  readState(kind: unknown): unknown {
    checkPart(kind);
    if (kind === "general") return { ...this.registers };
    const bytes = this.#read(kind);
    return kind === "singleStep" ? bytes[0] === 1 : bytes;
  }

  writeState<K extends keyof ThreadState>(kind: K, state: ThreadState[K]): void;
  writeState(kind: unknown, state: unknown): void {
    checkPart(kind);
    if (kind === "general") return this.#assign(state);
    const bytes = typeof state === "boolean" && kind === "singleStep"
      ? Uint8Array.of(state ? 1 : 0)
      : state;
    if (!(bytes instanceof Uint8Array) || (kind === "singleStep") !== (bytes !== state)) {
      throw new TypeError(
        `Cannot write the state "${kind}" as it must be ${
          kind === "singleStep" ? "a boolean" : "a Uint8Array"
        }: it is ${describeValue(state)}`,
      );
    }
    const before = this.#read(kind);
    this.#write(kind, bytes);
    if (!this.#before.has(kind)) this.#before.set(kind, before);
  }

  /** Makes the thread go on with what was written. */
  commit(): void {
    if (this.#registers === undefined) return;
    const bytes = this.#read("general");
    if (encodeRegisters(this.#registers, bytes)) this.#write("general", bytes);
  }

  /** Undoes what was written, for the next hook. */
  discard(): void {
    for (const [kind, bytes] of this.#before) this.#write(kind, bytes);
    this.#before.clear();
    this.#registers = undefined;
  }

  /** The hook has returned. */
  end(): void {
    this.#isOver = true;
  }

  #assign(state: unknown): void {
    if (typeof state !== "object" || state === null) {
      throw new TypeError(
        `Cannot write the state "general" as it must be an object of registers: it is ${
          describeValue(state)
        }`,
      );
    }
    // Checked at once, so that the hook learns of it where it is wrong.
    const probe = this.#read("general");
    const registers = Object.assign(decodeRegisters(probe), this.#registers, state);
    encodeRegisters(registers, probe);
    Object.assign(this.registers, state);
  }

  #read(kind: PartName): Uint8Array {
    const into = new Uint8Array(kind === "general" ? registersLength : stateMax);
    const { functions } = native();
    const length = functions.fl_state_read!(
      this.#isOver ? 0 : this.#place,
      parts[kind],
      into,
      into.byteLength,
    ) as number;
    if (length < 0) throw overError("read");
    return into.subarray(0, length).slice();
  }

  #write(kind: PartName, bytes: Uint8Array): void {
    const { functions } = native();
    const status = functions.fl_state_write!(
      this.#isOver ? 0 : this.#place,
      parts[kind],
      bytes,
      bytes.byteLength,
    ) as number;
    if (status === nativeStatus.not_found) throw overError("write");
    if (status < 0) {
      throw new TypeError(
        `Cannot write the state "${kind}" as its length (${bytes.byteLength}) is not that of ` +
          "readState, or the processor would refuse its control bits",
      );
    }
  }
}

function overError(verb: string): Error {
  return new Error(
    `Cannot ${verb} the state of a thread whose hook has returned: use the exception inside it`,
  );
}

/** The fields that come from the decoded info alone. */
const infoFields = [
  "type",
  "zxType",
  "signalNumber",
  "codeNumber",
  "access",
  "explanation",
  "instruction",
  "instructionPointer",
  "stackPointer",
  "processId",
  "threadId",
  "call",
  "symbolAddress",
  "addressLsb",
  "bounds",
  "protectionKey",
  "synthCode",
  "synthData",
  "safety",
  "suspects",
  "hooksSkipped",
  "siginfo",
  "context",
  "backtrace",
] as const satisfies readonly (keyof ExceptionInfo)[];

for (const name of infoFields) {
  Object.defineProperty(HookedException.prototype, name, {
    get(this: HookedException): unknown {
      return this.info[name];
    },
    configurable: true,
  });
}
