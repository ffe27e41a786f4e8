/**
 * Faults on several Workers and on the main thread at the same time, with garbage collection. Each
 * thread checks every exception of its own and reports how many there were, and on which thread.
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { exceptionOf, openFixture } from "../support.ts";
import { collectGarbage, report } from "./holdings.ts";

/** What one thread is to do. */
interface Task {
  readonly index: number;
  readonly faults: number;
  /** Whether the faults are of all kinds, or all reads of bad addresses. */
  readonly mixed: boolean;
}

/** What one thread did. */
interface Done {
  readonly caught: number;
  readonly threadIds: readonly number[];
}

type Fault = readonly [call: (address: bigint) => unknown, type: string];

function kindsOf({ symbols }: ReturnType<typeof openFixture>, mixed: boolean): readonly Fault[] {
  const read: Fault = [(address) => symbols.fx_read(address), "access-violation"];
  if (!mixed) return [read];
  return [
    read,
    [() => symbols.fx_divide(1, 0), "arithmetic"],
    [() => symbols.fx_ud2(), "illegal-instruction"],
    [() => symbols.fx_int3(), "breakpoint"],
  ];
}

function run({ index, faults, mixed }: Task): Done {
  using library = openFixture();
  const kinds = kindsOf(library, mixed);
  const threadIds = new Set<number>();
  const junk: unknown[] = new Array(64);
  let count = 0;
  for (let round = 0; round < faults; round++) {
    const [call, type] = kinds[(round + index) % kinds.length]!;
    // Every thread has pages of its own, all below what the kernel maps.
    const address = BigInt(index * 8192 + round % 8192);
    const { info } = exceptionOf(() => call(address));
    assert.equal(info.type, type);
    if (type === "access-violation") assert.equal(info.address, address);
    threadIds.add(info.threadId);
    count++;
    junk[round % junk.length] = { text: `junk ${round}`, list: new Array(50).fill(round) };
    if (round % 5000 === 4999) collectGarbage();
  }
  assert.equal(library.exceptionCount, faults);
  return { caught: count, threadIds: [...threadIds] };
}

function runInWorker(task: Task): Promise<Done> {
  const worker = new Worker(new URL(import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
}

if (isMainThread) {
  const [workers = 0, faults = 0] = process.argv.slice(2).map(Number);
  const mixed = process.argv[4] === "mixed";
  const tasks = Array.from(
    { length: workers },
    (_, index) => ({ index: index + 1, faults, mixed }),
  );
  const running = Promise.all(tasks.map(runInWorker));
  const own = run({ index: 0, faults, mixed });
  report([own, ...await running]);
} else {
  parentPort!.postMessage(run(workerData as Task));
}
