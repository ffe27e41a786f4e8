/**
 * What Faultline must leave alone: the engine's own use of signals, the runtimes' crash behaviour,
 * signals that are sent, child processes. Each runs in a child, most of them twice: without
 * Faultline and with it.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";

import { type Ended, runChild, send } from "./child_process.ts";
import { arm64, timeFactor } from "./platform_support.ts";
import { runtimeName } from "./support.ts";

const isBun = runtimeName() === "bun";

describe("faults of guarded calls do not disturb", () => {
  const cases: Readonly<Record<string, string>> = {
    wasmTraps: "WebAssembly traps",
    wasmOverflow: "stack overflows of WebAssembly",
    recursion: "stack overflows of JavaScript",
    aboveGuardedCall: "traps and overflows in a callback of a guarded call",
    garbage: "garbage collection",
    terminateJavascript: "the termination of a Worker in a loop",
    terminateWasm: "the termination of a Worker in a WebAssembly loop",
    terminateCallback: "the termination of a Worker in a callback of a guarded call",
    atomicsWait: "Atomics.wait() in Workers",
    childProcesses: "child processes and their exit codes",
    signalHandlers: "handlers of other signals",
  };
  for (const [name, title] of Object.entries(cases)) {
    test(title, async () => {
      const { status, stdout, stderr } = await runChild("bystanders", [name]);
      assert.deepEqual({ status, stdout }, { status: 0, stdout: "passed\n" }, stderr);
    });
  }
});

/** The lines that name the fault, with what differs from run to run taken out. */
function crashLines({ stderr }: Ended): string[] {
  return stderr.split("\n").filter((line) => /^panic|has overflowed its stack|^fatal/.test(line))
    .map((line) => line.replace(/0x[0-9a-f]{6,}/gi, "0x..").replace(/\(\d+\)/g, "(..)"));
}

async function assertSameCrash(kind: string, where: string, expected: number): Promise<void> {
  const alone = await runChild("crash", [kind, "alone", where]);
  const installed = await runChild("crash", [kind, "installed", where]);
  const details = JSON.stringify({ alone, installed });
  assert.equal(alone.stdout, "about to die\n", details);
  assert.equal(installed.stdout, "about to die\n", details);
  assert.equal(alone.status, expected, details);
  assert.equal(installed.status, expected, details);
  if (isBun && kind === "overflow") {
    // Bun alone has no stack left to report on; on the alternate stack of ours it can.
    assert.deepEqual(crashLines(alone), [], details);
    assert.match(crashLines(installed).join(), /^panic.*: Segmentation fault at address/, details);
    return;
  }
  assert.deepEqual(crashLines(installed), crashLines(alone), details);
  if (isBun) assert.notEqual(crashLines(alone).length, 0, details);
}

describe("an unguarded fault ends the process as it does without Faultline", () => {
  const statuses: Readonly<Record<string, number>> = {
    SEGV: 139,
    // Of arm64 it is an instruction that a program may not run.
    GPF: arm64 ? 132 : 139,
    FPE: 136,
    ILL: 132,
    TRAP: 133,
    BUS: 135,
    overflow: isBun ? 139 : 134,
    thread: 139,
    abort: 134,
  };
  for (const [kind, status] of Object.entries(statuses)) {
    test(`${kind} on the main thread`, () => assertSameCrash(kind, "main", status));
    test(`${kind} in a Worker`, () => assertSameCrash(kind, "worker", status));
  }
});

/** Sends `signal` to a child that is inside a call, `count` times; then asks whether it lives. */
async function outcome(mode: string, signal: NodeJS.Signals, count: number): Promise<Ended> {
  return await runChild("signalled", [mode], {
    ready: async (child) => {
      for (let sent = 0; sent < count; sent++) {
        send(child, signal);
        await delay(60 * timeFactor);
      }
      send(child, "SIGUSR2");
    },
  });
}

describe("a signal that another process sends has the effect that it has without Faultline", () => {
  for (const signal of ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT"] as const) {
    for (const count of [1, 2]) {
      test(`${signal} sent ${count === 1 ? "once" : "twice"}`, async () => {
        const alone = await outcome("alone", signal, count);
        for (const mode of ["installed", "named"]) {
          const guarded = await outcome(mode, signal, count);
          const details = JSON.stringify({ mode, alone, guarded });
          assert.equal(guarded.status, alone.status, details);
          assert.equal(guarded.stdout, alone.stdout, details);
          // A signal to a process goes to any thread of it, and Bun names the thread.
          const [lines, expected] = [guarded, alone].map((ended) =>
            crashLines(ended).map((line) => line.replace(/^panic\(.*?\)/, "panic"))
          );
          assert.deepEqual(lines, expected, details);
        }
      });
    }
  }
});
