/** Exceptions that somebody takes beside a crash reporter, and then one that nobody takes. */
import { existsSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  addHook,
  dlopen,
  HardwareException,
  installCrashReporter,
  isReadable,
  mapFile,
  protect,
  readMemory,
  throwException,
} from "../../mod.ts";
import { arm64 } from "../platform_support.ts";
import { hooksPath, mending, openHooks, pageLength, pages } from "../hooks_support.ts";
import {
  aboutToDie,
  type Cases,
  exceptionOf,
  fixturePath,
  openFixture,
  rawSymbols,
  runCase,
} from "../support.ts";

interface Host {
  readonly WebAssembly: {
    Module: new (bytes: Uint8Array) => object;
    Instance: new (module: object) => { exports: { f: (address: number) => number } };
    RuntimeError: new () => Error;
  };
}
const { WebAssembly } = globalThis as unknown as Host;
const directory = process.argv[3]!;
const { symbols } = openFixture();
/** An integer division by zero is no exception on arm64. */
const divisionTraps = !arm64;

function expectReports(count: number, what: string): void {
  const found = readdirSync(directory).filter((name) => name.endsWith(".json"));
  if (found.length !== count) throw new Error(`${found.length} reports after ${what}`);
}

/** Everything that ends well. */
async function handled(): Promise<void> {
  for (let round = 0; round < 100; round++) exceptionOf(() => symbols.fx_read(8n));
  expectReports(0, "guarded calls");
  if (divisionTraps) exceptionOf(() => symbols.fx_divide(1, 0));
  exceptionOf(() => symbols.fx_ud2());
  exceptionOf(() => symbols.fx_int3());
  expectReports(0, "other signals");
  const raised = dlopen(fixturePath, { fx_raise: { parameters: ["u32"], result: "i32" } }, {
    signals: ["SIGABRT"],
  });
  exceptionOf(() => raised.symbols.fx_raise(6));
  expectReports(0, "raise()");
  const later = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64", nonblocking: true },
  });
  await later.symbols.fx_read(8n).then(
    () => expectReports(-1, "a call that should throw"),
    (error) => {
      if (!(error instanceof HardwareException)) throw error;
    },
  );
  exceptionOf(() => readMemory(8n, new Uint8Array(8)));
  if (isReadable({ address: 8n, byteLength: 8 })) throw new Error("the zero page is readable");
  exceptionOf(() => throwException({ signal: "SIGSEGV" }));
  expectReports(0, "calls on other threads, and reads of memory");
  {
    using hook = mending();
    symbols.fx_write(pages(1), 7n);
    if (hook.hook.hits !== 1) throw new Error("the hook was not asked");
  }
  // The library of the hooks' tests is one of x86-64 alone.
  if (existsSync(hooksPath)) {
    const address = pages(1);
    using hook = addHook({ range: { address, byteLength: pageLength } }, {
      action: "protect",
      protection: "rw-",
    });
    // On a thread that never attached, and outside a guarded call.
    const task = new BigUint64Array([address, 1n, 0n, 0n]);
    if (openHooks().symbols.fh_on_thread(task) !== 0) throw new Error("no thread");
    protect({ address, byteLength: pageLength }, "---");
    const raw = rawSymbols(fixturePath, { fx_read: { parameters: ["u64"], result: "u64" } });
    raw.fx_read!(address);
    if (hook.hits !== 2) throw new Error(`the hook was asked ${hook.hits} times`);
  }
  expectReports(0, "hooks that mend");
  {
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => "next");
    exceptionOf(() => symbols.fx_read(8n));
    using _throws = addHook({ signals: ["SIGILL"] }, { action: "throw" });
    exceptionOf(() => symbols.fx_ud2());
  }
  expectReports(0, "hooks that pass and throw");
  lostPages();
}

/** Pages of a mapped file that somebody cut off. */
function lostPages(): void {
  const path = join(directory, "mapped");
  writeFileSync(path, new Uint8Array(2 * pageLength).fill(1));
  {
    using file = mapFile(path);
    truncateSync(path, pageLength);
    if (file.bytes[pageLength] !== 0) throw new Error("the lost page is not zero");
  }
  rmSync(path);
  expectReports(0, "a lost page of a mapped file");
}

/** A runtime's own faults are no crashes. */
function webAssembly(): void {
  // (module (memory 1) (func (export "f") (param i32) (result i32) local.get 0 i32.load))
  const bytes = Uint8Array.from([
    ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 127, 3, 2, 1, 0, 5, 3, 1, 0, 1],
    ...[7, 5, 1, 1, 102, 0, 0, 10, 9, 1, 7, 0, 32, 0, 40, 2, 0, 11],
  ]);
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  for (let round = 0; round < 200; round++) {
    try {
      f(0x7fff0000);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) continue;
      throw error;
    }
    throw new Error("no trap");
  }
  expectReports(0, "traps of WebAssembly");
}

const cases: Cases = {
  async unguarded(): Promise<void> {
    await handled();
    webAssembly();
    aboutToDie();
    rawSymbols(fixturePath, { fx_read: { parameters: ["u64"], result: "u64" } }).fx_read!(24n);
  },
  async propagated(): Promise<void> {
    await handled();
    const library = dlopen(fixturePath, { fx_read: { parameters: ["address"], result: "u64" } }, {
      exceptions: "propagate",
    });
    aboutToDie();
    library.symbols.fx_read(24n);
  },
  async diesByHook(): Promise<void> {
    await handled();
    using _hook = addHook({ signals: ["SIGSEGV"] }, { action: "die" });
    aboutToDie();
    symbols.fx_read(24n);
  },
  async passedByHooks(): Promise<void> {
    await handled();
    using _native = addHook({ signals: ["SIGSEGV"] }, { action: "next" });
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => "next");
    const library = dlopen(fixturePath, { fx_read: { parameters: ["address"], result: "u64" } }, {
      exceptions: "propagate",
    });
    aboutToDie();
    library.symbols.fx_read(24n);
  },
  async mendsNothing(): Promise<void> {
    await handled();
    // Says that it has mended, and has not: after a thousand times nobody believes it.
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => "handled");
    const library = dlopen(fixturePath, { fx_read: { parameters: ["address"], result: "u64" } }, {
      exceptions: "propagate",
    });
    aboutToDie();
    library.symbols.fx_read(24n);
  },
};

installCrashReporter({ directory, stderr: false });
await runCase(import.meta.url, cases);
