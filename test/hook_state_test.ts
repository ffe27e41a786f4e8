/** The interrupted state: what hooks read and write, and that it survives them. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addHook, callback, FaultlineError, type LiveException } from "../mod.ts";
import type { ThreadState } from "../mod.ts";
import { codeNowhere, lengths, registers as names } from "./fixture_code.ts";
import { openHooks, pages, skip } from "./hooks_support.ts";
import { arm64, x64Only } from "./platform_support.ts";
import { exceptionOf, openFixture } from "./support.ts";

const { symbols } = openFixture();
const hooks = openHooks().symbols;
const segv = { signals: ["SIGSEGV"] } as const;

/** The floating-point state: its length, and where its first register for vectors is. */
const floatingPointLength = arm64 ? 528 : 512;
const firstVector = arm64 ? 16 : 160;
const singleSteps = x64Only("a thread can ask for single steps of its own");

/** Names of registers, whatever the machine. */
type Words = Record<string, bigint>;

/** The registers by any name. */
function words(exception: LiveException): Words {
  return exception.registers as unknown as Words;
}

/** Runs `body` as a hook about a read of address 8, which it then skips unless `body` answers. */
function inHook(body: (exception: LiveException) => "next" | void): void {
  let ran = false;
  using _hook = addHook(segv, (exception) => {
    ran = true;
    return body(exception) ?? skip(exception, lengths.access);
  });
  symbols.fx_read(8n);
  assert.ok(ran);
}

test("LiveException says in the hook what the exception says afterwards", () => {
  const seen: Record<string, unknown> = {};
  let text: string | null | undefined;
  using _hook = addHook(segv, (exception) => {
    const names = Object.keys(info) as (keyof typeof info)[];
    for (const name of names) seen[name] = exception[name];
    text = exception.instruction?.text;
    assert.equal(exception.backtrace()[0]?.symbol, "fx_read");
    return "next";
  });
  let { info } = exceptionOf(() => symbols.fx_divide(1, 0));
  info = exceptionOf(() => symbols.fx_read(8n)).info;
  assert.equal(Object.keys(seen).length, Object.keys(info).length);
  for (const name of Object.keys(info) as (keyof typeof info)[]) {
    if (name === "instruction") assert.equal(text, info.instruction?.text);
    else assert.deepEqual({ ...Object(seen[name]) }, { ...Object(info[name]) }, name);
    if (typeof info[name] !== "object") assert.equal(seen[name], info[name], name);
  }
  assert.equal(seen["signal"], "SIGSEGV");
});

test("registers take portable and machine names, and the one that changed counts", () => {
  const address = pages(1, "rw-");
  symbols.fx_write(address, 41n);
  const changes: readonly ((exception: LiveException) => void)[] = [
    (exception) => words(exception)[names.argument] = address,
    (exception) => words(exception)[names.argument] = address - 2n ** 64n,
    (exception) =>
      exception.writeState(
        "general",
        { ...exception.registers, [names.argument]: address } as never,
      ),
    (exception) => exception.writeState("general", { [names.argument]: address } as never),
  ];
  for (const change of changes) {
    using hook = addHook(segv, (exception) => {
      change(exception);
      return "handled";
    });
    assert.equal(hooks.fh_registers_after(8n), 42n);
    assert.equal(hook.hits, 1);
  }
  const first = hooks.fh_steps_first;
  const skips: readonly ((exception: LiveException) => void)[] = [
    ({ registers }) => registers.instructionPointer = first,
    (exception) => words(exception)[names.instructionPointer] = first,
    (exception) => {
      words(exception)[names.instructionPointer] = first;
      exception.registers.instructionPointer = first;
    },
    (exception) => exception.writeState("general", { instructionPointer: first } as never),
  ];
  for (const change of skips) {
    using _hook = addHook({ signals: ["SIGILL"] }, (exception) => {
      change(exception);
      return "handled";
    });
    assert.equal(hooks.fh_steps(), 42);
  }
});

test("registers refuse two values, values that are no bigint, and names that do not exist", () => {
  const { result, half, instructionPointer, stackPointer } = names;
  const general: readonly [object | number | null, RegExp][] = [
    [{ [half]: 1n }, new RegExp(`${half}|extensible`)],
    [
      { [stackPointer]: 1n, stackPointer: 2n },
      new RegExp(`two values for the register ${stackPointer},`),
    ],
    [{ [result]: 1 }, new RegExp(`1 in the register ${result}:`)],
    [1, /must be an object of registers/],
    [null, /must be an object/],
  ];
  const wrong: readonly (readonly [(exception: LiveException) => void, RegExp])[] = [
    [(exception) => {
      words(exception)[instructionPointer] = 1n;
      exception.registers.instructionPointer = 2n;
    }, new RegExp(`two values for the register ${instructionPointer},`)],
    [
      (exception) => words(exception)[result] = 1 as never,
      new RegExp(`1 in the register ${result}:`),
    ],
    [
      (exception) => words(exception)[result] = undefined as never,
      new RegExp(`undefined in the register ${result}:`),
    ],
    [(exception) => words(exception)[half] = 1n, new RegExp(`${half}|extensible`)],
    ...general.map(([state, message]) =>
      [
        (exception: LiveException) => exception.writeState("general", state as never),
        message,
      ] as const
    ),
  ];
  for (const [change, message] of wrong) {
    using _hook = addHook(segv, (exception) => {
      change(exception);
      return skip(exception, lengths.access);
    });
    assert.throws(() => symbols.fx_read(8n), { name: "TypeError", message });
  }
  assert.equal(symbols.fx_echo_i32(3), 3);
});

test("registers that a hook wrote are discarded when it answers next, or throws", () => {
  const before: unknown[] = [];
  using _oldest = addHook(segv, (exception) => {
    before.push(exception.registers[names.argument], exception.registers.instructionPointer);
    const state = new DataView(exception.readState("floatingPoint").buffer);
    before.push(state.getFloat64(firstVector, true), exception.readState("singleStep"));
    return skip(exception, lengths.access);
  });
  using _newer = addHook(segv, (exception) => {
    words(exception)[names.argument] = 99n;
    exception.registers.instructionPointer = 5n;
    const state = exception.readState("floatingPoint");
    new DataView(state.buffer).setFloat64(firstVector, 4.5, true);
    exception.writeState("floatingPoint", state);
    if (!arm64) exception.writeState("singleStep", true);
    assert.equal(exception.readState("singleStep"), !arm64);
    assert.equal(exception.readState("general")[names.argument], 99n);
    return "next";
  });
  assert.equal(hooks.fh_vector_after(8n, 1.25), 1.25);
  assert.deepEqual([before[0], before[2], before[3]], [8n, 1.25, false]);
  assert.notEqual(before[1], 5n);
});

test("a register may be given an address that is none: the exception is the next one", () => {
  for (const target of codeNowhere) {
    let asked = 0;
    using _hook = addHook({}, (exception) => {
      asked++;
      if (exception.signal === "SIGSEGV") return "next";
      exception.registers.instructionPointer = target;
      return "handled";
    });
    const { info } = exceptionOf(() => symbols.fx_ud2());
    assert.deepEqual([info.signal, info.instructionPointer, asked], ["SIGSEGV", target, 2]);
  }
});

test("writeState() of floatingPoint changes what the code goes on with", () => {
  using _hook = addHook(segv, (exception) => {
    const state = exception.readState("floatingPoint");
    assert.equal(state.byteLength, floatingPointLength);
    const view = new DataView(state.buffer);
    assert.equal(view.getFloat64(firstVector, true), 1.25);
    view.setFloat64(firstVector, 2.5, true);
    exception.writeState("floatingPoint", state);
    assert.deepEqual(exception.readState("floatingPoint"), state);
    return skip(exception, lengths.access);
  });
  assert.equal(hooks.fh_vector_after(8n, 1.25), 2.5);
});

test("writeState() of vector takes back all that readState() gave", () => {
  using _hook = addHook(segv, (exception) => {
    const state = exception.readState("vector");
    // XSAVE has a header of 64 bytes, and the records of arm64 end with one of 16.
    const more = state.byteLength - floatingPointLength;
    assert.ok(arm64 ? more >= 16 : more === 0 || more >= 64, String(more));
    exception.writeState("vector", state);
    assert.deepEqual(exception.readState("vector"), state);
    new DataView(state.buffer).setFloat64(firstVector, 3.5, true);
    exception.writeState("vector", state);
    assert.equal(
      new DataView(exception.readState("floatingPoint").buffer).getFloat64(firstVector, true),
      3.5,
    );
    return skip(exception, lengths.access);
  });
  assert.equal(hooks.fh_vector_after(8n, 1.25), 3.5);
});

/** Words of the states that must stay: where each lies, and a value that is wrong there. */
const fixedWords: readonly [kind: "floatingPoint" | "vector", at: number, value: number][] = arm64
  // The magic number and the length of the first record.
  ? [["floatingPoint", 0, 1], ["floatingPoint", 4, 512], ["vector", 0, 1], ["vector", 4, 512]]
  // MXCSR; XSAVE's components, its format and what is reserved.
  : [
    ["floatingPoint", 24, 0xffff_ffff],
    ["vector", 24, 0xffff_ffff],
    ["vector", 516, 0xffff_ffff],
    ["vector", 524, 0x8000_0000],
    ["vector", 528, 1],
  ];

test("writeState() refuses what the processor would", () => {
  const wrong: readonly (readonly [keyof ThreadState, (exception: LiveException) => unknown])[] = [
    ["vector", (exception) => exception.readState("vector").subarray(1)],
    ["vector", () => new Uint8Array()],
    ["vector", () => new Uint8Array(1 << 20)],
    ["floatingPoint", () => new Uint8Array(floatingPointLength - 1)],
    ...fixedWords.map(([kind, at, value]) =>
      [kind, (exception: LiveException) => changed(exception, kind, at, value)] as const
    ),
    ["vector", () => 1],
    ["floatingPoint", () => true],
    ["floatingPoint", () => new Float32Array(floatingPointLength / 4)],
    ["singleStep", () => 1],
    ["singleStep", () => Uint8Array.of(1)],
  ];
  inHook((exception) => {
    const before = exception.readState("vector");
    for (const [kind, state] of wrong) {
      const value = state(exception) as never;
      assert.throws(() => exception.writeState(kind, value), {
        name: "TypeError",
        message: new RegExp(`^Cannot write the state "${kind}" as it`),
      });
    }
    assert.deepEqual(exception.readState("vector"), before);
    for (const kind of ["", "flags", "constructor", undefined, 1] as never[]) {
      assert.throws(() => exception.readState(kind), TypeError);
      assert.throws(() => exception.writeState(kind, 1 as never), TypeError);
    }
  });
});

function changed(
  exception: LiveException,
  kind: "floatingPoint" | "vector",
  at: number,
  value: number,
): Uint8Array {
  const state = exception.readState(kind);
  new DataView(state.buffer).setUint32(at, value, true);
  return state;
}

function notSupported(error: unknown): boolean {
  return error instanceof FaultlineError && error.code === "NOT_SUPPORTED";
}

test("readState() of debug is a FaultlineError NOT_SUPPORTED", () => {
  inHook((exception) => {
    assert.throws(() => exception.readState("debug"), notSupported);
    assert.throws(() => exception.writeState("debug", new BigUint64Array(8)), notSupported);
  });
});

test("writeState() of singleStep is a FaultlineError NOT_SUPPORTED on arm64", {
  skip: arm64 ? false : "it is supported on x64",
}, () => {
  inHook((exception) => {
    assert.equal(exception.readState("singleStep"), false);
    for (const on of [true, false]) {
      assert.throws(() => exception.writeState("singleStep", on), notSupported);
    }
    assert.throws(() => exception.writeState("singleStep", 1 as never), TypeError);
  });
});

test("a live exception can be looked at, but not changed, when the hook has returned", () => {
  let kept: LiveException | undefined;
  let untouched: LiveException | undefined;
  inHook((exception) => {
    kept = exception;
    assert.equal(exception.code, "SEGV_MAPERR");
    assert.equal(exception.registers[names.argument], 8n);
  });
  inHook((exception) => void (untouched = exception));
  for (let round = 0n; round < 300n; round++) exceptionOf(() => symbols.fx_read(round));
  for (const exception of [kept!, untouched!]) {
    assert.deepEqual(
      [
        exception.code,
        exception.address,
        exception.call?.symbol,
        exception.registers[names.argument],
      ],
      ["SEGV_MAPERR", 8n, "fx_read", 8n],
    );
    const over = /whose hook has returned/;
    assert.throws(() => exception.readState("vector"), over);
    assert.throws(() => exception.readState("singleStep"), over);
    assert.throws(() => exception.writeState("singleStep", true), over);
    assert.throws(() => exception.writeState("general", { [names.argument]: 1n } as never), over);
  }
  // Nor inside another hook.
  inHook(() => assert.throws(() => kept!.readState("vector"), /whose hook has returned/));
});

test("writeState() of singleStep runs code by single instructions", singleSteps, () => {
  const first = hooks.fh_steps_first;
  const seen: bigint[] = [];
  using _steps = addHook({ signals: ["SIGTRAP"] }, (exception) => {
    assert.deepEqual([exception.type, exception.code], ["single-step", "TRAP_TRACE"]);
    assert.equal(exception.readState("singleStep"), true);
    seen.push(exception.registers.instructionPointer - first);
    return "handled";
  });
  using _start = addHook({ signals: ["SIGILL"] }, (exception) => {
    exception.writeState("singleStep", true);
    return skip(exception, lengths.illegal);
  });
  for (let round = 0; round < 3; round++) {
    seen.length = 0;
    assert.equal(hooks.fh_steps(), 42);
    // Behind nop, xorl (two bytes), nop and movl (five).
    assert.deepEqual(seen, [1n, 3n, 4n, 9n]);
    assert.equal(symbols.fx_echo_i32(3), 3);
  }
});

test("writeState() of singleStep ends at false, and where a callback begins", singleSteps, () => {
  let seen = 0;
  let last = 0;
  using _steps = addHook({ signals: ["SIGTRAP"] }, (exception) => {
    if (++seen === last) exception.writeState("singleStep", false);
    return "handled";
  });
  using _start = addHook({ signals: ["SIGILL"] }, (exception) => {
    exception.writeState("singleStep", true);
    return skip(exception, lengths.illegal);
  });
  last = 2;
  assert.equal(hooks.fh_steps(), 42);
  assert.equal(seen, 2);
  seen = last = 0;
  using body = callback({ parameters: ["i32"], result: "i32" }, (value: number) => {
    assert.equal(exceptionOf(() => symbols.fx_read(8n)).code, "SEGV_MAPERR");
    return value * 2;
  });
  assert.equal(hooks.fh_steps_and_callback(body, 4), 9);
  assert.equal(seen, 3, "pushq, movq and movl: the call leads to the callback");
});

test("single steps that no hook takes end the call", singleSteps, () => {
  using _start = addHook({ signals: ["SIGILL"] }, (exception) => {
    exception.writeState("singleStep", true);
    return skip(exception, lengths.illegal);
  });
  const { info } = exceptionOf(() => hooks.fh_steps());
  assert.deepEqual([info.type, info.instructionPointer - hooks.fh_steps_first], [
    "single-step",
    1n,
  ]);
  assert.equal(symbols.fx_echo_i32(3), 3);
  // And through many functions: the C library's own, to the very end.
  using _steps = addHook({ signals: ["SIGTRAP"] }, () => "handled");
  assert.equal(hooks.fh_steps(), 42);
});
