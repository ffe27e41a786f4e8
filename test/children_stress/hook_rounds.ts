/**
 * Many rounds of protect, fault, mend in a JavaScript hook and continue, with garbage collection in
 * the hook; every tenth hook throws instead. Arguments: the rounds; "main" or "worker". Reports
 * what the process held after a tenth and at the end.
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

import { addHook, throwException } from "../../mod.ts";
import { openHooks, pageLength, pages } from "../hooks_support.ts";
import { exceptionOf, openFixture } from "../support.ts";
import { collectGarbage, type Holdings, holdings, report } from "./holdings.ts";

const { symbols } = openFixture();
const hooks = openHooks().symbols;

interface Growth {
  readonly before: Holdings;
  readonly after: Holdings;
  readonly hits: number;
}

function run(rounds: number): Growth {
  const address = pages(2, "rw-");
  const range = { address, byteLength: pageLength };
  const junk: unknown[] = new Array(256);
  let round = 0;
  using hook = addHook({ signals: ["SIGSEGV"], range }, (exception) => {
    junk[round % junk.length] = { text: `round ${round}`, list: new Array(50).fill(round) };
    if (round % 2000 === 0) collectGarbage();
    if (round % 1000 === 0) assert.equal(exception.backtrace()[0]?.symbol?.slice(0, 2), "fx");
    if (round % 10 === 9) throwException(round);
    assert.equal(symbols.fx_protect(address, 4096n, 3), 0);
    return "handled";
  });
  const some = (count: number): void => {
    for (let index = 0; index < count; index++) {
      round++;
      symbols.fx_protect(address, 4096n, 0);
      if (round % 10 === 9) {
        const error = exceptionOf(() => symbols.fx_read(address));
        if (error.additional !== round || error.info.address !== address) throw error;
      } else if (round % 10 === 3) {
        assert.equal(hooks.fh_vector_after(address, round + 0.5), round + 0.5);
      } else {
        symbols.fx_write(address, BigInt(round));
        if (symbols.fx_read(address) !== BigInt(round)) throw new Error(`round ${round}`);
      }
    }
  };
  some(rounds / 10);
  collectGarbage();
  const before = holdings();
  some(rounds - rounds / 10);
  collectGarbage();
  return { before, after: holdings(), hits: hook.hits };
}

if (!isMainThread) {
  parentPort!.postMessage(run((workerData as { rounds: number }).rounds));
} else {
  const rounds = Number(process.argv[2]);
  if (process.argv[3] === "worker") {
    const worker = new Worker(new URL(import.meta.url), { workerData: { rounds } });
    report(
      await new Promise((resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      }),
    );
    await worker.terminate();
  } else report(run(rounds));
}
