/** Memory that fails (BUS_MCEERR_AR, BUS_MCEERR_AO). The cases are in memory_failure_cases.ts. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { memoryFailureCases } from "./memory_failure_cases.ts";
import { runChild, runWorker } from "./support.ts";

const workerFile = new URL("./children/memory_cases.ts", import.meta.url);

describe("memory failure", () => {
  for (const [name, body] of Object.entries(memoryFailureCases)) {
    test(name, body);
    test(`${name}, in a Worker`, () => runWorker(workerFile, name));
  }

  for (const name of ["untouched", "beside"]) {
    test(`that is nobody's (${name}) ends as without Faultline`, () => {
      const { status, signal, stdout } = runChild("memory_failure", [name]);
      const without = runChild("memory_failure", ["raw"]);
      assert.deepEqual(
        { status, signal, stdout },
        { status: without.status, signal: without.signal, stdout: without.stdout },
      );
      assert.match(stdout, /^about to fail\n/);
    });
  }
});
