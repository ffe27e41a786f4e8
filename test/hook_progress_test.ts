/** When an exception that hooks answer "handled" again and again is one that nobody mends. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addHook, addressOf, protect, writeMemory } from "../mod.ts";
import { page } from "./memory_support.ts";
import { manyRounds } from "./platform_support.ts";
import { exceptionOf } from "./support.ts";

test("addHook() is asked about one store thousands of times, if the program protects", () => {
  const bytes = new Uint8Array(3 * page);
  const address = (addressOf(bytes) + BigInt(page - 1)) & ~BigInt(page - 1);
  const range = { address, byteLength: page };
  const index = Number(address - addressOf(bytes)) + 8;
  using hook = addHook({ signals: ["SIGSEGV"], range }, {
    action: "protect",
    protection: "rw-",
  });
  const store = (into: Uint8Array): void => {
    into[index] = 1;
  };
  const rounds = manyRounds(5000);
  for (let round = 0; round < rounds; round++) {
    protect(range, "r--");
    store(bytes);
  }
  assert.equal(hook.hits, rounds);
});

test("addHook() finds out a hook that protects the wrong way", () => {
  const bytes = new Uint8Array(3 * page);
  const address = (addressOf(bytes) + BigInt(page - 1)) & ~BigInt(page - 1);
  const range = { address, byteLength: page };
  protect(range, "r--");
  using hook = addHook({ signals: ["SIGSEGV"], range }, () => {
    protect(range, "r--");
    return "handled";
  });
  const { info } = exceptionOf(() => writeMemory(address, Uint8Array.of(1)));
  protect(range, "rw-");
  assert.match(info.hooksSkipped ?? "", /./);
  assert.ok(hook.hits >= 1000 && hook.hits < 1010, String(hook.hits));
});
