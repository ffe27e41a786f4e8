/** `trackWrites`, in each of its ways. The cases are in write_tracker_cases.ts. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { trackWrites } from "../mod.ts";
import { childResult } from "./child_process.ts";
import { hugeMappings } from "./platform_support.ts";
import { runWorker } from "./support.ts";
import { kernelTracks, refusedTrackerCases, writeTrackerCases } from "./write_tracker_cases.ts";

const workerFile = new URL("./children/memory_cases.ts", import.meta.url);

describe("trackWrites()", () => {
  test("lets the kernel note writes where it can", () => {
    using tracker = trackWrites(1);
    assert.equal(tracker.method, kernelTracks ? "userfaultfd" : "mprotect");
  });
  for (const [name, body] of Object.entries(refusedTrackerCases)) {
    test(name, name === "refuses more than there is room for" ? hugeMappings : {}, body);
  }
});

for (const method of ["userfaultfd", "mprotect"] as const) {
  const missing = method === "userfaultfd" && !kernelTracks;
  const skip = missing ? "this system has no asynchronous write protection" : false;
  describe(`trackWrites() by ${method}`, () => {
    for (const [name, body] of Object.entries(writeTrackerCases(method))) {
      test(name, { skip }, body);
      test(`${name}, in a Worker`, { skip }, () => runWorker(workerFile, name));
    }
  });
}

describe("trackWrites() by mprotect", () => {
  test("goes on when the process has no mappings left", async () => {
    const result = await childResult<Record<string, number>>("many_mappings");
    assert.deepEqual(result, { missing: 0, missingAgain: 0 });
  });
});
