/**
 * Reads the definitions that users give for symbols, and refuses what cannot work before native
 * code sees it.
 *
 * @module
 */
import { bunNames, type BunType, parseBunDefinition } from "./bun_definition.ts";
import { isStaticType, type ParsedStatic, staticTypeNames } from "./foreign_static.ts";
import type { GuardedSignature } from "./guarded_call.ts";
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

const integerRegisters = 6;
const floatRegisters = 8;
const optionNames: ReadonlySet<string> = new Set(["signals"]);
const definitionNames: ReadonlySet<string> = new Set([
  ...optionNames,
  "parameters",
  "result",
  "name",
  "optional",
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

/** The masks of a library's options. */
export function parseOptions(options: unknown, library: string): SignalMasks {
  if (options === undefined) return defaultMasks;
  const what = `the options for ${library}`;
  if (!isRecord(options)) throw new TypeError(`Cannot use ${what} as they are not an object`);
  refuseUnknown(options, optionNames, what);
  return parseSignals(options.signals);
}

function describeType(type: unknown): string {
  if (isRecord(type) && "struct" in type) return "a struct by value";
  return typeof type === "string" ? `"${type}"` : String(type);
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
  const floats = codecs.filter(({ register }) => register === "float").length;
  if (floats > floatRegisters || codecs.length - floats > integerRegisters) {
    throw new TypeError(
      `Cannot define ${what} as it takes ${codecs.length - floats} integers and ${floats} ` +
        `floating-point numbers: at most ${integerRegisters} and ${floatRegisters} are supported`,
    );
  }
  return codecs;
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

function parseOptional(optional: unknown, what: string): boolean {
  if (typeof optional === "boolean") return optional;
  throw new TypeError(`Cannot define ${what} as "optional" is neither true nor false`);
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
  inherited: SignalMasks,
): ParsedDefinition {
  const what = `${key}() of ${library}`;
  if (!isRecord(definition)) {
    throw new TypeError(`Cannot define ${what} as its definition is not an object`);
  }
  if (bunNames.some((name) => name in definition)) {
    return parseBunSpelling(key, definition, library, inherited);
  }
  refuseUnknown(definition, definitionNames, `the definition of ${what}`);
  const { parameters = [], result = "void", name = key, optional = false, signals } = definition;
  const symbol = parseName(name, what);
  const codecs = parseParameters(parameters, what);
  return {
    key,
    optional: parseOptional(optional, what),
    address: null,
    signature: {
      library,
      symbol,
      parameters: codecs,
      parameterTypes: (parameters as unknown[]).map(String),
      result: parseResult(result, what),
    },
    ...parseSignals(signals, inherited),
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
  inherited: SignalMasks,
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
  return {
    key,
    optional: false,
    address,
    signature: {
      library,
      symbol: address === null ? parseName(key, what) : key,
      parameters: parseParameters(types, what),
      parameterTypes: parameters,
      result: bunResult(result, what),
    },
    ...parseSignals(definition.signals, inherited),
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
    optional: parseOptional(optional, what),
    library,
    symbol: parseName(name, what),
    type,
  };
}

function parseSymbol(
  key: string,
  definition: unknown,
  library: string,
  inherited: SignalMasks,
): ParsedSymbol {
  if (isRecord(definition) && "type" in definition) return parseStatic(key, definition, library);
  return parseDefinition(key, definition, library, inherited);
}

/** Reads all definitions, in their order. */
export function parseDefinitions(
  symbols: unknown,
  library: string,
  inherited: SignalMasks,
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
