/**
 * What a guarded call costs more than the runtime's plain one: the same function, the same types.
 *
 *     bun bench/call_cost.ts
 *     deno run --allow-all bench/call_cost.ts
 */
import { dlopen, type NativeType } from "../mod.ts";
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

const aim = 1.5;
const rounds = 401;
const callsPerRound = 20_000;

/** One signature: the body of the loop, with `call` for the function. */
interface Signature {
  readonly symbol: string;
  readonly parameters: readonly NativeType[];
  readonly result: NativeType;
  /** The call, as source text. */
  readonly call: string;
}

// The functions return their first argument; arguments that they do not look at cost them nothing.
const signatures: Readonly<Record<string, Signature>> = {
  "void()": { symbol: "fx_echo_i32", parameters: [], result: "void", call: "call()" },
  "i32(i32, i32)": {
    symbol: "fx_echo_i32",
    parameters: ["i32", "i32"],
    result: "i32",
    call: "call(i, 3)",
  },
  "f64(f64, f64)": {
    symbol: "fx_echo_f64",
    parameters: ["f64", "f64"],
    result: "f64",
    call: "call(i, 0.5)",
  },
  "u64(u64), a bigint": {
    symbol: "fx_echo_u64",
    parameters: ["u64"],
    result: "u64",
    call: "call(big)",
  },
  "bool(buffer)": {
    symbol: "fx_is_null",
    parameters: ["buffer"],
    result: "bool",
    call: "call(bytes)",
  },
};

function measure({ symbol, parameters, result, call }: Signature): readonly string[] {
  const path = fixturePath();
  const definition = { parameters, result };
  const plain = plainLibrary(path, { [symbol]: definition })[symbol]!;
  const guarded = dlopen(path, { [symbol]: definition }).symbols[symbol]!;
  const body = `let last; for (let i = 0; i < count; i++) last = ${call}; return last;`;
  const values = { big: 7n, bytes: new Uint8Array(16) };
  const runPlain = loop({ ...values, call: plain }, body);
  const runGuarded = loop({ ...values, call: guarded }, body);
  if (runPlain(3) !== runGuarded(3)) throw new Error(`${symbol} gives different results`);
  const samples = interleave({
    plain: () => time(runPlain, callsPerRound),
    guarded: () => time(runGuarded, callsPerRound),
  }, rounds);
  const difference = perRound((guard, bare) => guard - bare, samples.guarded, samples.plain);
  const ratio = perRound((guard, bare) => guard / bare, samples.guarded, samples.plain);
  return [
    ratio.toFixed(2),
    nanoseconds(difference),
    nanoseconds(Math.min(...samples.plain)),
    nanoseconds(median(samples.plain)),
    nanoseconds(Math.min(...samples.guarded)),
    nanoseconds(median(samples.guarded)),
  ];
}

console.log(`Guarded call against the plain call of ${runtimeName}; nanoseconds per call`);
printTable(
  ["signature", "ratio", "added", "plain min", "median", "guarded min", "median"],
  Object.entries(signatures).map(([title, signature]) => [title, ...measure(signature)]),
);
console.log(`${rounds} rounds of ${callsPerRound} calls. Aim: ${aim} ns added.\n`);
