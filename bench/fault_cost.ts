/**
 * What a caught fault costs, against what the kernel and the runtime charge for its parts.
 *
 *     bun bench/fault_cost.ts
 *     deno run --allow-all bench/fault_cost.ts
 *
 * - kernel: the fault, delivered to a handler that skips the instruction and does nothing else.
 * - status: a thunk called from JavaScript, whose function faults; the pending flag is read and
 *   cleared.
 * - throw: the runtime's own throw and catch of an error with as many fields and as long a message.
 * - after: the same throw, right after a fault: caches and predictors are colder then.
 * - caught: a guarded call that faults, and the `catch` that gets its `HardwareException`.
 */
import { dlopen, HardwareException } from "../mod.ts";
import { pending, threadRecordLayout } from "../lib/abi.ts";
import { native } from "../lib/native.ts";
import { defaultSignals, signalMask } from "../lib/signal_table.ts";
import {
  fixturePath,
  interleave,
  loop,
  median,
  nanoseconds,
  perRound,
  plainLibrary,
  printTable,
  runtimeName,
  time,
} from "./measure.ts";

const rounds = 201;
const faultsPerRound = 200;
const aims = { status: 1.0, caught: 1.1 };

const path = fixturePath();

type Floor = (count: number) => number;

/** Faults `count` times with the barest handler; gives the nanoseconds. */
function bareFaults(): Floor {
  const definition = { parameters: ["u32"], result: "f64" };
  return plainLibrary(path, { fx_kernel_floor: definition }).fx_kernel_floor;
}

/** The thunk alone: no wrapper and no error. */
function statusCandidate(): () => number {
  const { runtime, functions, record, path: libraryPath } = native();
  const [target] = runtime.openLibrary(path, functions).symbolAddresses(["fx_read"]);
  const index = functions.fl_slot_open!(target, signalMask(defaultSignals), 0, 0, 0) as number;
  if (index < 0) throw new Error(`Cannot open a slot: status ${index}`);
  const address = functions.fl_thunk_address!(index) as bigint;
  const signature = {
    parameters: ["u64"] as const,
    result: runtime.voidResults ? "void" as const : "u64" as const,
  };
  const binding = { index, name: `fl_t${index}`, address, ...signature };
  const [thunk] = runtime.bindThunks(libraryPath, [binding]).functions;
  const flag = threadRecordLayout.pending.offset / 4;
  const used = threadRecordLayout.chunk_used.offset / 4;
  const run = loop(
    { thunk, record: record.u32, flag, used, none: pending.none, fault: pending.exception },
    // What was recorded is dropped, so that memory for exceptions is not part of this number.
    `const start = record[used];
    for (let i = 0; i < count; i++) {
      thunk(0n);
      if (record[flag] !== fault) throw new Error("nothing is pending");
      record[flag] = none;
      record[used] = start;
    }
    return count;`,
  );
  return () => time(run, faultsPerRound);
}

/** Calls `call` and counts what it throws. */
const catchAll = `let caught = 0;
  for (let i = 0; i < count; i++) {
    try { call(0n); } catch (error) { if (error instanceof Kind) caught += 1; }
  }
  if (caught !== count) throw new Error(caught + " of " + count + " were caught");
  return caught;`;

function guardedRead(): (address: bigint) => unknown {
  const definition = { parameters: ["address"], result: "u64" } as const;
  return dlopen(path, { fx_read: definition }).symbols.fx_read;
}

function caughtCandidate(): () => number {
  const run = loop({ call: guardedRead(), Kind: HardwareException }, catchAll);
  return () => time(run, faultsPerRound);
}

/** The message that a fault at address 0 gives. */
function sampleMessage(): string {
  try {
    guardedRead()(0n);
  } catch (error) {
    if (error instanceof Error) return error.message;
  }
  throw new Error("Reading address 0 did not throw");
}

/** An error with the fields of `HardwareException`, and its message ready made. */
class PlainException extends Error {
  readonly #source: object;
  #info: object | undefined;

  constructor(message: string, source: object) {
    super(message);
    this.#source = source;
  }

  get info(): object {
    return this.#info ??= this.#source;
  }
}

/** Throws a `PlainException`, after `before` has run. */
function throwCandidate(before: () => void): () => number {
  const message = "x".repeat(sampleMessage().length);
  const call = (source: object): never => {
    before();
    throw new PlainException(message, { source });
  };
  const run = loop({ call, Kind: PlainException }, catchAll);
  return () => time(run, faultsPerRound);
}

const floor = bareFaults();
const oneFault = loop({ floor }, "for (let i = 0; i < count; i++) floor(1); return count;");

const samples = interleave({
  kernel: () => floor(faultsPerRound) / faultsPerRound,
  status: statusCandidate(),
  thrown: throwCandidate(() => {}),
  caught: caughtCandidate(),
  // One fault at a time, with the system calls that put the bare handler in place and back.
  fault: () => time(oneFault, faultsPerRound),
  faultAndThrow: throwCandidate(() => void floor(1)),
}, rounds);
const { kernel, status, thrown, caught } = samples;
const { fault, faultAndThrow } = samples;
const after = faultAndThrow.map((both, round) => both - fault[round]!);

function row(title: string, values: readonly number[], ratio = "", aim = ""): string[] {
  return [title, nanoseconds(Math.min(...values)), nanoseconds(median(values)), ratio, aim];
}

/** The least difference says nothing: a row of differences has the difference of the least. */
function afterRow(): string[] {
  const least = Math.min(...faultAndThrow) - Math.min(...fault);
  return ["after: the same, after a fault", nanoseconds(least), nanoseconds(median(after)), "", ""];
}

const overSum = (fault: number, bare: number, error: number): number => fault / (bare + error);
const statusRatio = perRound((fault, bare) => fault / bare, status, kernel).toFixed(2);
const apartRatio = perRound(overSum, caught, kernel, thrown).toFixed(2);
const afterRatio = perRound(overSum, caught, kernel, after).toFixed(2);

console.log(`A read of address 0 under ${runtimeName}; nanoseconds per fault`);
printTable(["what", "min", "median", "ratio", "aim"], [
  row("kernel: bare delivery", kernel),
  row("status: fault to status", status, statusRatio, aims.status.toFixed(1)),
  row("throw: the runtime's own, alone", thrown),
  afterRow(),
  row("caught: fault to catch", caught, apartRatio, aims.caught.toFixed(1)),
]);
console.log(
  `${rounds} rounds of ${faultsPerRound} faults; ratios are medians over rounds: ` +
    `status / kernel, caught / (kernel + throw).\ncaught / (kernel + after) is ${afterRatio}.\n`,
);
