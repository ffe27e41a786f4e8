/**
 * Exceptions as plain data, and back. The shape is described at `HardwareException.toJSON`.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import {
  type ExceptionInfo,
  type FaultingInstruction,
  type Registers,
  withBacktrace,
} from "./exception_info.ts";
import { type ExceptionType, signalCodes } from "./signal_table.ts";
import type { StackFrame } from "./stack_frame.ts";

/** What an exception consists of. */
export interface ExceptionParts {
  readonly info: ExceptionInfo;
  readonly message: string;
  readonly additional: unknown;
  readonly stack: string | undefined;
}

const format = "faultline.exception";
const version = 1;

/** How a value is written, and read back. `read` throws a TypeError that names the field. */
interface Codec<T> {
  write(value: T): unknown;
  read(value: unknown, field: string): T;
}

function refuse(field: string, value: unknown, expected: string): never {
  throw new TypeError(
    `Cannot make a HardwareException as its ${field} must be ${expected}: current value is ` +
      describeValue(value),
  );
}

/** A codec for values that are written as they are. */
function plain<T>(expected: string, accepts: (value: unknown) => value is T): Codec<T> {
  return {
    write: (value) => value,
    read: (value, field) => accepts(value) ? value : refuse(field, value, expected),
  };
}

function nullable<T>(codec: Codec<T>): Codec<T | null> {
  return {
    write: (value) => value === null ? null : codec.write(value),
    read: (value, field) => value === null ? null : codec.read(value, field),
  };
}

const text = plain("text", (value): value is string => typeof value === "string");
const integer = plain("a whole number", (value): value is number => Number.isSafeInteger(value));

function oneOf<T extends string>(...values: readonly T[]): Codec<T> {
  return plain(
    `one of ${values.join(", ")}`,
    (value): value is T => values.includes(value as T),
  );
}

const wide: Codec<bigint> = {
  write: (value) => `0x${value.toString(16)}`,
  read: (value, field) => {
    const valid = typeof value === "string" && /^0x[0-9a-f]{1,16}$/i.test(value);
    return valid ? BigInt(value) : refuse(field, value, '"0x" text of at most 64 bits');
  },
};

const base64: Codec<Uint8Array> = {
  write: (value) => builtin("node:buffer").Buffer.from(value).toString("base64"),
  read: (value, field) => {
    const pattern = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
    const valid = typeof value === "string" && pattern.test(value);
    return valid
      ? new Uint8Array(builtin("node:buffer").Buffer.from(value, "base64"))
      : refuse(field, value, "base64");
  },
};

const hexBytes: Codec<Uint8Array> = {
  write: (value) => builtin("node:buffer").Buffer.from(value).toString("hex"),
  read: (value, field) => {
    const valid = typeof value === "string" && /^(?:[0-9a-f]{2})*$/i.test(value);
    if (!valid) return refuse(field, value, "hexadecimal text");
    return new Uint8Array(builtin("node:buffer").Buffer.from(value, "hex"));
  },
};

type Fields = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function takeObject(value: unknown, field: string): Fields {
  return isObject(value) ? value : refuse(field, value, "an object");
}

/** An object whose every property has a codec; other properties are not looked at. */
function struct<T extends object>(codecs: { readonly [K in keyof T]: Codec<T[K]> }): Codec<T> {
  const names = Object.keys(codecs) as (keyof T & string)[];
  return {
    write: (value) =>
      Object.fromEntries(names.map((name) => [name, codecs[name].write(value[name])])),
    read: (value, field) => {
      const object = takeObject(value, field);
      const read = names.map((name) => [name, codecs[name].read(object[name], `${field}.${name}`)]);
      return Object.freeze(Object.fromEntries(read)) as T;
    },
  };
}

const portable = ["instructionPointer", "stackPointer", "framePointer", "flags"];

const registers: Codec<Readonly<Registers>> = {
  write: (value) =>
    Object.fromEntries(Object.entries(value).map(([name, number]) => [name, wide.write(number!)])),
  read: (value, field) => {
    const object = takeObject(value, field);
    const names = new Set([...portable, ...Object.keys(object)]);
    const read = [...names].map((name) => [name, wide.read(object[name], `${field}.${name}`)]);
    return Object.freeze(Object.fromEntries(read)) as Registers;
  },
};

const texts: Codec<readonly string[]> = {
  write: (value) => [...value],
  read: (value, field) => {
    if (!Array.isArray(value)) return refuse(field, value, "an array");
    const items = Array.from(value, (item, index) => text.read(item, `${field}[${index}]`));
    return Object.freeze(items);
  },
};

const exceptionTypes = [
  ...["access-violation", "stack-overflow", "general-protection", "bus-error"],
  ...["misaligned-access", "machine-check", "illegal-instruction", "arithmetic", "breakpoint"],
  ...["watchpoint", "single-step", "abort", "policy", "user", "process-starting"],
  ...["thread-starting", "thread-exiting"],
] as ExceptionType[];
const signalNames = Object.keys(signalCodes) as (keyof typeof signalCodes)[];

const frameCodec = struct<StackFrame>({
  address: wide,
  module: nullable(text),
  symbol: nullable(text),
  offset: wide,
  file: nullable(text),
  line: nullable(integer),
  column: nullable(integer),
  inlined: plain("a boolean", (value): value is boolean => typeof value === "boolean"),
  trust: oneOf("context", "cfi", "frame-pointer", "scan"),
});

/** The frames that `info.backtrace()` gave. */
function readFrames(info: unknown): readonly StackFrame[] {
  const frames = takeObject(info, "info").backtrace;
  if (!Array.isArray(frames)) return refuse("info.backtrace", frames, "an array");
  return Object.freeze(
    Array.from(frames, (frame, at) => frameCodec.read(frame, `info.backtrace[${at}]`)),
  );
}

const infoCodec = struct<Omit<ExceptionInfo, "backtrace">>({
  type: oneOf(...exceptionTypes),
  zxType: integer,
  signal: nullable(oneOf(...signalNames)),
  signalNumber: integer,
  code: text,
  codeNumber: integer,
  address: nullable(wide),
  access: nullable(oneOf("read", "write", "execute")),
  instructionPointer: wide,
  stackPointer: wide,
  registers,
  processId: integer,
  threadId: integer,
  call: nullable(struct({ library: text, symbol: text })),
  symbolAddress: nullable(wide),
  addressLsb: nullable(integer),
  bounds: nullable(struct({ lower: wide, upper: wide })),
  protectionKey: nullable(integer),
  synthCode: integer,
  synthData: wide,
  hooksSkipped: nullable(text),
  siginfo: base64,
  context: base64,
  explanation: text,
  instruction: nullable(struct<FaultingInstruction>({ bytes: hexBytes, text: nullable(text) })),
  safety: oneOf("unknown", "suspect"),
  suspects: texts,
});

/** What JSON keeps of a value, or undefined: attached values may be anything. */
function jsonOf(value: unknown): unknown {
  try {
    const written = JSON.stringify(
      value,
      (_, item) => typeof item === "bigint" ? `0x${item.toString(16)}` : item,
    );
    return written === undefined ? undefined : JSON.parse(written);
  } catch {
    return undefined; // It refers to itself, or its toJSON throws.
  }
}

/** Plain data, for `structuredClone` and JSON. */
export function exceptionToJson({ info, message, additional, stack }: ExceptionParts): unknown {
  const attached = jsonOf(additional);
  return {
    format,
    version,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(attached === undefined ? {} : { additional: attached }),
    info: {
      ...infoCodec.write(info) as Fields,
      backtrace: info.backtrace().map((frame) => frameCodec.write(frame)),
    },
  };
}

/**
 * Reads what `exceptionToJson` wrote.
 *
 * @throws {TypeError} That names the first field of another shape.
 */
export function exceptionFromJson(value: unknown): ExceptionParts {
  const object = takeObject(value, "JSON");
  if (object.format !== format) refuse("format", object.format, `"${format}"`);
  if (!Number.isSafeInteger(object.version) || (object.version as number) < version) {
    refuse("version", object.version, `${version} or above`);
  }
  const frames = readFrames(object.info);
  const info = withBacktrace(
    { ...infoCodec.read(object.info, "info") },
    ({ limit } = {}) => frames.slice(0, limit),
  );
  return {
    info,
    message: text.read(object.message, "message"),
    additional: object.additional,
    stack: object.stack === undefined ? undefined : text.read(object.stack, "stack"),
  };
}
