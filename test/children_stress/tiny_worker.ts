/** A Worker that does next to nothing: `worker_churn.ts` starts very many. */
import { parentPort, workerData } from "node:worker_threads";

import { dlopen, HardwareException } from "../../mod.ts";

const { symbols } = dlopen(workerData as string, {
  fx_read: { parameters: ["address"], result: "u64" },
});
let caught = 0;
for (let round = 0; round < 3; round++) {
  try {
    symbols.fx_read(16n);
  } catch (error) {
    if (!(error instanceof HardwareException) || error.info.address !== 16n) throw error;
    caught++;
  }
}
if (caught !== 3) throw new Error("a fault was not caught");
parentPort!.postMessage({ alternateStacks: 0 });
