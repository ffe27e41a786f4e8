/** Hooks in JavaScript: who is asked, in which order, and what their answers do. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import {
  addHook,
  addressOf,
  catchException,
  dlopen,
  HardwareException,
  type Hook,
  type HookAction,
  type HookFilter,
  protect,
  readMemory,
  throwException,
  writeMemory,
} from "../mod.ts";
import { lengths, registers } from "./fixture_code.ts";
import { hooksPass, mending, noting, openHooks, pageLength, pages, skip } from "./hooks_support.ts";
import { arm64 } from "./platform_support.ts";
import { exceptionOf, fixturePath, numbers, openFixture } from "./support.ts";

const { symbols } = openFixture();
const hooks = openHooks().symbols;

test("H10 a guard catches nothing by itself where asked for, but what a hook throws", () => {
  const library = dlopen(fixturePath, { fx_read: { parameters: ["address"], result: "u64" } }, {
    exceptions: "propagate",
  });
  using _hook = addHook({ signals: ["SIGSEGV"] }, () => throwException("by a hook"));
  const error = exceptionOf(() => library.symbols.fx_read(8n));
  assert.deepEqual([error.code, error.additional], ["SEGV_MAPERR", "by a hook"]);
  // Without the hook it is nobody's: "propagatedAlone" of children/hooks.ts ends by it.
});

test("H11 throwException() outside guards throws, and a fault outside guards is no hook's", () => {
  using hook = addHook({}, () => "handled");
  assert.throws(() => throwException(1), { code: "USER", additional: 1 });
  assert.equal(hook.hits, 0);
  hooksPass("unguardedGoesOn");
});

test("H13 what a hook gives to throwException() is at the catch; nothing else is", () => {
  const payload = { page: 7 };
  {
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => throwException(payload));
    assert.equal(exceptionOf(() => symbols.fx_read(8n)).additional, payload);
    const empty = addHook({ signals: ["SIGSEGV"] }, () => throwException());
    assert.equal(exceptionOf(() => symbols.fx_read(8n)).additional, undefined);
    empty.remove();
  }
  assert.equal(exceptionOf(() => symbols.fx_read(8n)).additional, undefined);
});

test("H15 a guarded call in a hook catches its own fault, then the hook throws outwards", () => {
  const inner: unknown[] = [];
  using hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    const { info } = exceptionOf(() => symbols.fx_divide(1, 0));
    inner.push(info.code, exception.code);
    const again = exceptionOf(() => symbols.fx_read(0x20n)).info;
    inner.push(again.address, again.hooksSkipped, exception.address);
    return throwException({ inner: info });
  });
  const error = exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(inner, [
    "FPE_INTDIV",
    "SEGV_MAPERR",
    0x20n,
    "the hook was running when it happened",
    8n,
  ]);
  assert.equal(error.info.address, 8n);
  assert.equal((error.additional as { inner: { code: string } }).inner.code, "FPE_INTDIV");
  assert.equal(hook.hits, 1);
  assert.equal(symbols.fx_echo_i32(5), 5);
});

test("H19 hooks are asked newest first", () => {
  const names: string[] = [];
  using _a = noting(names, "a");
  using _b = noting(names, "b");
  using _c = noting(names, "c");
  exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(names, ["c", "b", "a"]);
});

test("H20 the first hook that answers handled is the last that is asked", () => {
  const names: string[] = [];
  using _a = noting(names, "a");
  using _b = noting(names, "b", (exception) => skip(exception, lengths.access));
  using _c = noting(names, "c");
  symbols.fx_read(8n);
  assert.deepEqual(names, ["c", "b"]);
});

test("H21 after next the following hook is asked, of whatever kind", () => {
  const names: string[] = [];
  using native = addHook({}, { action: "skip-instruction", byteLength: Number(lengths.access) });
  using _a = noting(names, "a");
  using other = addHook({}, { action: "next" });
  using _b = noting(names, "b");
  symbols.fx_write(8n, 1n);
  assert.deepEqual([names, native.hits, other.hits], [["b", "a"], 1, 1]);
});

test("H22 remove() is true once, and false ever after", () => {
  for (const action of [() => "next" as const, { action: "next" } as const]) {
    const hook = addHook({}, action);
    exceptionOf(() => symbols.fx_read(8n));
    assert.deepEqual([hook.remove(), hook.remove(), hook.remove()], [true, false, false]);
    exceptionOf(() => symbols.fx_read(8n));
    assert.equal(hook.hits, 1, "hits stays readable, and counts no more");
    hook[Symbol.dispose]();
    assert.equal(hook.hits, 1);
  }
});

test("H23 removing the last hook restores the former action exactly", () => {
  hooksPass("restores");
  hooksPass("restores", "worker");
});

test("H24 one hook for several signals has one id", () => {
  const codes: string[] = [];
  using hook = addHook({ signals: ["SIGSEGV", "SIGFPE", "SIGILL"] }, ({ code, signal }) => {
    codes.push(`${signal} ${code}`);
    return "next";
  });
  using later = addHook({ signals: ["SIGBUS"] }, () => "next");
  exceptionOf(() => symbols.fx_read(8n));
  exceptionOf(() => symbols.fx_divide(1, 0));
  exceptionOf(() => symbols.fx_ud2());
  exceptionOf(() => symbols.fx_int3());
  assert.equal(codes.length, 3);
  assert.deepEqual(codes.slice(0, 2), ["SIGSEGV SEGV_MAPERR", "SIGFPE FPE_INTDIV"]);
  assert.match(codes[2]!, /^SIGILL ILL_/);
  assert.equal(typeof hook.id, "bigint");
  assert.ok(later.id > hook.id);
  assert.deepEqual([hook.hits, later.hits], [3, 0]);
});

test("H25 a hook that unprotects the page lets the store complete", () => {
  const address = pages(1, "r--");
  using hook = mending();
  symbols.fx_write(address, 7n);
  protect({ address, byteLength: pageLength }, "r--");
  assert.equal(symbols.fx_read(address), 7n);
  assert.deepEqual([hook.addresses, hook.hook.hits], [[address], 1]);
});

test("H26 a hook that advances the instruction pointer continues behind the instruction", () => {
  using hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    (exception.registers as unknown as Record<string, bigint>)[registers.readAfter] = 41n;
    return skip(exception, lengths.access);
  });
  assert.equal(hooks.fh_registers_after(8n), 42n);
  assert.equal(hook.hits, 1);
});

test("H30 signals that are sent never run hooks, and disarm nothing", () => {
  hooksPass("sent");
});

test("H30 a hook is asked about a signal that the running call names", () => {
  const raised = dlopen(fixturePath, {
    fx_raise: { parameters: ["u32"], result: "i32", signals: ["SIGABRT"] },
  }).symbols;
  using hook = addHook({ signals: ["SIGABRT"] }, ({ type, address, access }) => {
    assert.deepEqual([type, address, access], ["abort", null, null]);
    return "handled";
  });
  assert.equal(raised.fx_raise(numbers.SIGABRT), 0);
  assert.equal(hook.hits, 1);
});

test("H38 nothing is unwound when a hook throws, and all runs when it answers handled", () => {
  const held = new BigUint64Array(1);
  {
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => throwException());
    exceptionOf(() => hooks.fh_hold(8n, held));
    assert.equal(held[0], 1n);
  }
  using _hook = addHook({ signals: ["SIGSEGV"] }, (exception) => skip(exception, lengths.access));
  hooks.fh_hold(8n, held);
  assert.equal(held[0], 1n);
});

test("H44 the same signal twice in a filter is one registration", () => {
  const hook = addHook({ signals: ["SIGSEGV", "SIGSEGV", "SIGSEGV"] }, () => "next");
  exceptionOf(() => symbols.fx_read(8n));
  assert.equal(hook.hits, 1);
  assert.equal(hook.remove(), true);
  exceptionOf(() => symbols.fx_read(8n));
  assert.equal(hook.hits, 1);
});

test("H44 a hook that removes itself while it runs still has its say", () => {
  const hook: Hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    assert.equal(hook.remove(), true);
    assert.equal(hook.remove(), false);
    // Its place may be taken at once.
    const others = Array.from({ length: 8 }, () => addHook({}, { action: "next" }));
    for (const other of others) other.remove();
    return skip(exception, lengths.access);
  });
  symbols.fx_read(8n);
  assert.equal(exceptionOf(() => symbols.fx_read(8n)).info.hooksSkipped, null);
  assert.equal(hook.hits, 1);
});

test("addHook() asks the list as it was at the time of the exception", () => {
  const names: string[] = [];
  const added: Hook[] = [];
  const oldest = noting(names, "oldest");
  const older = noting(names, "older");
  using _newest = noting(names, "newest", () => {
    added.push(noting(names, "added"));
    older.remove();
    return "next";
  });
  exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(names, ["newest", "oldest"]);
  names.length = 0;
  exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(names, ["added", "newest", "oldest"]);
  for (const hook of [...added, oldest]) hook.remove();
});

test("addHook() with a range asks about exceptions with an address in it alone", () => {
  const address = pages(3);
  const range = { address: address + 4096n, byteLength: 4096 };
  const signals = ["SIGSEGV", "SIGTRAP", "SIGABRT"] as const;
  using hook = addHook({ signals, range }, () => "next");
  for (const [at, hits] of [[4095n, 0], [4096n, 1], [8191n, 2], [8192n, 2]] as const) {
    exceptionOf(() => symbols.fx_read(address + at));
    assert.equal(hook.hits, hits, `at ${at}`);
  }
  // A signal that was raised has no address, whatever is in the registers, nor has a general
  // protection fault or a breakpoint of x64. Every fault of arm64 has one.
  const { fx_raise } = dlopen(fixturePath, {
    fx_raise: { parameters: ["u32"], result: "i32", signals: ["SIGABRT"] },
  }).symbols;
  const raise = () => fx_raise(numbers.SIGABRT);
  const without = arm64 ? [raise] : [raise, () => symbols.fx_hlt(), () => symbols.fx_int3()];
  for (const body of without) exceptionOf(body);
  assert.equal(hook.hits, 2);
  using everything = addHook(
    { signals, range: { address: 0n, byteLength: 2 ** 47 } },
    () => "next",
  );
  exceptionOf(() => symbols.fx_read(8n));
  for (const body of without) exceptionOf(body);
  assert.deepEqual([everything.hits, hook.hits], [1, 2]);
});

test("addHook() throws what a hook throws, unchanged, whatever it is", () => {
  const values = [undefined, null, 0, "", "text", { a: 1 }, new RangeError("own"), Symbol("s")];
  for (const value of values) {
    using _hook = addHook({ signals: ["SIGSEGV"] }, () => {
      throw value;
    });
    let thrown = false;
    try {
      symbols.fx_read(8n);
    } catch (error) {
      thrown = true;
      assert.equal(error, value);
    }
    assert.ok(thrown, String(value));
    assert.equal(symbols.fx_echo_i32(3), 3);
  }
});

test("addHook() refuses answers that are neither handled nor next", () => {
  for (const answer of [undefined, null, true, 1, "", "Handled", "throw", Promise.resolve()]) {
    using _hook = addHook({}, (() => answer) as unknown as HookAction);
    assert.throws(() => symbols.fx_read(8n), {
      name: "TypeError",
      message: /^Cannot go on as a hook answered .*: return "handled" or "next"$/,
    });
    assert.equal(symbols.fx_echo_i32(3), 3);
  }
});

test("throwException() in a hook throws the exception that the hook was asked about", () => {
  using _hook = addHook({ signals: ["SIGSEGV"] }, (exception) => {
    const result = catchException(() => throwException("tried"));
    assert.ok(!result.ok);
    assert.deepEqual([result.error.info.address, result.error.additional], [8n, "tried"]);
    return throwException([
      exception.registers[registers.argument],
      exception.backtrace().length > 0,
    ]);
  });
  const error = exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(error.additional, [8n, true]);
  const { info } = error;
  assert.deepEqual(
    [info.code, info.type, info.address, info.access, info.call?.symbol, info.signal],
    ["SEGV_MAPERR", "access-violation", 8n, "read", "fx_read", "SIGSEGV"],
  );
  assert.equal(info.registers[registers.argument], 8n);
  assert.equal(info.siginfo.byteLength, 128);
  assert.match(error.message, /fx_read/);
});

test("readMemory() and writeMemory() of a bad address ask hooks, too", () => {
  const address = pages(1);
  using hook = mending();
  writeMemory(address, Uint8Array.of(7));
  protect({ address, byteLength: pageLength }, "---");
  const into = new Uint8Array(1);
  readMemory(address, into);
  assert.deepEqual([into[0], hook.hook.hits], [7, 2]);
});

test("addHook() refuses filters and actions by a TypeError that says what", () => {
  const next = { action: "next" } as const;
  const range = { address: 4096n, byteLength: 4096 };
  const lengthRule = arm64 ? /which is 4 here/ : /from 1 to 15/;
  const { half, result } = registers;
  const twice = { [registers.instructionPointer]: 1n, instructionPointer: 2n };
  const wrong: readonly [unknown, unknown, RegExp][] = [
    [undefined, next, /filter must be an object/],
    [null, next, /filter must be an object/],
    [[], next, /filter must be an object/],
    [{ signal: "SIGSEGV" }, next, /has the property "signal"/],
    [{ signals: [] }, next, /names no signals/],
    [{ signals: "SIGSEGV" }, next, /SIGSEGV/],
    [{ signals: ["SIGKILL"] }, next, /SIGKILL/],
    [{ signals: [11] }, next, /11/],
    [{ range: 1 }, next, /range/],
    [{ range: { address: 1, byteLength: 1 } }, next, /address/],
    [{ range: { address: -1n, byteLength: 1 } }, next, /address/],
    [{ range: { address: 2n ** 64n, byteLength: 1 } }, next, /address/],
    [{ range: { address: 1n, byteLength: 0 } }, next, /empty/],
    [{ range: { address: 1n, byteLength: 1.5 } }, next, /byteLength/],
    [{ thread: "all" }, next, /"current" or "any"/],
    [{ thread: "any" }, () => "next", /JavaScript hook can run on the thread/],
    [{}, undefined, /action must be a function or an object/],
    [{}, null, /action must be a function or an object/],
    [{}, "next", /action must be a function or an object/],
    [{}, {}, /not one of next, throw, die/],
    [{}, { action: "toString" }, /not one of/],
    [{}, { action: "next", more: 1 }, /has the property "more"/],
    [{}, { action: "skip-instruction" }, /byteLength/],
    [{}, { action: "skip-instruction", byteLength: 0 }, lengthRule],
    [{}, { action: "skip-instruction", byteLength: arm64 ? 3 : 15.5 }, lengthRule],
    [{}, { action: "skip-instruction", byteLength: arm64 ? 8 : 16 }, lengthRule],
    [{}, { action: "set-registers" }, /registers must be an object/],
    [{}, { action: "set-registers", registers: {} }, /sets no registers/],
    [{}, { action: "set-registers", registers: { [half]: 1n } }, / is no register/],
    [
      {},
      { action: "set-registers", registers: { [result]: 1 } },
      /register "\w+" must be a bigint/,
    ],
    [
      {},
      { action: "set-registers", registers: { [result]: -1n } },
      /register "\w+" must be a bigint/,
    ],
    [{}, { action: "set-registers", registers: twice }, /two values/],
    [{}, { action: "protect" }, /protection/],
    [{}, { action: "protect", protection: "wr-" }, /protection/],
    [{}, { action: "map", protection: "rw-" }, /give its filter a range/],
    [{ range }, { action: "map", protection: "rw-", fill: [] }, /fill must be a Uint8Array/],
    [{ range }, { action: "map", protection: "rw-", fill: new Uint8Array() }, /not empty/],
    [{}, { action: "call" }, /function must be a bigint/],
    [{}, { action: "call", function: 0n }, /null pointer/],
    [{}, { action: "call", function: 1n, data: 1 }, /data must be a bigint/],
  ];
  for (const [filter, action, message] of wrong) {
    assert.throws(() => addHook(filter as HookFilter, action as HookAction), {
      name: "TypeError",
      message,
    });
  }
});

test("addHook() takes 1,024 hooks and says when there are more", () => {
  const all: Hook[] = [];
  assert.throws(() => {
    for (let index = 0; index <= 1024; index++) all.push(addHook({}, { action: "next" }));
  }, { name: "Error", message: /^Cannot add a hook/ });
  assert.equal(all.length, 1024);
  exceptionOf(() => symbols.fx_read(8n));
  assert.ok(all.every(({ hits }) => hits === 1));
  // Their places are used again.
  for (let round = 0; round < 3; round++) {
    for (const hook of all.splice(0)) assert.equal(hook.remove(), true);
    for (let index = 0; index < 1024; index++) all.push(addHook({}, () => "next"));
  }
  for (const hook of all) hook.remove();
  using _last = addHook({}, { action: "next" });
  assert.ok(exceptionOf(() => symbols.fx_read(8n)) instanceof HardwareException);
});

test("addHook() keeps what its example says", () => {
  const bytes = new Uint8Array(3 * pageLength);
  const address = (addressOf(bytes) + 4095n) & ~4095n;
  const range = { address, byteLength: pageLength };
  protect(range, "r--");
  using hook = addHook({ signals: ["SIGSEGV"], range }, () => {
    protect(range, "rw-");
    return "handled";
  });
  writeMemory(address, Uint8Array.of(7));
  assert.deepEqual([bytes.includes(7), hook.hits], [true, 1]);
});
