/** Former handlers, later handlers, stray signals, and our own handlers' comings and goings. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { install, reinstall, type SignalName, status } from "../../mod.ts";
import { aboutToDie, allDispositions, exceptionOf, numbers } from "../support.ts";
import { openFixture, runCase, runtimeName } from "../support.ts";
import { raw, read, seen, setHandler } from "./raw_handlers.ts";

const defaults = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"] as const;
const everything: readonly SignalName[] = [...defaults, "SIGABRT", "SIGSYS"];
const lib = openFixture();
const { symbols } = lib;

function owners(): void {
  const runtimes = runtimeName() === "bun" ? everything : ["SIGSEGV", "SIGBUS"];
  const before = status();
  assert.equal(before.installed, false);
  const dispositions = allDispositions();
  for (const name of everything) {
    const expected = runtimes.includes(name) ? "runtime" : "default";
    assert.equal(before.signals[name].owner, expected, name);
    assert.equal(before.signals[name].handler, dispositions[name]![0], name);
  }
  setHandler("SIGABRT", 1, 0n, 0n, 0n);
  raw.fx_set_disposition!(numbers.SIGSYS, BigUint64Array.of(1n, 0n, 0n, 0n));
  using _handlers = install();
  const now = status();
  assert.equal(now.installed, true);
  for (const name of defaults) assert.equal(now.signals[name].owner, "faultline", name);
  assert.equal(now.signals.SIGABRT.owner, "other");
  assert.equal(now.signals.SIGSYS.owner, "ignored");
  assert.ok(Object.isFrozen(now) && Object.isFrozen(now.signals));
}

function disposal(): void {
  const before = allDispositions();
  const first = install();
  const during = allDispositions();
  const second = install();
  assert.deepEqual(allDispositions(), during);
  for (const name of defaults) assert.notDeepEqual(during[name], before[name]);
  for (const name of ["SIGABRT", "SIGSYS"]) assert.deepEqual(during[name], before[name]);
  second[Symbol.dispose]();
  assert.deepEqual(allDispositions(), before);
  assert.equal(status().installed, false);
  first[Symbol.dispose]();
  second[Symbol.dispose]();
  assert.deepEqual(allDispositions(), before);
  for (let round = 0; round < 20; round++) {
    using _handlers = install({ signals: everything });
    assert.equal(exceptionOf(() => symbols.fx_read(0n)).code, "SEGV_MAPERR");
  }
  assert.deepEqual(allDispositions(), before);
}

function chosen(): void {
  const before = allDispositions();
  using _handlers = install({ signals: ["SIGFPE", "SIGABRT"] });
  const { signals } = status();
  for (const name of everything) {
    const ours = name === "SIGFPE" || name === "SIGABRT";
    assert.equal(signals[name].owner === "faultline", ours, name);
    if (!ours) assert.deepEqual(allDispositions()[name], before[name]);
  }
  using _none = install({ signals: [] });
  using _more = install({ signals: ["SIGSYS"] });
  assert.equal(status().signals.SIGSYS.owner, "faultline");
  assert.equal(status().signals.SIGILL.owner === "faultline", false);
}

function callAfterDisposal(): void {
  const before = allDispositions();
  for (let round = 0; round < 5; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(BigInt(round))).info.address, BigInt(round));
    assert.equal(status().installed, true);
    install()[Symbol.dispose]();
    assert.deepEqual(allDispositions(), before);
  }
  assert.equal(symbols.fx_echo_i32(3), 3);
  assert.equal(status().signals.SIGSEGV.owner, "faultline");
}

async function disposalAndWorker(): Promise<void> {
  const worker = new Worker(new URL("./worker_calls.ts", import.meta.url));
  const next = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  assert.equal(await next(), "SEGV_MAPERR");
  for (let round = 0; round < 3; round++) {
    install()[Symbol.dispose]();
    assert.equal(status().installed, false);
    const answer = next();
    worker.postMessage("again");
    assert.equal(await answer, "SEGV_MAPERR");
    assert.equal(status().installed, true);
  }
  await worker.terminate();
}

function foreignRestored(): void {
  const usr1 = 1n << BigInt(numbers.SIGUSR1 - 1);
  // SA_NODEFER | SA_ONSTACK, and a mask.
  setHandler("SIGSEGV", 1, 0x4800_0000n, usr1, 3n);
  setHandler("SIGTRAP", 0, 0x8000_0000n, usr1 << 2n, 0n);
  const before = allDispositions();
  const handlers = install();
  assert.equal(exceptionOf(() => symbols.fx_read(0n)).code, "SEGV_MAPERR");
  assert.equal(exceptionOf(() => symbols.fx_int3()).info.type, "breakpoint");
  handlers[Symbol.dispose]();
  assert.deepEqual(allDispositions(), before);
  assert.equal(before.SIGSEGV![3], usr1);
  assert.equal(seen().count, 0n);
}

function refusal(): void {
  const before = allDispositions();
  const handlers = install();
  exceptionOf(() => symbols.fx_read(0n));
  const saved = read(numbers.SIGILL);
  setHandler("SIGILL", 1, 0n, 0n, 2n);
  const foreign = allDispositions();
  const address = foreign.SIGILL![0]!.toString(16);
  for (let round = 0; round < 2; round++) {
    assert.throws(() => handlers[Symbol.dispose](), {
      name: "Error",
      message: new RegExp(`Cannot uninstall .* SIGILL \\(0x${address}\\) was installed over ours`),
    });
    assert.deepEqual(allDispositions(), foreign);
    assert.equal(status().signals.SIGILL.owner, "other");
    assert.equal(exceptionOf(() => symbols.fx_read(0n)).code, "SEGV_MAPERR");
  }
  raw.fx_set_disposition!(numbers.SIGILL, BigUint64Array.from(saved));
  handlers[Symbol.dispose]();
  assert.deepEqual(allDispositions(), before);
}

/** Makes unguarded null reads survive in the former handler, and gives their instruction. */
function withFormer(flags = 0n, mask = 0n): bigint {
  setHandler("SIGSEGV", 1, flags, mask, 3n);
  return exceptionOf(() => symbols.fx_read(0n)).info.instructionPointer;
}

function formerWithInfo(): void {
  const instruction = withFormer();
  assert.equal(seen().count, 0n);
  for (let round = 1n; round <= 300n; round++) {
    raw.fx_read!(0x10n * round);
    const { count, signal, code, address, ip } = seen();
    assert.deepEqual({ count, signal, code }, { count: round, signal: 11n, code: 1n });
    assert.equal(address, 0x10n * round);
    assert.equal(ip, instruction);
    assert.equal(exceptionOf(() => symbols.fx_read(round)).info.address, round);
    assert.equal(seen().count, round);
  }
  assert.equal(status().signals.SIGSEGV.owner, "faultline");
}

function formerPlain(): void {
  setHandler("SIGSEGV", 0, 0n, 0n, 0n);
  const page = symbols.fx_map(8192, 3);
  symbols.fx_write(page, 77);
  for (let round = 1n; round <= 50n; round++) {
    raw.fx_protect!(page, 4096n, 0);
    raw.fx_mend!(page);
    assert.equal(raw.fx_read!(page), 77n);
    assert.deepEqual([seen().count, seen().signal], [round, 11n]);
    assert.equal(exceptionOf(() => symbols.fx_read(0n)).code, "SEGV_MAPERR");
  }
}

function formerMask(): void {
  const own = 1n << BigInt(numbers.SIGSEGV - 1);
  const usr1 = 1n << BigInt(numbers.SIGUSR1 - 1);
  const noDefer = 0x4000_0000n;
  const normal = symbols.fx_signal_mask();
  for (const [flags, mask] of [[0n, 0n], [noDefer, 0n], [0n, usr1], [noDefer, usr1]] as const) {
    install()[Symbol.dispose]();
    withFormer(flags, mask);
    raw.fx_read!(0n);
    assert.equal(seen().mask, normal | mask | (flags === 0n ? own : 0n), `${flags} ${mask}`);
    assert.equal(symbols.fx_signal_mask(), normal);
  }
}

function formerOnce(): void {
  withFormer(0x8000_0000n);
  raw.fx_read!(0n);
  assert.equal(seen().count, 1n);
  // Still armed for guarded calls.
  assert.equal(exceptionOf(() => symbols.fx_read(1n)).code, "SEGV_MAPERR");
  aboutToDie();
  raw.fx_read!(0n);
}

function formerNotCalled(): void {
  withFormer();
  for (let round = 0; round < 1000; round++) exceptionOf(() => symbols.fx_read(0n));
  exceptionOf(() => symbols.fx_hlt());
  exceptionOf(() => symbols.fx_overflow(0));
  assert.equal(seen().count, 0n);
}

function ignored(): void {
  raw.fx_set_disposition!(numbers.SIGFPE, BigUint64Array.of(1n, 0n, 0n, 0n));
  exceptionOf(() => symbols.fx_divide(1, 0));
  raw.fx_kill_self!(numbers.SIGFPE);
  exceptionOf(() => symbols.fx_divide(1, 0));
  aboutToDie();
  raw.fx_divide!(1, 0);
}

function ignoredTrap(): void {
  raw.fx_set_disposition!(numbers.SIGTRAP, BigUint64Array.of(1n, 0n, 0n, 0n));
  assert.equal(exceptionOf(() => symbols.fx_int3()).info.type, "breakpoint");
  aboutToDie();
  raw.fx_int3!();
}

function strayWithFormer(): void {
  withFormer(0n, 0n);
  setHandler("SIGSEGV", 1, 0n, 0n, 0n);
  reinstall();
  for (let round = 1n; round <= 5n; round++) {
    raw.fx_kill_self!(numbers.SIGSEGV);
    const { count, signal, code } = seen();
    assert.deepEqual({ count, signal, code }, { count: round, signal: 11n, code: 0n });
    assert.equal(exceptionOf(() => symbols.fx_read(4n)).info.address, 4n);
    assert.equal(status().signals.SIGSEGV.owner, "faultline");
  }
}

function strayIgnored(): void {
  raw.fx_set_disposition!(numbers.SIGTRAP, BigUint64Array.of(1n, 0n, 0n, 0n));
  for (let round = 0; round < 3; round++) {
    exceptionOf(() => symbols.fx_int3());
    raw.fx_kill_self!(numbers.SIGTRAP);
    assert.equal(status().signals.SIGTRAP.owner, "faultline");
  }
}

function strayInDeno(): void {
  exceptionOf(() => symbols.fx_read(0n));
  raw.fx_kill_self!(numbers.SIGSEGV);
  assert.equal(status().signals.SIGSEGV.owner, "faultline");
  for (let round = 0; round < 10; round++) exceptionOf(() => symbols.fx_read(0n));
}

function secondStrayInDeno(): void {
  strayInDeno();
  aboutToDie();
  raw.fx_kill_self!(numbers.SIGSEGV);
}

function strayBare(): void {
  raw.fx_kill_self!(numbers.SIGSEGV);
}

function strayInstalled(): void {
  exceptionOf(() => symbols.fx_read(0n));
  raw.fx_kill_self!(numbers.SIGSEGV);
}

function reinstallOverForeign(): void {
  exceptionOf(() => symbols.fx_read(0n));
  setHandler("SIGSEGV", 1, 0n, 0n, 3n);
  assert.equal(status().signals.SIGSEGV.owner, "other");
  // Displaced: the guarded call's fault goes to the other handler, which skips the read.
  symbols.fx_read(0n);
  assert.equal(seen().count, 1n);
  reinstall();
  assert.equal(status().signals.SIGSEGV.owner, "faultline");
  assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
  assert.equal(seen().count, 1n);
  raw.fx_read!(0x30n);
  assert.deepEqual([seen().count, seen().address], [2n, 0x30n]);
  assert.equal(exceptionOf(() => symbols.fx_read(6n)).info.address, 6n);
}

function reinstallTwice(): void {
  for (let round = 1; round <= 9; round++) {
    exceptionOf(() => symbols.fx_read(0n));
    setHandler("SIGSEGV", 1, 0n, 0n, 3n);
    reinstall();
    reinstall();
    raw.fx_read!(0x30n);
    assert.equal(seen().count, 1n);
    assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
  }
}

function reinstallOverDefault(): void {
  exceptionOf(() => symbols.fx_read(0n));
  raw.fx_set_disposition!(numbers.SIGSEGV, new BigUint64Array(4));
  assert.equal(status().signals.SIGSEGV.owner, "default");
  reinstall();
  assert.equal(status().signals.SIGSEGV.owner, "faultline");
  assert.equal(exceptionOf(() => symbols.fx_read(5n)).info.address, 5n);
}

function defaultUnderneath(): void {
  reinstallOverDefault();
  aboutToDie();
  raw.fx_read!(0n);
}

/** A signal that the runtime lets programs listen to, and how often a listener heard it. */
function listen(name: SignalName): { heard(count: number): Promise<void> } {
  let heard = 0;
  process.on(name, () => heard++);
  return {
    async heard(count: number): Promise<void> {
      for (let wait = 0; wait < 200 && heard < count; wait++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      assert.equal(heard, count);
    },
  };
}

async function listenerOverOurs(): Promise<void> {
  install({ signals: everything });
  for (const name of ["SIGTRAP", "SIGABRT"] as const) {
    const listener = listen(name);
    for (let round = 1; round <= 3; round++) {
      raw.fx_kill_self!(numbers[name]);
      await listener.heard(round);
    }
  }
  exitPassed();
}

function chainingListener(): void {
  exceptionOf(() => symbols.fx_int3());
  process.on("SIGTRAP", () => {});
  process.on("SIGBUS", () => {});
  assert.equal(status().signals.SIGTRAP.owner, "runtime");
  const page = symbols.fx_map_short_file(1) + 4096n;
  for (let round = 0; round < 20; round++) {
    assert.equal(exceptionOf(() => symbols.fx_int3()).info.type, "breakpoint");
    assert.equal(exceptionOf(() => symbols.fx_read(page)).code, "BUS_ADRERR");
  }
  exitPassed();
}

/** For programs with listeners, which would keep the process alive. */
function exitPassed(): void {
  console.log("passed");
  process.exit(0);
}

async function reinstallOverListener(): Promise<void> {
  // In Deno the one that it lets programs listen to and whose former disposition is the default.
  const bun = runtimeName() === "bun";
  const name = bun ? "SIGSEGV" : "SIGTRAP";
  const fault = bun ? () => symbols.fx_read(0n) : () => symbols.fx_int3();
  const code = exceptionOf(fault).code;
  const listener = listen(name);
  assert.notEqual(status().signals[name].owner, "faultline");
  for (let round = 1; round <= 3; round++) {
    reinstall();
    assert.equal(status().signals[name].owner, "faultline");
    assert.equal(exceptionOf(fault).code, code);
    raw.fx_kill_self!(numbers[name]);
    await listener.heard(round);
    assert.equal(exceptionOf(fault).code, code);
    assert.equal(status().signals[name].owner, "faultline");
  }
  exitPassed();
}

function reinstallNothing(): void {
  const before = allDispositions();
  reinstall();
  assert.deepEqual(allDispositions(), before);
}

await runCase(import.meta.url, {
  owners,
  disposal,
  chosen,
  callAfterDisposal,
  disposalAndWorker,
  foreignRestored,
  refusal,
  formerWithInfo,
  formerPlain,
  formerMask,
  formerOnce,
  formerNotCalled,
  ignored,
  ignoredTrap,
  strayWithFormer,
  strayIgnored,
  strayInDeno,
  secondStrayInDeno,
  strayBare,
  strayInstalled,
  reinstallOverForeign,
  reinstallTwice,
  reinstallOverDefault,
  defaultUnderneath,
  listenerOverOurs,
  chainingListener,
  reinstallOverListener,
  reinstallNothing,
});
