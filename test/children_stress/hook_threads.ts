/**
 * Workers that fault under hooks of their own, while main adds and removes hooks. Argument: the
 * Workers; the rounds of each. Reports how often each hook was asked. With "terminate", main ends
 * the Workers in the middle; with "spin", in the middle of a hook.
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { addHook, type Hook, protect, status, throwException } from "../../mod.ts";
import { openHooks, pageLength, pages } from "../hooks_support.ts";
import { exceptionOf, openFixture } from "../support.ts";
import { collectGarbage, report } from "./holdings.ts";

interface Task {
  readonly index: number;
  readonly rounds: number;
  readonly endless: boolean;
  readonly spins: boolean;
}

/** A hook that does not end by itself, within a time that Deno needs to end at all. */
function spin(): void {
  const { symbols } = openFixture();
  using _hook = addHook({ signals: ["SIGSEGV"] }, () => {
    parentPort!.postMessage("started");
    const end = Date.now() + 5000;
    while (Date.now() < end) JSON.stringify({ now: Date.now() });
    return "next";
  });
  exceptionOf(() => symbols.fx_read(8n));
}

/** One round of a Worker: a page that is mended, a throw, a fault that no hook takes. */
function run({ index, rounds, endless, spins }: Task): number {
  if (spins) {
    spin();
    return 0;
  }
  const { symbols } = openFixture();
  const hooks = openHooks().symbols;
  const address = pages(1);
  const range = { address, byteLength: pageLength };
  let mended = 0;
  using _mends = addHook({ range }, () => {
    mended++;
    protect(range, "rw-");
    return "handled";
  });
  using _throws = addHook({ signals: ["SIGFPE"] }, () => throwException(index));
  if (endless) parentPort!.postMessage("started");
  for (let round = 1; round <= rounds; round++) {
    protect(range, "---");
    symbols.fx_write(address, BigInt(round));
    if (mended !== round) throw new Error(`asked ${mended} times in round ${round}`);
    assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).additional, index);
    if (round % 50 === 0) {
      const { info } = exceptionOf(() => symbols.fx_ud2());
      assert.equal(info.signal, "SIGILL");
      protect(range, "---");
      // Nobody's range: this thread's hook is for another one.
      const task = BigUint64Array.of(address + 8n, 0n, 0n, 0n);
      assert.equal(hooks.fh_on_thread(task), 0);
      protect(range, "rw-");
    }
    if (round % 1000 === 0) collectGarbage();
  }
  return mended;
}

function start(task: Task): Worker {
  return new Worker(new URL(import.meta.url), { workerData: task });
}

function answer(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** Adds and removes hooks of all kinds, none of which may be asked about what Workers do. */
async function churn(done: () => boolean): Promise<number> {
  let added = 0;
  const kept: Hook[] = [];
  for (let round = 0; !done(); round++) {
    const signals = (["SIGSEGV", "SIGFPE", "SIGILL", "SIGTRAP"] as const).slice(0, 1 + round % 4);
    kept.push(addHook({ signals }, { action: "next" }));
    kept.push(addHook({ signals }, () => "handled"));
    kept.push(addHook({ signals, thread: "current" }, { action: "die" }));
    kept.push(
      addHook({ signals, range: { address: 4096n, byteLength: 4096 } }, {
        action: "map",
        protection: "r--",
        fill: Uint8Array.of(1),
      }),
    );
    added += 4;
    while (kept.length > round % 32) kept.splice((round * 7) % kept.length, 1)[0]!.remove();
    if (round % 16 === 0) await delay(0);
  }
  for (const hook of kept) hook.remove();
  return added;
}

async function main(): Promise<void> {
  const [workers = 0, rounds = 0] = process.argv.slice(2).map(Number);
  const spins = process.argv[4] === "spin";
  const endless = spins || process.argv[4] === "terminate";
  const tasks = Array.from({ length: workers }, (_, index) => ({ index, rounds, endless, spins }));
  let results: unknown[] = [];
  let added = 0;
  if (!endless) {
    let done = false;
    const all = Promise.all(tasks.map((task) => answer(start(task))));
    all.finally(() => done = true);
    added = await churn(() => done);
    results = await all;
  } else {
    for (let round = 0; round < 5; round++) {
      const running = tasks.map(start);
      results = await Promise.all(running.map(answer));
      let turns = 0;
      added += await churn(() => ++turns > 100);
      await delay(20);
      await Promise.all(running.map((worker) => worker.terminate()));
    }
  }
  const { symbols } = openFixture();
  using hook = addHook({ signals: ["SIGFPE"] }, () => throwException("main"));
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).additional, "main");
  assert.equal(hook.hits, 1);
  report({ results, added, installed: status().installed });
}

if (isMainThread) {
  await main();
  // Deno lets a busy Worker that was terminated run on.
  process.exit(0);
} else {
  const result = run(workerData as Task);
  if (!(workerData as Task).endless) parentPort!.postMessage(result);
}
