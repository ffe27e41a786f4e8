/** Hooks among callbacks, hooks, other threads and full stacks. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addHook, callable, callback, dlopen, type Hook, protect, throwException } from "../mod.ts";
import type { HardwareException } from "../mod.ts";
import {
  hooksDie,
  hooksPass,
  mending,
  openHooks,
  pageLength,
  pages,
  protectOften,
  skip,
} from "./hooks_support.ts";
import { lengths, registers } from "./fixture_code.ts";
import { manyRounds } from "./platform_support.ts";
import { exceptionOf, fixturePath, openFixture, rawCallback } from "./support.ts";

const library = openFixture();
const { symbols } = library;
const hooks = openHooks().symbols;
const { fx_callback, fx_callback_and_read, later, overflow } = dlopen(fixturePath, {
  fx_callback: { parameters: ["function", "i32"], result: "i32" },
  fx_callback_and_read: { parameters: ["function", "i32", "address"], result: "u64" },
  later: { name: "fx_read", parameters: ["address"], result: "u64", nonblocking: true },
  overflow: { name: "fx_overflow", parameters: ["u64"], result: "u64", nonblocking: true },
}).symbols;
const types = { parameters: ["i32"], result: "i32" } as const;
const segv = { signals: ["SIGSEGV"] } as const;

test("addHook() is asked about guarded calls in callbacks", () => {
  const address = pages(1);
  using hook = mending();
  using body = callback(types, (value: number) => {
    symbols.fx_write(address, BigInt(value));
    protect({ address, byteLength: pageLength }, "---");
    return Number(symbols.fx_read(address));
  });
  assert.equal(fx_callback(body, 5), 6);
  assert.equal(hook.hook.hits, 2);
  const raw = rawCallback((value) => Number(symbols.fx_read(address)) + value);
  protect({ address, byteLength: pageLength }, "---");
  const plain = dlopen(fixturePath, {
    fx_callback: { parameters: ["pointer", "i32"], result: "i32" },
  }).symbols;
  assert.equal(plain.fx_callback(raw.pointer as never, 5), 11);
  assert.equal(hook.hook.hits, 3);
  raw.close();
});

test("addHook() throws to the guarded call in the callback, whose error then surfaces", () => {
  using _hook = addHook(segv, () => throwException("deep"));
  using body = callback(types, () => Number(symbols.fx_read(8n)));
  const error = exceptionOf(() => fx_callback(body, 5));
  assert.deepEqual([error.additional, error.info.call?.symbol], ["deep", "fx_read"]);
  using caught = callback(
    types,
    () => exceptionOf(() => symbols.fx_read(8n)).additional === "deep" ? 1 : 0,
  );
  assert.equal(fx_callback(caught, 5), 2);
});

test("addHook() runs after a callback of the same call has thrown, whose error surfaces", () => {
  const address = pages(1, "rw-");
  const first = new Error("of the callback");
  using body = callback(types, () => {
    throw first;
  });
  const seen: unknown[] = [];
  const run = (answer: () => "handled" | "next"): unknown => {
    protect({ address, byteLength: pageLength }, "---");
    using _hook = addHook(segv, () => {
      using inner = callback(types, (value: number) => value * 2);
      // Callbacks run in a hook although one has thrown before.
      seen.push(fx_callback(inner, 4));
      seen.push(exceptionOf(() => symbols.fx_divide(1, 0)).code);
      return answer();
    });
    try {
      fx_callback_and_read(body, 1, address);
    } catch (error) {
      return error;
    }
    return "nothing";
  };
  const mend = (): "handled" => {
    protect({ address, byteLength: pageLength }, "rw-");
    return "handled";
  };
  assert.equal(run(mend), first);
  assert.equal(run(() => "next"), first);
  assert.equal(run(() => throwException("later")), first);
  assert.equal(
    run(() => {
      throw new Error("later");
    }),
    first,
  );
  assert.deepEqual(seen, [9, "FPE_INTDIV", 9, "FPE_INTDIV", 9, "FPE_INTDIV", 9, "FPE_INTDIV"]);
  assert.equal(symbols.fx_echo_i32(3), 3);
});

test("addHook() keeps a callback that threw in a hook apart from the interrupted call", () => {
  const address = pages(1);
  using _hook = addHook(segv, () => {
    using inner = callback(types, () => {
      throw new RangeError("inner");
    });
    assert.throws(() => fx_callback(inner, 4), { name: "RangeError", message: "inner" });
    protect({ address, byteLength: pageLength }, "rw-");
    return "handled";
  });
  assert.equal(symbols.fx_read(address), 0n);
});

/** Adds `count` hooks, each of which runs the next as it faults itself. */
function nested(count: number, innermost: () => "handled" | "next"): Hook[] {
  return Array.from(
    { length: count },
    (_, index) =>
      addHook({ range: { address: BigInt(8 * index + 8), byteLength: 8 } }, (exception) => {
        if (index + 1 === count) return innermost();
        symbols.fx_read(BigInt(8 * index + 16));
        return skip(exception, lengths.access);
      }),
  );
}

test("addHook() runs hooks inside hooks eight deep, and says when it is deeper", () => {
  let reached: HardwareException | null = null;
  const all = nested(8, () => {
    reached = exceptionOf(() => symbols.fx_read(8n * 9n));
    return "next";
  });
  using ninth = addHook({ range: { address: 72n, byteLength: 8 } }, () => "handled");
  const error = exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual(all.map(({ hits }) => hits), Array(8).fill(1));
  assert.equal(ninth.hits, 0);
  assert.equal(reached!.info.hooksSkipped, "hooks ran inside hooks 8 deep already");
  // The innermost threw, and each surfaced from the hook around it.
  assert.equal(error.info.address, 64n);
  for (const hook of all) hook.remove();
});

test("throwException() in nested hooks throws the exception of the innermost running one", () => {
  const additional: unknown[] = [];
  using _outer = addHook({ range: { address: 8n, byteLength: 8 } }, () => {
    const inner = exceptionOf(() => symbols.fx_read(16n));
    additional.push([inner.info.address, inner.additional]);
    return throwException("outer");
  });
  using _inner = addHook({ range: { address: 16n, byteLength: 8 } }, () => {
    const innermost = exceptionOf(() => symbols.fx_read(24n));
    additional.push([innermost.info.address, innermost.additional]);
    return throwException("inner");
  });
  const error = exceptionOf(() => symbols.fx_read(8n));
  assert.deepEqual([error.info.address, error.additional], [8n, "outer"]);
  assert.deepEqual(additional, [[24n, undefined], [16n, "inner"]]);
});

test("throwException() in a hook keeps its exception through many later ones", () => {
  using hook = addHook({ range: { address: 8n, byteLength: 8 } }, () => {
    for (let round = 0n; round < 100n; round++) exceptionOf(() => symbols.fx_read(4000n - round));
    return throwException("first");
  });
  const error = exceptionOf(() => symbols.fx_read(8n));
  for (let round = 0n; round < 100n; round++) exceptionOf(() => symbols.fx_read(4000n - round));
  assert.deepEqual([error.info.address, error.additional, hook.hits], [8n, "first", 1]);
});

test("addHook() does not ask a hook again while it runs, but others", () => {
  const asked: string[] = [];
  using _older = addHook(segv, (exception) => {
    asked.push(`older ${exception.address}`);
    return skip(exception, lengths.access);
  });
  using _hook = addHook(segv, (exception) => {
    asked.push(`newer ${exception.address}`);
    if (exception.address === 8n) symbols.fx_read(16n);
    return "next";
  });
  symbols.fx_read(8n);
  assert.deepEqual(asked, ["newer 8", "older 16", "older 8"]);
});

test("info.hooksSkipped says that nothing changed after a thousand answers", () => {
  let rounds = 0;
  using hook = addHook(segv, () => {
    rounds++;
    return "handled";
  });
  for (let call = 1; call <= 2; call++) {
    const { info } = exceptionOf(() => symbols.fx_read(8n));
    assert.equal(info.hooksSkipped, 'it was answered "handled" 1,000 times and nothing changed');
    assert.deepEqual([rounds, hook.hits], [1000 * call, 1000 * call]);
  }
});

test("addHook() may mend the same instruction five thousand times in one call", () => {
  using hook = addHook(segv, (exception) => {
    (exception.registers as unknown as Record<string, bigint>)[registers.readOften] = 1n;
    return skip(exception, lengths.access);
  });
  assert.equal(hooks.fh_read_often(8n, 5000n), 5000n);
  assert.equal(hook.hits, 5000);
});

test("addHook() may mend each of two thousand calls once, by thunk, address or block", () => {
  const address = pages(1, "rw-");
  symbols.fx_write(address, 7n);
  const { place } = dlopen(fixturePath, { place: { name: "fx_read", type: "address" } }).symbols;
  const rounds = manyRounds(2000);
  const byAddress = callable(place, { parameters: ["address"], result: "u64" });
  const actions = [
    () => {
      protectOften(address, "r--");
      return "handled" as const;
    },
    { action: "protect", protection: "r--" } as const,
  ];
  for (const action of actions) {
    using hook = addHook(segv, action);
    for (const call of [symbols.fx_read, byAddress]) {
      for (let round = 0; round < rounds; round++) {
        protectOften(address, "---");
        assert.equal(call(address), 7n);
      }
    }
    assert.equal(hook.hits, 2 * rounds);
  }
});

test("addHook() may mend code that keeps its count on the stack and protects by itself", () => {
  const address = pages(1, "r--");
  using hook = mending();
  const rounds = manyRounds(3000);
  assert.equal(hooks.fh_protect_often(address, BigInt(rounds)), 0n);
  assert.equal(hook.hook.hits, rounds);
});

test("addHook() works for calls without a thunk", () => {
  hooksPass("blocks");
  hooksPass("blocks", "worker");
});

test("info.hooksSkipped says that a nonblocking call ran on another thread", async () => {
  using hook = addHook(segv, () => "handled");
  const error = await later(8n).then(() => null, (reason: unknown) => reason);
  assert.equal(
    (error as HardwareException).info.hooksSkipped,
    "it happened on another thread than the one that added the hook",
  );
  assert.equal(hook.hits, 0);
  const deep = await overflow(0n).then(() => null, (reason: unknown) => reason);
  assert.equal((deep as HardwareException).info.type, "stack-overflow");
});

test("info.hooksSkipped says that a stack overflow left no room", () => {
  using hook = addHook(segv, () => "handled");
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => symbols.fx_overflow(0n));
    assert.equal(info.type, "stack-overflow");
    assert.match(info.hooksSkipped!, /^the stack (?:had no room left for a hook|pointer was not)/);
  }
  assert.equal(hook.hits, 0);
  using native = addHook(segv, { action: "throw" });
  assert.equal(exceptionOf(() => symbols.fx_overflow(0n)).info.type, "stack-overflow");
  assert.equal(native.hits, 1);
});

test("addHook() runs, or says why not, however full the stack is", () => {
  hooksPass("depths");
  hooksPass("depths", "worker");
});

test("addHook() leaves alone what no guarded call makes", () => {
  hooksDie("SIGSEGV", "propagatedAlone");
  hooksDie("SIGSEGV", "hookFaults");
});

test("a hook that mends nothing ends in the signal where nothing is caught", () => {
  hooksDie("SIGSEGV", "noProgress");
  hooksDie("SIGSEGV", "noProgressElsewhere");
});

test("H39 a hook that reports and answers next leaves the exit status as it was", () => {
  const { stderr } = hooksDie("SIGSEGV", "screamAndDie");
  assert.match(stderr, /^SCREAM SEGV_MAPERR at 0x8\nin fx_read\(\), thread true\nframe fx_read\n/);
  assert.match(stderr, /FAULTLINE: SIGSEGV \(SEGV_MAPERR\) reading 0x8 in fx_read/);
});

test("H39 what hooks pass on is passed on once, with everything as it was", () => {
  hooksPass("askedAgain");
  hooksPass("faultPassedOn");
  hooksPass("trapPassedOn");
});

test("afterException counts what a hook throws, and nothing that it mends", () => {
  const address = pages(1);
  const open = () =>
    dlopen(fixturePath, { fx_read: { parameters: ["address"], result: "u64" } }, {
      afterException: "poison",
    });
  const values = [() => throwException(1), () => {
    throw new RangeError("own");
  }, () => "next" as const];
  for (const value of values) {
    using poisoned = open();
    {
      using _hook = mending();
      poisoned.symbols.fx_read(address);
      protect({ address, byteLength: pageLength }, "---");
      assert.equal(poisoned.exceptionCount, 0);
    }
    using _hook = addHook(segv, value);
    assert.throws(() => poisoned.symbols.fx_read(8n));
    assert.throws(() => poisoned.symbols.fx_read(8n), { code: "LIBRARY_POISONED" });
    assert.equal(poisoned.exceptionCount, 1);
  }
});
