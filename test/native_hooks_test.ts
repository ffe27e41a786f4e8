/** Hooks that the handler carries out itself, on whatever thread. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addHook, addressOf, dlopen, HardwareException, protect, readMemory } from "../mod.ts";
import { type HookAction, mappingOf, type SignalName, throwException } from "../mod.ts";
import { hooksDie, hooksPass, openHooks, pageLength, pages, skip, Told } from "./hooks_support.ts";
import { codeNowhere, lengths, registers as names } from "./fixture_code.ts";
import { arm64, emulated } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture, runChild, runtimeName } from "./support.ts";
import { nativePath } from "../lib/native.ts";
import { viewOf } from "./memory_view.ts";

const { symbols } = openFixture();
const hooks = openHooks().symbols;
const threadId = BigInt(exceptionOf(() => symbols.fx_read(8n)).info.threadId);
const later = dlopen(fixturePath, {
  fx_read: { parameters: ["address"], result: "u64", nonblocking: true },
  fx_write: { parameters: ["address", "u64"], nonblocking: true },
}).symbols;

/** The action that runs the fixture's own hook. */
function call(told: Told): HookAction {
  return { action: "call", function: hooks.fh_hook, data: addressOf(told.words) };
}

test("addHook() with next asks the following hook, and then the call throws", () => {
  using first = addHook({}, { action: "next" });
  using second = addHook({ signals: ["SIGSEGV"] }, { action: "next" });
  assert.equal(exceptionOf(() => symbols.fx_read(8n)).info.hooksSkipped, null);
  exceptionOf(() => symbols.fx_divide(1, 0));
  assert.deepEqual([first.hits, second.hits], [2, 1]);
});

test("addHook() with throw ends the call at once, also one that catches nothing", () => {
  using older = addHook({}, () => "handled");
  using hook = addHook({ signals: ["SIGSEGV", "SIGFPE"] }, { action: "throw" });
  for (const exceptions of ["throw", "propagate"] as const) {
    const library = dlopen(fixturePath, {
      fx_read: { parameters: ["address"], result: "u64" },
      fx_divide: { parameters: ["i32", "i32"], result: "i32" },
    }, { exceptions });
    const { info, additional } = exceptionOf(() => library.symbols.fx_read(8n));
    assert.deepEqual([info.code, info.address, info.call?.symbol, additional], [
      "SEGV_MAPERR",
      8n,
      "fx_read",
      undefined,
    ]);
    assert.equal(exceptionOf(() => library.symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
  }
  assert.deepEqual([older.hits, hook.hits], [0, 4]);
  // After a JavaScript hook that passes, too.
  using asked = addHook({}, () => "next");
  exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual([older.hits, hook.hits, asked.hits], [0, 5, 1]);
});

test("addHook() with die ends the process by the signal", () => {
  hooksDie("SIGSEGV", "die");
  hooksDie("SIGTRAP", "dieByBreakpoint");
  const { stderr } = hooksDie("SIGFPE", "dieAfterNext");
  // The emulator reports the death of what it runs.
  assert.match(stderr, emulated ? /^asked\n(?:qemu: .*\n)?$/ : /^asked\n$/);
});

test("addHook() with skip-instruction goes on behind it", () => {
  using hook = addHook({ signals: ["SIGSEGV", "SIGILL"] }, {
    action: "skip-instruction",
    byteLength: Number(lengths.access),
  });
  assert.equal(hooks.fh_read_often(8n, 100n) >= 0n, true);
  assert.equal(hook.hits, 100);
  using shorter = addHook({ signals: ["SIGILL"] }, {
    action: "skip-instruction",
    byteLength: Number(lengths.illegal),
  });
  symbols.fx_ud2();
  assert.deepEqual([shorter.hits, hook.hits], [1, 100]);
});

test("addHook() with skip-instruction skips a breakpoint once, also where it is over", () => {
  using hook = addHook({ signals: ["SIGTRAP"] }, {
    action: "skip-instruction",
    byteLength: Number(lengths.breakpoint),
  });
  assert.equal(symbols.fx_int3(), 7);
  assert.equal(hook.hits, 1);
});

test("addHook() with set-registers takes portable and machine names", () => {
  const address = pages(1, "rw-");
  symbols.fx_write(address, 41n);
  const argument = { [names.argument]: address };
  for (const registers of [argument, { ...argument, [names.unused]: 1n }]) {
    using hook = addHook({ signals: ["SIGSEGV"] }, { action: "set-registers", registers });
    assert.equal(hooks.fh_registers_after(8n), 42n);
    assert.equal(hook.hits, 1);
  }
  const first = hooks.fh_steps_first;
  for (const name of ["instructionPointer", names.instructionPointer]) {
    using _hook = addHook({ signals: ["SIGILL"] }, {
      action: "set-registers",
      registers: { [name]: first },
    });
    assert.equal(hooks.fh_steps(), 42);
  }
  using _both = addHook({ signals: ["SIGILL"] }, {
    action: "set-registers",
    registers: { [names.instructionPointer]: first, instructionPointer: first },
  });
  assert.equal(hooks.fh_steps(), 42);
});

test("addHook() with set-registers for an address that is none ends in an exception", () => {
  for (const target of codeNowhere) {
    using hook = addHook({ signals: ["SIGILL"] }, {
      action: "set-registers",
      registers: { [names.instructionPointer]: target },
    });
    const { info } = exceptionOf(() => hooks.fh_steps());
    assert.deepEqual([info.signal, info.instructionPointer], ["SIGSEGV", target]);
    assert.equal(hook.hits, 1);
  }
});

test("addHook() with protect makes the faulting page accessible, and no other", () => {
  const address = pages(3);
  using hook = addHook({ signals: ["SIGSEGV"] }, { action: "protect", protection: "rw-" });
  symbols.fx_write(address + 4096n + 4088n, 7n);
  assert.equal(hook.hits, 1);
  assert.deepEqual(
    [0n, 4096n, 8192n].map((at) => mappingOf(address + at)?.protection),
    ["---", "rw-", "---"],
  );
  // What lies in two pages faults twice.
  symbols.fx_write(address + 8188n, 7n);
  assert.equal(hook.hits, 2);
});

test("addHook() with protect passes on what it cannot mend", () => {
  const address = pages(1, "---");
  using hook = addHook({ signals: ["SIGSEGV"] }, { action: "protect", protection: "r--" });
  assert.equal(exceptionOf(() => symbols.fx_read(8n)).code, "SEGV_MAPERR", "nothing is there");
  // Every fault of arm64 has an address.
  if (!arm64) assert.equal(exceptionOf(() => symbols.fx_hlt()).info.address, null);
  const before = arm64 ? 1 : 2;
  assert.equal(hook.hits, before);
  const { info } = exceptionOf(() => symbols.fx_write(address, 7n));
  assert.match(info.hooksSkipped!, /answered "handled" 1,000 times/);
  assert.equal(hook.hits, before + 1000);
});

test("addHook() with map puts zeroes or a pattern in place of the faulting page alone", () => {
  const address = pages(3, "rw-");
  for (let page = 0n; page < 3n; page++) symbols.fx_write(address + page * 4096n, 1n);
  const byteLength = 3 * pageLength;
  protect({ address, byteLength }, "---");
  const range = { address, byteLength };
  {
    using hook = addHook({ range }, { action: "map", protection: "rw-" });
    assert.equal(symbols.fx_read(address + 4096n), 0n);
    assert.equal(hook.hits, 1);
  }
  assert.deepEqual(
    [0n, 4096n, 8192n].map((at) => mappingOf(address + at)?.protection),
    ["---", "rw-", "---"],
  );
  const fill = Uint8Array.of(1, 2, 3);
  {
    using _hook = addHook({ range }, { action: "map", protection: "r--", fill });
    fill.fill(9); // It was copied.
    assert.equal(symbols.fx_read(address + 8192n), 0x0201_0302_0103_0201n);
    assert.equal(mappingOf(address + 8192n)?.protection, "r--");
    const bytes = new Uint8Array(pageLength);
    readMemory(address + 8192n, bytes);
    assert.ok(bytes.every((byte, index) => byte === index % 3 + 1));
  }
  protect({ address, byteLength: pageLength }, "r--");
  assert.equal(symbols.fx_read(address), 1n);
});

test("addHook() with map replaces what was unmapped", () => {
  // The kernel puts a new page into the highest gap: where the last one was, once that is gone.
  const address = pages(1, "rw-");
  using hook = addHook({ range: { address, byteLength: pageLength } }, {
    action: "map",
    protection: "rw-",
    fill: Uint8Array.of(5),
  });
  for (let round = 1; round <= 20; round++) {
    symbols.fx_unmap(address, BigInt(pageLength));
    assert.equal(symbols.fx_read(address), 0x0505_0505_0505_0505n);
    assert.equal(hook.hits, round);
    symbols.fx_write(address, 1n);
  }
});

test("addHook() with map replaces pages of a file that are lost", () => {
  const file = symbols.fx_map_short_file(100n);
  using lost = addHook({ signals: ["SIGBUS"], range: { address: file, byteLength: 8192 } }, {
    action: "map",
    protection: "rw-",
    fill: new Uint8Array(pageLength).fill(6),
  });
  assert.equal(symbols.fx_read(file), 0n);
  assert.equal(symbols.fx_read(file + 4096n), 0x0606_0606_0606_0606n);
  assert.equal(lost.hits, 1);
});

test("addHook() with call runs a C function with siginfo, context and data", () => {
  const told = new Told("skip", lengths.access);
  const older = new Told("skip", lengths.access);
  using first = addHook({}, call(older));
  {
    using hook = addHook({ signals: ["SIGSEGV"] }, call(told));
    symbols.fx_write(0x18n, 7n);
    assert.deepEqual([told.calls, told.signal, told.address], [1n, 11n, 0x18n]);
    assert.equal(told.thread, threadId);
    assert.equal(hook.hits, 1);
  }
  assert.deepEqual([first.hits, older.calls], [0, 0n]);
  const next = new Told("next");
  using _second = addHook({}, call(next));
  symbols.fx_write(0x20n, 7n);
  assert.deepEqual([next.calls, older.calls, older.address], [1n, 1n, 0x20n]);
  first.remove();
  assert.equal(exceptionOf(() => symbols.fx_write(0x28n, 7n)).info.address, 0x28n);
  assert.deepEqual([next.calls, next.ip !== 0n], [2n, true]);
});

test("addHook() with call passes its data as it is", () => {
  using hook = addHook({}, { action: "call", function: hooks.fh_note, data: 2n ** 64n - 2n });
  exceptionOf(() => symbols.fx_read(8n));
  assert.equal(hooks.fh_noted(), 2n ** 64n - 2n);
  using _zero = addHook({}, { action: "call", function: hooks.fh_note });
  hook.remove();
  exceptionOf(() => symbols.fx_read(8n));
  assert.equal(hooks.fh_noted(), 0n);
});

test("addHook() asks about a range on a thread that never attached", () => {
  const address = pages(4);
  const range = { address, byteLength: 2 * pageLength };
  const told = new Told("protect");
  using called = addHook({ range }, call(told));
  using mapped = addHook({ range: { ...range, address: address + 8192n } }, {
    action: "map",
    protection: "rw-",
    fill: Uint8Array.of(3),
  });
  using unasked = addHook({}, { action: "throw" });
  using script = addHook({ range }, () => "next");
  using bound = addHook({ range, thread: "current" }, { action: "throw" });
  const task = BigUint64Array.of(address, 4n, 0n, 0n);
  assert.equal(hooks.fh_on_thread(task), 0);
  assert.deepEqual([called.hits, mapped.hits], [2, 2]);
  assert.deepEqual([unasked.hits, script.hits, bound.hits], [0, 0, 0]);
  assert.equal(task[2], 6n, "two pages of zeroes, two of threes");
  assert.deepEqual([told.calls, told.thread], [2n, task[3]]);
  assert.notEqual(told.thread, threadId);
});

test("addHook() with call ends the process by the signal of its own fault", () => {
  hooksDie("SIGSEGV", "callFaults");
  hooksDie("SIGSEGV", "callFaultsElsewhere");
});

test("addHook() asks native hooks about nonblocking calls, not those of this thread", async () => {
  const address = pages(1, "rw-");
  symbols.fx_write(address, 7n);
  protect({ address, byteLength: pageLength }, "---");
  using any = addHook({ signals: ["SIGSEGV"] }, { action: "protect", protection: "rw-" });
  using current = addHook({ signals: ["SIGSEGV"], thread: "current" }, { action: "throw" });
  assert.equal(await later.fx_read(address), 7n);
  assert.deepEqual([any.hits, current.hits], [1, 0]);
  protect({ address, byteLength: pageLength }, "---");
  exceptionOf(() => symbols.fx_read(address));
  assert.deepEqual([any.hits, current.hits], [1, 1]);
  using _throws = addHook({ signals: ["SIGSEGV"], thread: "any" }, { action: "throw" });
  const rejected = await later.fx_read(8n).then(() => null, (error: unknown) => error);
  assert.ok(rejected instanceof HardwareException);
  assert.equal(rejected.info.hooksSkipped, null);
});

test("addHook() mends memory that compiled JavaScript reads and writes", () => {
  const address = pages(2);
  const bytes = viewOf(address, 2 * pageLength);
  const range = { address, byteLength: 2 * pageLength };
  using hook = addHook({ range }, { action: "protect", protection: "rw-" });
  const sum = (from: number): number => {
    let total = 0;
    for (let index = from; index < 2 * pageLength; index++) total += bytes[index]!;
    return total;
  };
  let expected = 0;
  for (let round = 0; round < 300; round++) {
    protect(range, "---");
    assert.equal(sum(round), expected === 0 ? 0 : expected - round);
    protect(range, "r--");
    bytes.fill(1);
    expected = 2 * pageLength;
    assert.equal(hook.hits, 4 * (round + 1), `round ${round}`);
  }
  {
    using map = addHook({ range }, { action: "map", protection: "rw-", fill: Uint8Array.of(2) });
    protect(range, "---");
    assert.equal(sum(0), 4 * pageLength);
    assert.equal(map.hits, 2);
  }
});

test("addHook() mends memory that the runtime's own code touches", () => {
  const address = pages(3);
  const bytes = viewOf(address, 3 * pageLength);
  const range = { address, byteLength: 3 * pageLength };
  using hook = addHook({ range }, { action: "protect", protection: "rw-" });
  bytes.set(new Uint8Array(3 * pageLength).fill(4));
  assert.equal(hook.hits, 3);
  protect(range, "---");
  assert.equal(bytes.slice().reduce((sum, byte) => sum + byte, 0), 12 * pageLength);
  assert.equal(hook.hits, 6);
  protect(range, "---");
  assert.equal(bytes.indexOf(5), -1);
  assert.equal(hook.hits, 9);
});

test("addHook() mends a loop of interpreted JavaScript more than a thousand times", () => {
  hooksPass("interpreted");
});

test("addHook() on one thread is asked about faults of Workers, and of this thread alone", () => {
  hooksPass("workers");
});

test("addHook() with a function needs --allow-ffi without paths, native actions do not", {
  skip: runtimeName() === "bun" ? "Bun has no permissions" : false,
}, () => {
  const folder = fixturePath.slice(0, fixturePath.lastIndexOf("/"));
  const flags = [`--allow-ffi=${nativePath()},${folder}`, "--allow-read", "--allow-env"];
  const result = runChild("hooks", ["scoped"], flags);
  assert.deepEqual([result.status, result.stdout], [0, "passed\n"], result.stderr);
});

test("addHook() takes all signals that can be handled", () => {
  const names = [
    "SIGSEGV",
    "SIGBUS",
    "SIGFPE",
    "SIGILL",
    "SIGTRAP",
  ] as const satisfies SignalName[];
  using hook = addHook({ signals: names }, { action: "throw" });
  const file = symbols.fx_map_short_file(100n);
  const faults = [
    () => symbols.fx_read(8n),
    () => symbols.fx_read(file + 4096n),
    () => symbols.fx_divide(1, 0),
    () => symbols.fx_ud2(),
    () => symbols.fx_int3(),
  ];
  assert.deepEqual(faults.map((fault) => exceptionOf(fault).info.signal), names);
  assert.equal(hook.hits, 5);
  using _throws = addHook({}, (exception) => {
    if (exception.signal === "SIGTRAP") return skip(exception, lengths.breakpointLeft);
    return throwException(1);
  });
  assert.equal(symbols.fx_int3(), 7);
});
