/** Cases of mapped files and write trackers, in a Worker or a process of their own. */
import { strict as assert } from "node:assert";
import { setTimeout as delay } from "node:timers/promises";
import { Worker, workerData } from "node:worker_threads";
import { mapFile } from "../../mod.ts";
import { mappedFileCases } from "../mapped_file_cases.ts";
import { memoryFailureCases } from "../memory_failure_cases.ts";
import { holders, withFile } from "../memory_support.ts";
import { runCase } from "../support.ts";
import { writeTrackerCases } from "../write_tracker_cases.ts";

/** In a Worker: maps a file and leaves it mapped. */
function leave(): void {
  const { path } = workerData as { path: string };
  const file = mapFile(path);
  assert.equal(file.bytes[0], 7);
  // The Worker is to be ended, not to end.
  setInterval(() => file.bytes[0], 1000);
}

async function endWorkers(path: string): Promise<void> {
  for (let round = 0; round < 20; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { name: "leave", path } });
    await new Promise((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
    });
    assert.ok(holders(path) >= 2);
    await worker.terminate();
    for (let wait = 0; wait < 500 && holders(path) !== 0; wait++) await delay(10);
    assert.equal(holders(path), 0);
  }
}

await runCase(import.meta.url, {
  ...mappedFileCases,
  ...memoryFailureCases,
  ...writeTrackerCases("userfaultfd"),
  ...writeTrackerCases("mprotect"),
  leave,
  "ends with its Worker": () => withFile(4096, 7, endWorkers),
});
