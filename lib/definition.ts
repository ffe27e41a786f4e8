/**
 * Reads the definitions that users give for symbols, and refuses what cannot work before native
 * code sees it.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import { bunNames, type BunType, parseBunDefinition } from "./bun_definition.ts";
import { isStaticType, type ParsedStatic, staticTypeNames } from "./foreign_static.ts";
import type { GuardedSignature } from "./guarded_call.ts";
import { machine } from "./machine.ts";
import {
  exactResultCodecs,
  nativeTypeNames,
  type ParameterCodec,
  parameterCodec,
  type ResultCodec,
  resultCodec,
} from "./native_type.ts";
import { defaultSignals, signalMask, type SignalName } from "./signal_table.ts";

/** A definition, read and checked. */
export interface ParsedDefinition {
  /** Key in `symbols`. */
  readonly key: string;
  readonly optional: boolean;
  /** Where the function is; null for the symbol of that name. */
  readonly address: bigint | null;
  readonly signature: GuardedSignature;
  /** Signals caught when the kernel raised them, bit n-1 for signal n. */
  readonly caught: number;
  /** Signals caught also when the library raised them. */
  readonly raised: number;
  /** Nothing is caught: hooks and the process decide. */
  readonly propagate: boolean;
  /** What follows an exception; null: "poison" when it is suspect, else "continue". */
  readonly afterException: AfterException | null;
  /** The call runs on another thread. */
  readonly nonblocking: boolean;
  /** Bytes of arguments beyond the registers, a multiple of 16. */
  readonly stackBytes: number;
}

/** What later calls do after an exception. */
export type AfterException = "continue" | "poison";

/** What call options say. */
export interface ParsedOptions extends SignalMasks {
  readonly propagate: boolean;
  readonly afterException: AfterException | null;
}

/** A definition of a function or a variable, read and checked. */
export type ParsedSymbol = ParsedDefinition | ParsedStatic;

/** Bits of the signals to catch, by who raised them. */
export interface SignalMasks {
  readonly caught: number;
  readonly raised: number;
}

const defaultMasks: SignalMasks = Object.freeze({
  caught: signalMask(defaultSignals),
  raised: 0,
});

const { integerRegisters, floatRegisters } = machine;
const optionNames: ReadonlySet<string> = new Set(["signals", "exceptions", "afterException"]);
const definitionNames: ReadonlySet<string> = new Set([
  ...optionNames,
  "parameters",
  "result",
  "name",
  "optional",
  "nonblocking",
]);
const bunDefinitionNames: ReadonlySet<string> = new Set([...optionNames, ...bunNames]);
const staticNames: ReadonlySet<string> = new Set(["type", "name", "optional"]);

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuseUnknown(
  value: Readonly<Record<string, unknown>>,
  known: ReadonlySet<string>,
  what: string,
): void {
  for (const name of Object.keys(value)) {
    if (known.has(name)) continue;
    throw new TypeError(
      `Cannot use ${what} as it has the property "${name}", which is not supported: ` +
        `use only ${[...known].join(", ")}`,
    );
  }
}

/** The masks that call options ask for; `inherited` where they do not say. */
export function parseSignals(
  signals: unknown,
  inherited: SignalMasks = defaultMasks,
): SignalMasks {
  if (signals === undefined) return inherited;
  const mask = signalMask(signals as readonly SignalName[]);
  return { caught: mask, raised: mask };
}

function parseExceptions(exceptions: unknown, inherited: boolean, what: string): boolean {
  if (exceptions === undefined) return inherited;
  if (exceptions === "throw" || exceptions === "propagate") return exceptions === "propagate";
  throw new TypeError(
    `Cannot use ${what} as "exceptions" is ${
      describeValue(exceptions)
    }: use "throw" or "propagate"`,
  );
}

function parseAfterException(
  value: unknown,
  inherited: AfterException | null,
  what: string,
): AfterException | null {
  if (value === undefined) return inherited;
  if (value === "continue" || value === "poison") return value;
  throw new TypeError(
    `Cannot use ${what} as "afterException" is ${describeValue(value)}: use "continue" or "poison"`,
  );
}

/** The options that functions and libraries share. */
function parseCallOptions(
  options: Readonly<Record<string, unknown>>,
  inherited: ParsedOptions,
  what: string,
): ParsedOptions {
  return {
    ...parseSignals(options.signals, inherited),
    propagate: parseExceptions(options.exceptions, inherited.propagate, what),
    afterException: parseAfterException(options.afterException, inherited.afterException, what),
  };
}

const defaultOptions: ParsedOptions = Object.freeze({
  ...defaultMasks,
  propagate: false,
  afterException: null,
});

/** A library's options. */
export function parseOptions(options: unknown, library: string): ParsedOptions {
  if (options === undefined) return defaultOptions;
  const what = `the options for ${library}`;
  if (!isRecord(options)) throw new TypeError(`Cannot use ${what} as they are not an object`);
  refuseUnknown(options, optionNames, what);
  return parseCallOptions(options, defaultOptions, what);
}

function describeType(type: unknown): string {
  return isRecord(type) && "struct" in type ? "a struct by value" : describeValue(type);
}

function unknownType(what: string, position: string, type: unknown): TypeError {
  return new TypeError(
    `Cannot define ${what} as its ${position} has the type ${describeType(type)}, which is not ` +
      `supported: use one of ${nativeTypeNames.join(", ")}`,
  );
}

function parseParameters(parameters: unknown, what: string): ParameterCodec[] {
  if (!Array.isArray(parameters)) {
    throw new TypeError(`Cannot define ${what} as its parameters are not an array of type names`);
  }
  // Array.from, unlike map, visits holes.
  const codecs = Array.from(parameters, (type, index) => {
    const codec = parameterCodec(type);
    if (codec === undefined) throw unknownType(what, `parameter ${index + 1}`, type);
    return codec;
  });
  return codecs;
}

/** What does not fit into registers takes a stack word each; the stack stays 16-byte aligned. */
function stackBytes(codecs: readonly ParameterCodec[]): number {
  const floats = codecs.filter(({ register }) => register === "float").length;
  const integers = codecs.length - floats;
  const words = Math.max(0, floats - floatRegisters) + Math.max(0, integers - integerRegisters);
  return 16 * Math.ceil(words / 2);
}

function parseResult(result: unknown, what: string): ResultCodec {
  const codec = resultCodec(result);
  if (codec === undefined) throw unknownType(what, "result", result);
  return codec;
}

function parseName(name: unknown, what: string): string {
  if (typeof name !== "string" || name === "" || name.includes("\0")) {
    throw new TypeError(`Cannot define ${what} as its name is not a symbol's name`);
  }
  return name;
}

function parseBoolean(value: unknown, option: string, what: string): boolean {
  if (typeof value === "boolean") return value;
  throw new TypeError(`Cannot define ${what} as "${option}" is neither true nor false`);
}

/**
 * Reads the definition of one function, in either spelling.
 *
 * @throws {TypeError} If it is not an object, names a type or option that is not known, or takes
 * more arguments than there are registers.
 */
export function parseDefinition(
  key: string,
  definition: unknown,
  library: string,
  inherited: ParsedOptions,
): ParsedDefinition {
  const what = `${key}() of ${library}`;
  if (!isRecord(definition)) {
    throw new TypeError(`Cannot define ${what} as its definition is not an object`);
  }
  if (bunNames.some((name) => name in definition)) {
    return parseBunSpelling(key, definition, library, inherited);
  }
  refuseUnknown(definition, definitionNames, `the definition of ${what}`);
  const { parameters = [], result = "void", name = key, optional = false } = definition;
  const symbol = parseName(name, what);
  const codecs = parseParameters(parameters, what);
  return {
    key,
    optional: parseBoolean(optional, "optional", what),
    nonblocking: parseBoolean(definition.nonblocking ?? false, "nonblocking", what),
    ...parseCallOptions(definition, inherited, what),
    stackBytes: stackBytes(codecs),
    address: null,
    signature: {
      library,
      symbol,
      parameters: codecs,
      parameterTypes: (parameters as unknown[]).map(String),
      result: parseResult(result, what),
    },
  };
}

function bunResult(result: BunType, what: string): ResultCodec {
  if (result === "i64_fast" || result === "u64_fast") return exactResultCodecs[result];
  return parseResult(result, what);
}

function parseBunSpelling(
  key: string,
  definition: Readonly<Record<string, unknown>>,
  library: string,
  inherited: ParsedOptions,
): ParsedDefinition {
  const what = `${key}() of ${library}`;
  const foreign = Object.keys(definition).find((name) => definitionNames.has(name));
  if (foreign !== undefined && !optionNames.has(foreign)) {
    const own = bunNames.find((name) => name in definition);
    throw new TypeError(
      `Cannot define ${what} as its definition mixes Bun's spelling ("${own}") with Deno's ` +
        `("${foreign}"): use one of them`,
    );
  }
  refuseUnknown(definition, bunDefinitionNames, `the definition of ${what}`);
  const { parameters, result, address } = parseBunDefinition(definition, what);
  const types = parameters.map((type) => type.replace(/_fast$/, ""));
  const codecs = parseParameters(types, what);
  return {
    key,
    optional: false,
    nonblocking: false,
    ...parseCallOptions(definition, inherited, what),
    stackBytes: stackBytes(codecs),
    address,
    signature: {
      library,
      symbol: address === null ? parseName(key, what) : key,
      parameters: codecs,
      parameterTypes: parameters,
      result: bunResult(result, what),
    },
  };
}

function parseStatic(
  key: string,
  definition: Readonly<Record<string, unknown>>,
  library: string,
): ParsedStatic {
  const what = `${key} of ${library}`;
  refuseUnknown(definition, staticNames, `the definition of the variable ${what}`);
  const { type, name = key, optional = false } = definition;
  if (!isStaticType(type)) {
    throw new TypeError(
      `Cannot define ${what} as its variable has the type ${describeType(type)}, which is not ` +
        `supported: use one of ${staticTypeNames.join(", ")}`,
    );
  }
  return {
    key,
    optional: parseBoolean(optional, "optional", what),
    library,
    symbol: parseName(name, what),
    type,
  };
}

function parseSymbol(
  key: string,
  definition: unknown,
  library: string,
  inherited: ParsedOptions,
): ParsedSymbol {
  if (isRecord(definition) && "type" in definition) return parseStatic(key, definition, library);
  return parseDefinition(key, definition, library, inherited);
}

/** Reads all definitions, in their order. */
export function parseDefinitions(
  symbols: unknown,
  library: string,
  inherited: ParsedOptions,
): ParsedSymbol[] {
  if (!isRecord(symbols)) {
    throw new TypeError(
      `Cannot open ${library} as its symbols are not an object: pass { name: definition }`,
    );
  }
  return Object.entries(symbols).map(([key, definition]) =>
    parseSymbol(key, definition, library, inherited)
  );
}
