/**
 * Workers that come and go, each with guarded calls, faults and stack overflows. A third ends by
 * itself, a third is terminated while it waits, a third while it faults. Reports what is left.
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { status } from "../../mod.ts";
import { exceptionOf, fixturePath, openFixture } from "../support.ts";
import { alternateStacks, eventually, holdings, report } from "./holdings.ts";

interface Task {
  readonly ending: "itself" | "waiting" | "faulting" | "tiny";
  /** Whether it overflows its stack, too. */
  readonly deep: boolean;
}
const endings = ["itself", "waiting", "faulting"] as const;
/** Workers that do next to nothing, so that many fit into a test. */
const tiny = process.argv[4] === "tiny";

function runTask({ ending, deep }: Task): void {
  const library = openFixture();
  const { symbols } = library;
  assert.equal(symbols.fx_echo_i32(7), 7);
  assert.equal(exceptionOf(() => symbols.fx_read(16n)).info.address, 16n);
  assert.equal(exceptionOf(() => symbols.fx_divide(1, 0)).code, "FPE_INTDIV");
  if (deep) {
    assert.equal(exceptionOf(() => symbols.fx_overflow(0n)).info.type, "stack-overflow");
    assert.equal(symbols.fx_echo_i32(8), 8);
  }
  parentPort!.postMessage({ alternateStacks: alternateStacks(), base: status().alternateStack });
  if (ending === "itself") return;
  if (ending === "waiting") return void setInterval(() => {}, 1000);
  // Bounded, as Deno lets a Worker that never returns to its event loop run on.
  for (let round = 0; round < 20_000; round++) exceptionOf(() => symbols.fx_read(24n));
}

/** Gives how many alternate stacks there were while the worker ran, and where its own lay. */
function runWorker(task: Task): Promise<{ alternateStacks: number }> {
  const worker = task.ending === "tiny"
    ? new Worker(new URL("./tiny_worker.ts", import.meta.url), { workerData: fixturePath })
    : new Worker(new URL(import.meta.url), { workerData: task });
  let seen = { alternateStacks: 0 };
  return new Promise((resolve, reject) => {
    worker.on("message", (message) => {
      seen = message;
      if (task.ending === "waiting" || task.ending === "faulting") void worker.terminate();
    });
    worker.on("error", reject);
    worker.on("exit", () => resolve(seen));
  });
}

/** Runs `total` Workers, `width` at a time; gives the most alternate stacks that one saw. */
async function runAll(total: number, width: number): Promise<number> {
  let next = 0;
  let stacksMax = 0;
  const lane = async (): Promise<void> => {
    while (next < total) {
      const index = next++;
      const ending = tiny ? "tiny" : endings[index % endings.length]!;
      const seen = await runWorker({ ending, deep: !tiny && index % 4 === 0 });
      stacksMax = Math.max(stacksMax, seen.alternateStacks);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  return stacksMax;
}

async function main(total: number, width: number): Promise<void> {
  const library = openFixture();
  exceptionOf(() => library.symbols.fx_read(8n));
  const slotsBefore = status().openSymbols;
  // The runtime's own helper threads start with the first Workers.
  await runAll(Math.min(total, 3 * width), width);
  const noneLeft = (): boolean =>
    holdings().workerThreads === 0 && status().openSymbols === slotsBefore;
  await eventually(noneLeft, 250);
  const before = holdings();
  const stacksMax = await runAll(total, width);
  await eventually(noneLeft, 250);
  assert.equal(exceptionOf(() => library.symbols.fx_read(8n)).info.address, 8n);
  const slotsAfter = status().openSymbols;
  report({ before, after: holdings(), slotsBefore, slotsAfter, stacksMax });
}

if (isMainThread) await main(Number(process.argv[2]), Number(process.argv[3]));
else runTask(workerData as Task);
