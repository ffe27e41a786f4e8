/** Faults that nobody catches, by every way to say so. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { callable, callback, dlopen } from "../../mod.ts";
import { aboutToDieHere, callsPath, openCalls, takeAllThunks } from "../calls_support.ts";
import { exceptionOf, fixturePath, openFixture, rawSymbols, runCase } from "../support.ts";

const definitions = {
  fx_read: { parameters: ["address", "i32"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_ud2: { parameters: ["i32", "i32"] },
  fx_bus: { name: "fx_read", parameters: ["address", "i32"], result: "u64" },
} as const;
type Symbol = keyof typeof definitions;
type Call = (...values: readonly unknown[]) => unknown;

/** Arguments that make the function fault. */
function argumentsOf(symbol: Symbol): unknown[] {
  if (symbol === "fx_bus") return [openFixture().symbols.fx_map_short_file(100n) + 4096n, 0];
  return symbol === "fx_read" ? [8n, 0] : [1, 0];
}

const chosen = (process.argv[4] ?? "fx_read") as Symbol;

function die(call: Call): void {
  const values = argumentsOf(chosen);
  aboutToDieHere();
  call(...values);
}

function unguarded(): void {
  const raw = rawSymbols(fixturePath, {
    fx_read: { parameters: ["u64", "i32"], result: "u64" },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    fx_ud2: { parameters: ["i32", "i32"], result: "void" },
  });
  const name = chosen === "fx_bus" ? "fx_read" : chosen;
  die(raw[name]!);
}

function symbol(): void {
  const definition = { ...definitions[chosen], exceptions: "propagate" } as const;
  die(dlopen(fixturePath, { call: { name: chosen, ...definition } }).symbols.call as Call);
}

function library(): void {
  const { symbols } = dlopen(fixturePath, definitions, { exceptions: "propagate" });
  die(symbols[chosen] as Call);
}

function fromAddress(): void {
  const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);
  const { symbols } = dlopen("libc.so.6", {
    dlopen: { parameters: ["buffer", "i32"], result: "address" },
    dlsym: { parameters: ["address", "buffer"], result: "address" },
  });
  const handle = symbols.dlopen(text(fixturePath), 2);
  const name = chosen === "fx_bus" ? "fx_read" : chosen;
  const address = symbols.dlsym(handle, text(name));
  die(callable(address, { ...definitions[chosen], exceptions: "propagate" }) as Call);
}

function block(): void {
  takeAllThunks();
  symbol();
}

function raised(): void {
  const { symbols } = dlopen("libc.so.6", { abort: {} }, {
    signals: ["SIGABRT"],
    exceptions: "propagate",
  });
  aboutToDieHere();
  symbols.abort();
}

function throwOverrides(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], exceptions: "throw" },
  }, { exceptions: "propagate" });
  for (let round = 0; round < 10; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(9n)).info.address, 9n);
  }
}

function throwOverridesWithSignals(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], exceptions: "throw", signals: ["SIGSEGV"] },
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
  }, { exceptions: "propagate" });
  assert.equal(exceptionOf(() => symbols.fx_read(9n)).info.address, 9n);
  assert.equal(symbols.fx_echo_i32(7), 7);
}

function harmless(): void {
  const { symbols } = dlopen(fixturePath, {
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
    fx_echo_f64: { parameters: ["f64"], result: "f64" },
  }, { exceptions: "propagate" });
  for (let round = 0; round < 1000; round++) {
    assert.equal(symbols.fx_echo_i32(round), round);
    assert.equal(symbols.fx_echo_f64(round / 3), round / 3);
  }
}

/** A call that propagates, around a callback whose own calls are caught. */
function caughtAround(): void {
  const { symbols } = dlopen(callsPath, {
    cx_back_i32: { parameters: ["function", "i32"], result: "i32" },
  }, { exceptions: "propagate" });
  const calls = openCalls().symbols;
  using made = callback({ parameters: ["i32"], result: "i32" }, (value) => {
    assert.equal(exceptionOf(() => calls.cx_load(9n)).info.address, 9n);
    return value;
  });
  assert.equal(symbols.cx_back_i32(made, 4), 4);
}

await runCase(import.meta.url, {
  unguarded,
  symbol,
  library,
  callable: fromAddress,
  block,
  raised,
  throwOverrides,
  throwOverridesWithSignals,
  harmless,
  caughtAround,
});
