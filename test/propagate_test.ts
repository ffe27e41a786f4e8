/** Calls whose exceptions are not caught: the process ends as if we were not there. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type CallOptions, dlopen } from "../mod.ts";
import { callsDie, callsPass, callsPath } from "./calls_support.ts";
import { type ChildResult, runtimeName } from "./support.ts";

const faults = {
  SIGSEGV: "fx_read",
  SIGFPE: "fx_divide",
  SIGILL: "fx_ud2",
  SIGBUS: "fx_bus",
} as const;

/** What Bun prints about a crash; Deno prints nothing. */
function checkReport(result: ChildResult, plain: ChildResult, said: string): void {
  if (runtimeName() === "deno") return assert.equal(result.stderr, plain.stderr, said);
  const lines = (text: string): string[] =>
    text.split("\n").filter((line) => /^panic|^Bun v|oh no/.test(line)).map((line) =>
      line.replace(/address 0x[0-9A-F]+/i, "address X")
    );
  assert.ok(lines(plain.stderr).length >= 2, said);
  assert.deepEqual(lines(result.stderr), lines(plain.stderr), said);
}

for (const [signal, symbol] of Object.entries(faults)) {
  const plain = { result: undefined as ChildResult | undefined };
  for (const way of ["symbol", "library", "callable", "block"]) {
    test(`exceptions: "propagate" on a ${way}: ${symbol} ends the process by ${signal}`, () => {
      plain.result ??= callsDie(signal, "propagate", "unguarded", "main", symbol);
      const result = callsDie(signal, "propagate", way, "main", symbol);
      checkReport(result, plain.result, JSON.stringify(result));
    });
  }
}

test('exceptions: "propagate" for abort() and raise() ends the process by the signal', () => {
  callsDie("SIGABRT", "propagate", "raised", "main");
});

test('exceptions: "propagate" in a Worker ends the process by the signal', () => {
  callsDie("SIGSEGV", "propagate", "symbol", "worker", "fx_read");
});

for (const name of ["throwOverrides", "throwOverridesWithSignals", "harmless", "caughtAround"]) {
  test(`exceptions: "propagate" in a process of its own: ${name}`, () => {
    callsPass("propagate", name);
  });
}

test('exceptions: "throw" is the default, and may be said', () => {
  for (const options of [undefined, {}, { exceptions: "throw" }] as (CallOptions | undefined)[]) {
    using library = dlopen(callsPath, {
      cx_load: { parameters: ["address"], exceptions: "throw" },
      load: { name: "cx_load", parameters: ["address"] },
    }, options);
    assert.throws(() => library.symbols.cx_load(8n), { name: "HardwareException" });
    assert.throws(() => library.symbols.load(8n), { name: "HardwareException" });
  }
});

test("exceptions that are neither are a TypeError at open", () => {
  for (const wrong of ["catch", "", null, true, 1]) {
    const options = { exceptions: wrong } as unknown as CallOptions;
    const definition = { cx_load: { parameters: ["address"], ...options } } as const;
    assert.throws(() => dlopen(callsPath, definition), {
      name: "TypeError",
      message: /cx_load.*"exceptions".*"throw" or "propagate"/,
    });
    assert.throws(() => dlopen(callsPath, {}, options), {
      name: "TypeError",
      message: /options.*"exceptions".*"throw" or "propagate"/,
    });
  }
});
