/**
 * Faultline over a long time: a million faults, thousands of libraries opened and closed. Nothing
 * may grow. Each runs in a child, whose numbers are its own.
 */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";

import { assertNoGrowth, type Bounds, childResult, type Growth } from "./child_process.ts";
import { runtimeName } from "./support.ts";

describe("a guarded call", () => {
  test("H41 leaks nothing over a million faults", async () => {
    assertNoGrowth(await childResult<Growth>("million", ["1000000"], { timeoutMs: 120_000 }));
  });
});

interface OpenClose extends Growth {
  readonly slotsBefore: number;
  readonly slotsAfter: number;
}

// Deno's own dlopen() keeps 4 KiB a time, and V8 what its heap once had. The heap in use tells.
const bounds: Bounds = runtimeName() === "deno" ? { residentMibMax: 128, mapsMax: 400 } : {};

describe("dlopen()", () => {
  test("leaks nothing over 5,000 libraries that are closed", async () => {
    const result = await childResult<OpenClose>("open_close", ["5000"], { timeoutMs: 120_000 });
    assert.equal(result.slotsBefore, 0);
    assert.equal(result.slotsAfter, 0);
    assertNoGrowth(result, bounds);
  });

  test("gets the slots of 6,000 libraries back that are collected without close()", async () => {
    const result = await childResult<Record<string, number | boolean>>("collected", ["60"]);
    assert.equal(result.freed, true, JSON.stringify(result));
    assert.equal(result.end, result.start, JSON.stringify(result));
  });
});
