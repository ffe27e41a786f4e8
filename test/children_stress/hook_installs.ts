/**
 * Threads that add and remove hooks for the same signal, with no guarded call in the process: while
 * a thread has one, the handler must be ours. Arguments: Workers, and how often each adds one.
 * Reports how often a hook had no handler, and whether all is as it was at the end.
 */
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { addHook, status } from "../../mod.ts";
import { dispositionReader, numbers } from "../support.ts";
import { report } from "./holdings.ts";

const filter = { signals: ["SIGFPE"], thread: "any" } as const;

function run(rounds: number): number {
  let missing = 0;
  for (let round = 0; round < rounds; round++) {
    using _hook = addHook(filter, { action: "next" });
    if (status().signals.SIGFPE.owner !== "faultline") missing++;
  }
  return missing;
}

if (isMainThread) {
  const [workers = 0, rounds = 0] = process.argv.slice(2).map(Number);
  const read = dispositionReader();
  const before = read(numbers.SIGFPE);
  const running = Array.from({ length: workers }, () =>
    new Promise<number>((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { rounds } });
      worker.once("message", resolve);
      worker.once("error", reject);
    }));
  const missing = [run(rounds), ...await Promise.all(running)];
  report({ missing, restored: String(read(numbers.SIGFPE)) === String(before) });
} else {
  parentPort!.postMessage(run((workerData as { rounds: number }).rounds));
}
