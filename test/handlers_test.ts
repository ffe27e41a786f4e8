/** Who gets a signal: our handlers, those before them and those after them. Each in a child. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { install } from "../mod.ts";
import { needsDivision, noFilters } from "./platform_support.ts";
import { childDies, childPasses, runChild, runtimeName } from "./support.ts";

const onlyDeno = { skip: runtimeName() === "bun" ? "a fact of Deno" : false } as const;
const onlyBun = { skip: runtimeName() === "deno" ? "a fact of Bun" : false } as const;
const synchronous = ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"] as const;

/** Runs a case of `children/handlers.ts`. */
function passes(name: string): void {
  childPasses("handlers", name);
}

test("import of mod.ts changes no disposition, opens no file and prints nothing", () => {
  childPasses("import", "all");
  childPasses("import", "all", "worker");
});

test("status() names the owner of each signal before install() and after", () => passes("owners"));

test("install() is idempotent, and its disposal restores every disposition exactly", () => {
  passes("disposal");
});

test("install() takes the signals that it is given, and only those", () => passes("chosen"));

test("install() is done again by the next guarded call after its disposal", () => {
  passes("callAfterDisposal");
});

test("install() disposed on the main thread leaves a Worker's calls guarded", () => {
  passes("disposalAndWorker");
});

test("H23 install() restores flags, mask and restorer of a handler that was there before", () => {
  passes("foreignRestored");
});

test("install() refuses disposal under a foreign handler, names it, and changes nothing", () => {
  passes("refusal");
});

test("install() refuses what is no list of signals", () => {
  assert.throws(() => install(null as never), {
    name: "TypeError",
    message: "Cannot install handlers as the options are not an object: pass { signals }",
  });
  for (const signals of ["SIGSEGV", ["SIGKILL"], ["sigsegv"], [11], [undefined], {}, null, 11]) {
    if (signals === null) continue;
    assert.throws(() => install({ signals } as never), {
      name: "TypeError",
      message: /Cannot select signals as .*pass an array of names out of SIGSEGV, SIGBUS/,
    });
  }
});

test("H27 dlopen() passes a fault of nobody to a former SA_SIGINFO handler", () => {
  passes("formerWithInfo");
});

test("H29 dlopen() passes a fault of nobody to a former plain handler", () =>
  passes("formerPlain"));

test("H27 dlopen() gives former handlers the signal mask that the kernel would", () => {
  passes("formerMask");
});

test("H27 dlopen() honours SA_RESETHAND of a former handler: once, then the default", () => {
  childDies("SIGSEGV", "handlers", "formerOnce");
});

test("H27 dlopen() keeps guarded faults from the former handler", () => passes("formerNotCalled"));

// On arm64 the fixture sends what a division would raise, and what is sent may be ignored.
test(
  "dlopen() treats an ignored fault of nobody as the kernel does: it ends the process",
  needsDivision,
  () => {
    childDies("SIGFPE", "handlers", "ignored");
  },
);

for (const signal of synchronous) {
  test(`H28 dlopen() leaves an unguarded ${signal} to end the process by that very signal`, () => {
    const { stderr } = childDies(signal, "unguarded", signal, "installed");
    const bare = childDies(signal, "unguarded", signal, "bare");
    // Bun's crash handler says what happened; it must not say less because of us.
    const panic = /panic.*|.*(?:fault|instruction|error) at address.*/gi;
    const said = (text: string): string[] =>
      (text.match(panic) ?? []).map((line) => line.replaceAll(/0x[0-9A-Fa-f]+/g, "0x"));
    assert.deepEqual(said(stderr), said(bare.stderr));
  });
}

test(
  "H28 dlopen() leaves an unguarded SIGSYS of a system call filter to the runtime",
  noFilters,
  () => {
    const [bare, installed] = ["bare", "installed"].map((how) =>
      runChild("unguarded", ["SIGSYS", how])
    );
    const expected = runtimeName() === "bun"
      ? { status: 38, signal: null }
      : { status: null, signal: "SIGSYS" };
    for (const { status, signal } of [bare!, installed!]) {
      assert.deepEqual({ status, signal }, expected);
    }
  },
);

test("H28 dlopen() leaves an ignored SIGTRAP to end the process, as the kernel does", () => {
  childDies("SIGTRAP", "handlers", "ignoredTrap");
});

test("H28 dlopen() leaves an unguarded fault in a Worker to end the process", () => {
  childDies("SIGFPE", "unguarded", "SIGFPE", "worker");
});

test("H30 dlopen() leaves a sent signal to the default action", () => {
  for (const signal of ["SIGABRT", "SIGSYS"]) childDies(signal, "unguarded", "sent", signal);
});

test("X3 kill() of a stray signal disarms nothing where a former handler takes it", () => {
  passes("strayWithFormer");
});

test("X3 kill() of an ignored stray signal disarms nothing", () => passes("strayIgnored"));

test(
  "X3 kill() of a stray SIGSEGV passes once in Deno, disarms nothing, and then ends it",
  onlyDeno,
  () => {
    passes("strayInDeno");
    childDies("SIGSEGV", "handlers", "secondStrayInDeno");
  },
);

test("X3 kill() of a stray SIGSEGV does in Bun what it does without us", onlyBun, () => {
  const [bare, installed] = ["strayBare", "strayInstalled"].map((name) =>
    runChild("handlers", [name])
  );
  assert.deepEqual([installed!.status, installed!.signal], [bare!.status, bare!.signal]);
});

test("reinstall() puts our handler over a foreign one, which then gets what is not caught", () => {
  passes("reinstallOverForeign");
});

test("reinstall() over a foreign handler that was put on twice", () => passes("reinstallTwice"));

test("reinstall() puts our handler back where somebody set the default", () => {
  passes("reinstallOverDefault");
  childDies("SIGSEGV", "handlers", "defaultUnderneath");
});

test("install() under a listener of process.on() keeps no sent signal from it", () => {
  passes("listenerOverOurs");
});

test("reinstall() works after process.on() displaced us, and its listener still hears", () => {
  passes("reinstallOverListener");
});

test("reinstall() changes nothing where nothing is installed", () => passes("reinstallNothing"));

test("dlopen() leaves WebAssembly its traps, which are SIGSEGVs in Bun", () => {
  childPasses("wasm", "beside");
  childPasses("wasm", "beside", "worker");
});

test("dlopen() leaves WebAssembly its traps inside a callback of a guarded call", () => {
  childPasses("wasm", "insidePointer");
  childPasses("wasm", "insideFunction");
  childPasses("wasm", "insideFunction", "worker");
});

test(
  "dlopen() catches guarded faults under a listener that calls the former handler",
  onlyDeno,
  () => {
    passes("chainingListener");
  },
);
