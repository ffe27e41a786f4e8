/** Hooks where they end the process, or where nothing else may have touched the handlers. */
import { strict as assert } from "node:assert";
import { writeSync } from "node:fs";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  addHook,
  type CallOptions,
  dlopen,
  HardwareException,
  protect,
  throwException,
} from "../../mod.ts";
import { type Hook, type SignalName, status } from "../../mod.ts";
import { mending, openHooks, pageLength, pages, protectOften, Told } from "../hooks_support.ts";
import { lengths, registers } from "../fixture_code.ts";
import { viewOf } from "../memory_view.ts";
import { arm64, emulated, manyRounds, runtimePath, timeFactor } from "../platform_support.ts";
import { controls, levels, survive } from "../survival.ts";
import { aboutToDie, allDispositions, exceptionOf, fixturePath, numbers } from "../support.ts";
import { childArgs, runtimeName, runWorker } from "../support.ts";
import { type Cases, openFixture, rawSymbols, runCase } from "../support.ts";
import { raw, read, seen, setHandler } from "./raw_handlers.ts";

const allSignals = Object.keys(allDispositions()) as SignalName[];
const read8 = { fx_read: { parameters: ["address"], result: "u64" } } as const;

/** fx_read, none of whose exceptions are caught. */
function propagated(options: CallOptions = { exceptions: "propagate" }): (at: bigint) => bigint {
  return dlopen(fixturePath, read8, options).symbols.fx_read;
}

/** Hooks alone install the handlers, and the last one puts back what was there. */
function restores(): void {
  setHandler("SIGFPE", 1, 0x4000_0000n, 0x1234n, 0n);
  setHandler("SIGILL", 0, 0x1000_0000n, 0n, 0n);
  const before = allDispositions();
  for (let round = 0; round < 3; round++) {
    const first = addHook({ signals: allSignals }, { action: "next" });
    const during = allDispositions();
    for (const name of allSignals) {
      assert.notDeepEqual(during[name], before[name], name);
      assert.equal(status().signals[name].owner, "faultline", name);
    }
    const second = addHook({ signals: ["SIGFPE", "SIGFPE", "SIGSEGV"] }, { action: "next" });
    assert.equal(first.remove(), true);
    const rest = allDispositions();
    assert.deepEqual(rest["SIGILL"], before["SIGILL"]);
    assert.deepEqual(rest["SIGFPE"], during["SIGFPE"]);
    assert.equal(second.remove(), true);
    assert.deepEqual(allDispositions(), before);
  }
  // A JavaScript hook that removes itself while it runs: what it answers still holds.
  const hook: Hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    hook.remove();
    exception.registers.instructionPointer += lengths.access;
    return "handled";
  });
  openFixture().symbols.fx_read(8n);
  assert.equal(hook.hits, 1);
}

/** The fixture's handler gets what happens outside guarded calls. */
function unguardedGoesOn(): void {
  setHandler("SIGSEGV", 1, 0n, 0n, lengths.access);
  const unasked = addHook({}, () => throwException());
  const native = addHook({}, { action: "throw" });
  raw.fx_read!(8n);
  assert.deepEqual([seen().count, seen().address], [1n, 8n]);
  assert.deepEqual([unasked.hits, native.hits], [0, 0]);
  assert.equal(exceptionOf(() => openFixture().symbols.fx_read(8n)).code, "SEGV_MAPERR");
  assert.equal(native.hits, 1);
}

/** By kill(), raise() and sigqueue(), outside guarded calls and in them. */
function sent(): void {
  const { symbols } = openFixture();
  const { fh_queue_self } = openHooks().symbols;
  for (const name of ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"] as const) {
    setHandler(name, 1, 0n, 0n, 0n);
    const signals = { signals: [name] } as const;
    const range = { address: 0n, byteLength: 2 ** 47 };
    const asked = [
      addHook(signals, () => "handled"),
      addHook(signals, { action: "die" }),
      addHook({ ...signals, range }, { action: "die" }),
    ];
    const ours = read(numbers[name]);
    raw.fx_kill_self!(numbers[name]);
    symbols.fx_kill_self(numbers[name]);
    symbols.fx_raise(numbers[name]);
    assert.equal(fh_queue_self(numbers[name]), 0);
    assert.deepEqual([name, seen().count, seen().code], [name, 4n, -1n]);
    assert.deepEqual(asked.map(({ hits }) => hits), [0, 0, 0], name);
    assert.deepEqual(read(numbers[name]), ours, name);
    for (const hook of asked) hook.remove();
  }
  using hook = addHook({ signals: ["SIGSEGV"] }, () => "next");
  assert.equal(exceptionOf(() => symbols.fx_read(8n)).code, "SEGV_MAPERR");
  assert.equal(hook.hits, 1);
}

function propagatedAlone(): void {
  using _hook = addHook({}, () => "next");
  aboutToDie();
  propagated()(8n);
}

/** H39: the report goes to standard error, and the process dies as if there had been no hook. */
function screamAndDie(): void {
  using _hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    const lines = [
      `SCREAM ${exception.code} at 0x${exception.address!.toString(16)}`,
      `in ${exception.call?.symbol}(), thread ${exception.threadId === process.pid}`,
      ...exception.backtrace().map((frame) => `frame ${frame.symbol ?? frame.module ?? "?"}`),
      exception.explanation ?? "",
    ];
    writeSync(2, `${lines.join("\n")}\n`);
    try {
      throwException();
    } catch (error) {
      writeSync(2, (error as { toReport(): { toText(): string } }).toReport().toText());
    }
    return "next";
  });
  aboutToDie();
  propagated()(8n);
}

function die(): void {
  using _older = addHook({}, () => "handled");
  using _hook = addHook({ signals: ["SIGSEGV"] }, { action: "die" });
  aboutToDie();
  openFixture().symbols.fx_read(8n);
}

function dieAfterNext(): void {
  using _older = addHook({ signals: ["SIGFPE"] }, { action: "die" });
  using _hook = addHook({ signals: ["SIGFPE"] }, () => {
    writeSync(2, "asked\n");
    return "next";
  });
  aboutToDie();
  openFixture().symbols.fx_divide(1, 0);
}

function dieByBreakpoint(): void {
  using _hook = addHook({ signals: ["SIGTRAP"] }, { action: "die" });
  aboutToDie();
  openFixture().symbols.fx_int3();
}

function callFaults(): void {
  const told = new Told("fault");
  const action = { action: "call", function: openHooks().symbols.fh_hook } as const;
  using _hook = addHook({}, { ...action, data: addressOfWords(told.words) });
  aboutToDie();
  openFixture().symbols.fx_divide(1, 0);
}

function callFaultsElsewhere(): void {
  const told = new Told("fault");
  const { fh_hook, fh_on_thread } = openHooks().symbols;
  const address = pages(1);
  using _hook = addHook({ range: { address, byteLength: pageLength } }, {
    action: "call",
    function: fh_hook,
    data: addressOfWords(told.words),
  });
  aboutToDie();
  fh_on_thread(BigUint64Array.of(address, 1n, 0n, 0n));
}

function addressOfWords(words: BigUint64Array): bigint {
  const definition = { fx_echo_u64: { parameters: ["buffer"], result: "address" } } as const;
  return dlopen(fixturePath, definition).symbols.fx_echo_u64(words);
}

function hookFaults(): void {
  const unguarded = rawSymbols(fixturePath, { fx_read: { parameters: ["u64"], result: "u64" } });
  using _hook = addHook({}, () => {
    aboutToDie();
    unguarded.fx_read!(16n);
    return "handled";
  });
  openFixture().symbols.fx_divide(1, 0);
}

function noProgress(): void {
  let rounds = 0;
  using _hook = addHook({ signals: ["SIGSEGV"] }, () => {
    if (++rounds === 1000) aboutToDie();
    return "handled";
  });
  propagated()(8n);
}

/** In the handler, on a thread that never attached. */
function noProgressElsewhere(): void {
  const address = pages(1);
  using _hook = addHook({ range: { address, byteLength: pageLength } }, {
    action: "set-registers",
    registers: { [registers.unused]: 0n },
  });
  aboutToDie();
  openHooks().symbols.fh_on_thread(BigUint64Array.of(address, 1n, 0n, 0n));
}

/** A hook that has answered "next" for a call that catches nothing is asked again next time. */
function askedAgain(): void {
  setHandler("SIGSEGV", 1, 0n, 0n, lengths.access);
  const call = propagated();
  for (let round = 1; round <= 4; round++) {
    const hook: Hook = addHook({ signals: ["SIGSEGV"] }, () => {
      if (round % 2 === 0) hook.remove();
      return "next";
    });
    call(8n);
    assert.deepEqual([round, hook.hits, seen().count], [round, 1, BigInt(round)]);
    hook.remove();
  }
}

/** What is passed on is passed on once, with everything as it was. */
function passedOn(signal: "SIGTRAP" | "SIGFPE", length: bigint): void {
  setHandler(signal, 1, 0n, 0n, length);
  const { symbols } = dlopen(fixturePath, {
    fx_int3: { result: "i32" },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  }, { exceptions: "propagate" });
  using hook = addHook({}, (exception) => {
    exception.registers.instructionPointer += 100n;
    return "next";
  });
  for (let round = 1; round < 4; round++) {
    if (signal === "SIGTRAP") assert.equal(symbols.fx_int3(), 7);
    else assert.equal(symbols.fx_divide(8, 0), arm64 ? 0 : 8);
    assert.deepEqual([seen().count, seen().signal], [BigInt(round), BigInt(numbers[signal])]);
    assert.equal(hook.hits, round);
  }
}

/** No JavaScript hook is needed for memory that JavaScript itself touches. */
function scoped(): void {
  const address = pages(1, "r--");
  const range = { address, byteLength: pageLength };
  assert.throws(() => addHook({}, () => "next"), /--allow-ffi, without a list of paths/);
  using hook = addHook({ range }, { action: "protect", protection: "rw-" });
  openFixture().symbols.fx_write(address, 7n);
  protect(range, "r--");
  assert.equal(openFixture().symbols.fx_read(address), 7n);
  assert.equal(hook.hits, 1);
}

/**
 * Code that is not compiled keeps its variables in memory: the registers look the same each time.
 * The flags keep both engines in their interpreters. bun:ffi will not do without any compiler.
 */
function interpreted(): void {
  if (!process.env["FAULTLINE_INTERPRETED"]) {
    const flags = runtimeName() === "deno" ? ["--allow-all", "--v8-flags=--jitless"] : [];
    const environment = { BUN_JSC_useBaselineJIT: "0", FAULTLINE_INTERPRETED: "1" };
    const args = [...childArgs(fileURLToPath(import.meta.url), flags), "interpreted"];
    const { status, signal, stderr } = spawnSync(runtimePath, args, {
      encoding: "utf8",
      env: { ...process.env, ...environment },
      timeout: 15_000 * timeFactor,
    });
    assert.deepEqual([status, signal], [0, null], stderr);
    return;
  }
  const address = pages(1);
  const range = { address, byteLength: pageLength };
  const bytes = viewOf(address, pageLength);
  using hook = addHook({ range }, { action: "protect", protection: "rw-" });
  for (let round = 1; round <= manyRounds(5000); round++) {
    protect(range, "r--");
    bytes[0] = 7;
    if (hook.hits !== round) throw new Error(`asked ${hook.hits} times in round ${round}`);
  }
}

/** What the Worker of `workers` does: with the page that main protects, it needs main's hook. */
function workerTask(): void {
  const address = pages(1);
  {
    using own = mending({ signals: ["SIGSEGV"] });
    openFixture().symbols.fx_write(address, 7n);
    assert.equal(own.hook.hits, 1);
  }
  protect({ address, byteLength: pageLength }, "---");
  assert.equal(openFixture().symbols.fx_read(address), 7n);
  // A JavaScript hook of main's and a native one that is bound to it are not asked here.
  const { info } = exceptionOf(() => openFixture().symbols.fx_ud2());
  assert.equal(
    info.hooksSkipped,
    "it happened on another thread than the one that added the hook",
  );
}

async function workers(): Promise<void> {
  using any = addHook({ signals: ["SIGSEGV"] }, { action: "protect", protection: "rw-" });
  using script = addHook({ signals: ["SIGILL"] }, () => "handled");
  using bound = addHook({ signals: ["SIGILL"], thread: "current" }, { action: "die" });
  await runWorker(new URL(import.meta.url), "workerTask");
  assert.deepEqual([any.hits, script.hits, bound.hits], [1, 0, 0]);
  bound.remove();
  script.remove();
  const address = pages(1);
  openFixture().symbols.fx_write(address, 7n);
  assert.equal(any.hits, 2);
}

/** Functions beyond the thunks, which run by call blocks. */
async function blocks(): Promise<void> {
  // It wants WebAssembly, which interpreters have not.
  (await import("../calls_support.ts")).takeAllThunks();
  const address = pages(1);
  const { symbols } = dlopen(fixturePath, {
    fx_read: { parameters: ["address"], result: "u64" },
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    later: { name: "fx_read", parameters: ["address"], result: "u64", nonblocking: true },
  });
  {
    using hook = mending();
    for (let round = 1; round <= manyRounds(2000); round++) {
      protectOften(address, "---");
      assert.equal(symbols.fx_read(address), 0n);
      assert.equal(hook.hook.hits, round);
    }
  }
  {
    using _hook = addHook({ signals: ["SIGSEGV"] }, ({ call }) => {
      assert.equal(call?.symbol, "fx_read");
      assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
      return throwException("blocks");
    });
    const { info, additional } = exceptionOf(() => symbols.fx_read(8n));
    assert.deepEqual([info.address, info.call?.symbol, additional], [8n, "fx_read", "blocks"]);
  }
  using native = addHook({ signals: ["SIGSEGV"] }, { action: "protect", protection: "rw-" });
  protect({ address, byteLength: pageLength }, "---");
  assert.equal(await symbols.later(address), 0n);
  assert.equal(native.hits, 1);
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
}

/** With every kilobyte less of the stack, a hook runs or is passed over, and nothing breaks. */
function depths(): void {
  const { symbols } = openHooks();
  const lowest = lowestStack();
  const room = symbols.fh_stack_pointer() - lowest;
  const skipped = new Set<string>();
  let ran = 0;
  let mended = 0;
  using _hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    ran++;
    // Work of its own, in both engines' ways.
    JSON.parse(JSON.stringify({ text: `${exception.code} ${exception.address}`.repeat(10) }));
    exception.registers.instructionPointer += lengths.access;
    return "handled";
  });
  for (let left = room; left > -16384n; left -= left > 1_200_000n ? 65_536n : 8192n) {
    try {
      symbols.fh_at_depth(8n, room - left);
      mended++;
    } catch (error) {
      if (!(error instanceof HardwareException)) throw error;
      skipped.add(String(error.info.hooksSkipped));
    }
  }
  assert.equal(mended, ran);
  assert.ok(mended > 0);
  assert.ok(
    skipped.size >= 1 && [...skipped].every((why) => why.startsWith("the stack")),
    [
      ...skipped,
    ].join(),
  );
}

/** The lowest address of this thread's stack, by an exception's own record. */
function lowestStack(): bigint {
  const { info } = exceptionOf(() => openFixture().symbols.fx_overflow(0n));
  return info.stackPointer;
}

/** With a collector at hand, where the flags give it. */
function survives(): void {
  for (const level of levels.filter(({ lacking }) => lacking() === false)) {
    // Collecting garbage takes an emulator seconds.
    for (const control of controls) survive(level, control, emulated ? 1 : 3);
  }
}

const cases: Cases = {
  restores,
  unguardedGoesOn,
  sent,
  propagatedAlone,
  screamAndDie,
  die,
  dieAfterNext,
  dieByBreakpoint,
  callFaults,
  callFaultsElsewhere,
  hookFaults,
  noProgress,
  noProgressElsewhere,
  askedAgain,
  faultPassedOn: () => passedOn("SIGFPE", lengths.divide),
  trapPassedOn: () => passedOn("SIGTRAP", lengths.breakpointLeft),
  scoped,
  interpreted,
  workers,
  blocks,
  depths,
  survives,
  workerTask,
};

await runCase(import.meta.url, cases);
