/**
 * Makes the JavaScript function that calls one thunk: checks the arguments, calls, and throws what
 * the handler recorded.
 *
 * The wrapper itself makes the error: each further frame costs V8 a fifth of a microsecond.
 *
 * Each wrapper gets source text of its own, because V8 inlines a fast native call only where the
 * call site has seen one target. Names are passed as values, never put into source text.
 *
 * @module
 */
import { pending, threadRecordLayout } from "./abi.ts";
import { type Breadcrumb, breadcrumbOf, leaveCrumb } from "./breadcrumbs.ts";
import { describeValue } from "./describe_value.ts";
import { FaultlineError } from "./faultline_error.ts";
import type { ExceptionBytes } from "./exception_info.ts";
import { type OnCaught, prepareReads, readString } from "./guarded_read.ts";
import { exactResult, finishResult, type ResultConversions } from "./guarded_result.ts";
import { HardwareException } from "./hardware_exception.ts";
import { keptCount, letGo } from "./kept.ts";
import { type Native, takeException, type ThreadRecord } from "./native.ts";
import type { ParameterCodec, PointerConversions, RecordView, ResultCodec } from "./native_type.ts";
import { hasThrown, takeThrown } from "./thrown.ts";
import type { CFunction } from "./runtime/types.ts";

/** The call that an exception ends, and the signature of it. */
export interface GuardedSignature {
  readonly library: string;
  readonly symbol: string;
  readonly parameters: readonly ParameterCodec[];
  readonly parameterTypes: readonly string[];
  readonly result: ResultCodec;
}

/** A guarded function, and what makes it refuse calls. */
export interface GuardedFunction {
  readonly call: CFunction;
  close(): void;
  /** Makes further calls throw `error`, until `close`. */
  refuse(error: (signature: GuardedSignature) => Error): void;
  /** Whether a call is open that its slot does not show. */
  inFlight(): boolean;
  /** To be called once, when the function was closed or collected. */
  gone(): void;
}

const pendingIndex = threadRecordLayout.pending.offset / 4;

/** What generated wrappers and their plain twin have in common. */
interface Parts extends ResultConversions {
  readonly target: CFunction;
  readonly record: ThreadRecord;
  readonly convert: readonly ((value: unknown) => unknown)[];
  /** Throws the error that the first wrong argument deserves. */
  readonly reject: (values: readonly unknown[]) => never;
  /** The pending exception; throws what else a call left pending, any value a callback threw. */
  readonly take: () => ExceptionBytes;
  readonly HardwareException: typeof HardwareException;
  readonly keptCount: () => number;
  readonly letGo: (count: number) => void;
  readonly closed: CFunction;
  readonly refusal: (error: (signature: GuardedSignature) => Error) => CFunction;
  readonly breadcrumb: Breadcrumb | null;
}

/** Converts one argument; a refusal names the call, the position, the type and the value. */
export function converter(
  { symbol, library, parameters, parameterTypes }: GuardedSignature,
  pointers: PointerConversions,
  index: number,
): (value: unknown) => unknown {
  const codec = parameters[index]!;
  return (value) => {
    try {
      return codec.convert(value, pointers);
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
      const type = parameterTypes[index]!;
      const Kind = error instanceof RangeError ? RangeError : TypeError;
      throw new Kind(
        `Cannot call ${symbol}() of ${library} as its argument ${index + 1} of ` +
          `${parameters.length} (${type}) ${error.message}: current value is ${
            describeValue(value)
          }`,
      );
    }
  };
}

function makeParts(
  signature: GuardedSignature,
  target: CFunction,
  native: Native,
  pointers: PointerConversions,
  caught: OnCaught,
): Parts {
  const { record } = native;
  const { library, symbol, parameters, result } = signature;
  if (result.finish === "string") prepareReads(native);
  const origin = { library, symbol, caught };
  const convert = parameters.map((_, index) => converter(signature, pointers, index));
  return {
    target,
    record,
    convert,
    reject: (values) => {
      const count = keptCount();
      try {
        convert.forEach((one, index) => one(values[index]));
      } finally {
        letGo(count);
      }
      throw new TypeError(`Cannot call ${symbol}() of ${library} with these arguments`);
    },
    take: makeTake(signature, native, caught),
    HardwareException,
    pointerFrom: pointers.pointerFrom,
    readString: (address) => readString(native, address, origin),
    exact: () => exactResult(record, result.slot?.view === "i64"),
    keptCount,
    letGo,
    breadcrumb: breadcrumbOf(native, library, symbol),
    closed: () => {
      throw closedError(signature);
    },
    refusal: (error) => () => {
      throw error(signature);
    },
  };
}

/** Makes what looks after a call that left something pending: see `Parts.take`. */
export function makeTake(
  signature: GuardedSignature,
  native: Native,
  caught: OnCaught,
): () => ExceptionBytes {
  const { record } = native;
  const call = Object.freeze({ library: signature.library, symbol: signature.symbol });
  return () => {
    const state = record.u32[pendingIndex];
    record.u32[pendingIndex] = pending.none;
    if (state === pending.exception || state === pending.hooked) {
      const { chunk, offset } = takeException(native, state === pending.hooked);
      const bytes = { chunk, offset, call };
      const error = caught(bytes);
      // What a callback threw came first, whatever the native code ran into after it. What a hook
      // threw is why the call ended.
      if (hasThrown(record)) throw takeThrown(record);
      if (error !== null) throw error;
      return bytes;
    }
    if (hasThrown(record)) throw takeThrown(record);
    throw state === pending.foreign ? foreignError(signature) : closedError(signature);
  };
}

/** The error of a call after `close()`. */
export function closedError({ library, symbol }: GuardedSignature): FaultlineError {
  return new FaultlineError("CLOSED", `Cannot call ${symbol}() of ${library} as it was closed`);
}

/** The error of a call whose native code reached a callback from another thread. */
export function foreignError({ library, symbol }: GuardedSignature): TypeError {
  return new TypeError(
    `Cannot run a callback that ${symbol}() of ${library} reached from another thread: call it ` +
      "from the thread that made it",
  );
}

function resultSource(codec: ResultCodec, returned: boolean): string {
  if (codec.slot === null) return "";
  const value = returned && codec.ctype !== "void"
    ? "result"
    : `record.${codec.slot.view}[${codec.slot.index}]`;
  if (codec.finish === "bool") return `return ${value} !== 0;`;
  if (codec.finish === "pointer") return `return pointerFrom(${value});`;
  if (codec.finish === "string") return `return readString(${value});`;
  if (codec.finish === "exact") return "return exact();";
  return `return ${value};`;
}

/** The source of a wrapper. Everything in it comes from the tables of types, nothing from names. */
function wrapperSource(
  signature: GuardedSignature,
  returned: boolean,
  leavesCrumbs: boolean,
): string {
  const { parameters, result } = signature;
  const names = parameters.map((_, index) => `a${index}`);
  const tests = parameters.flatMap(({ test }, index) => test === null ? [] : [test(names[index]!)]);
  const values = parameters.map(({ inline }, index) =>
    inline === null ? `convert${index}(${names[index]})` : inline(names[index]!, `convert${index}`)
  );
  const check = tests.length === 0 ? "" : `if (!(${tests.join(" && ")})) reject([${names}]);`;
  const views = new Set<RecordView>(result.slot === null ? [] : [result.slot.view]);
  const declare = returned && result.ctype !== "void" ? "const result = " : "";
  // A result may point into what was made for an argument: that is kept until both are read.
  const keeps = parameters.some(({ keeps }) => keeps);
  return `"use strict";
let target = parts.target;
const { take, reject, closed, refusal, pointerFrom, HardwareException } = parts;
const { readString, exact, keptCount, letGo } = parts;
const record = { ${[...views].map((view) => `${view}: parts.record.${view}`).join(", ")} };
const pending = parts.record.u32;
${leavesCrumbs ? "const { ring, crumb } = parts.breadcrumb;" : ""}
${parameters.map((_, index) => `const convert${index} = parts.convert[${index}];`).join("\n")}
return {
  call: function (${names}) {
    ${check}
    ${leavesCrumbs ? "ring[ring[16] = (ring[16] + 1) & 15] = crumb;" : ""}
    ${keeps ? "const count = keptCount(); try {" : ""}
    ${declare}target(${values.join(", ")});
    if (pending[${pendingIndex}] !== 0) throw new HardwareException(take());
    ${resultSource(result, returned)}
    ${keeps ? "} finally { letGo(count); }" : ""}
  },
  close: function () { target = closed; },
  refuse: function (error) { target = refusal(error); },
  inFlight: function () { return false; },
};`;
}

/** The same without generated code, for runs where that is switched off. */
function plainWrapper(
  signature: GuardedSignature,
  returned: boolean,
  parts: Parts,
): Omit<GuardedFunction, "gone"> {
  const { result: codec } = signature;
  const { convert, record } = parts;
  let { target } = parts;
  return {
    call: (...values) => {
      const count = keptCount();
      try {
        if (parts.breadcrumb !== null) leaveCrumb(parts.breadcrumb);
        const result = target(...convert.map((one, index) => one(values[index])));
        if (record.u32[pendingIndex] !== 0) throw new HardwareException(parts.take());
        if (codec.slot === null) return undefined;
        const useReturned = returned && codec.ctype !== "void";
        const value = useReturned ? result : record[codec.slot.view][codec.slot.index];
        return finishResult(codec, value, parts);
      } finally {
        letGo(count);
      }
    },
    close: () => {
      target = parts.closed;
    },
    refuse: (error) => {
      target = parts.refusal(error);
    },
    inFlight: () => false,
  };
}

/** Serial numbers that make the source of a text's wrappers distinct. */
interface Serials {
  next: number;
  readonly free: number[];
}

const serialsByText = new Map<string, Serials>();
/** From this many on, numbers of wrappers that are gone are used again. */
const freshSerials = 64;

/**
 * A number that no living wrapper of the same text has. V8 keeps every distinct source for good, so
 * that opening and closing libraries for ever must not make new ones for ever.
 */
function takeSerial(text: string): { serial: number; giveBack: () => void } {
  let serials = serialsByText.get(text);
  if (serials === undefined) serialsByText.set(text, serials = { next: 0, free: [] });
  const { free } = serials;
  const serial = (serials.next >= freshSerials ? free.pop() : undefined) ?? serials.next++;
  return { serial, giveBack: () => void free.push(serial) };
}

/**
 * The wrapper of one thunk.
 *
 * @param signature What is called, and with which types.
 * @param target The thunk, bound under the signature by the runtime.
 * @param caught Called for each exception.
 */
export function guardedFunction(
  signature: GuardedSignature,
  target: CFunction,
  native: Native,
  pointers: PointerConversions,
  caught: OnCaught,
): GuardedFunction {
  const parts = makeParts(signature, target, native, pointers, caught);
  const returned = !native.runtime.voidResults;
  const text = wrapperSource(signature, returned, parts.breadcrumb !== null);
  const { serial, giveBack } = takeSerial(text);
  let wrapper: Omit<GuardedFunction, "gone">;
  try {
    const make = new Function("parts", `// ${serial}\n${text}`);
    wrapper = make(parts) as GuardedFunction;
  } catch (error) {
    if (!(error instanceof EvalError)) throw error;
    wrapper = plainWrapper(signature, returned, parts);
  }
  return { ...wrapper, gone: giveBack };
}
