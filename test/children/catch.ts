/** Throwing without a guarded call anywhere. */
import { strict as assert } from "node:assert";
import { isMainThread } from "node:worker_threads";
import { catchException, HardwareException, throwException } from "../../mod.ts";
import { exceptionOf, openFixture, runCase, runWorker } from "../support.ts";

function throwAlone(): void {
  assert.throws(() => throwException("why"), HardwareException);
  const error = exceptionOf(() => throwException("why"));
  assert.equal(error.additional, "why");
  assert.equal(error.info.type, "user");
  const { threadId, processId } = error.info;
  assert.equal(threadId === processId, isMainThread);
  assert.equal(catchException(() => throwException()).ok, false);
}

async function twoThreads(): Promise<void> {
  const { symbols } = openFixture();
  const running = runWorker(new URL(import.meta.url), "throwAlone");
  for (let round = 0; round < 1000; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(1n)).info.type, "access-violation");
  }
  await running;
  assert.equal(exceptionOf(() => symbols.fx_read(1n)).info.type, "access-violation");
}

await runCase(import.meta.url, { throwAlone, twoThreads });
