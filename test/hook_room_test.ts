/** JavaScript hooks and the stack that is left for them. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addHook, dlopen } from "../mod.ts";
import { lengths } from "./fixture_code.ts";
import { exceptionOf, fixtureFile, runtimeName } from "./support.ts";

const { symbols } = dlopen(fixtureFile("hooks_fixture.so"), {
  fh_deep: { parameters: ["u64"], result: "i32" },
});

const kibibyte = 1024n;
/** Less than the engine uses of the stack, and more. */
const depths = runtimeName() === "bun"
  ? { shallow: 2000n * kibibyte, deep: 5500n * kibibyte }
  : { shallow: 400n * kibibyte, deep: 1500n * kibibyte };

test("a hook runs where the engine would run JavaScript", () => {
  using hook = addHook({ signals: ["SIGILL"] }, ({ registers }) => {
    registers.instructionPointer += lengths.illegal;
    return "handled";
  });
  assert.equal(symbols.fh_deep(depths.shallow), 7);
  assert.equal(hook.hits, 1);
});

test("a hook is passed over further down, where the engine would end the process", () => {
  using hook = addHook({ signals: ["SIGILL"] }, () => "handled");
  const { info } = exceptionOf(() => symbols.fh_deep(depths.deep));
  assert.equal(info.hooksSkipped, "the stack had no room left for a hook");
  assert.equal(info.type, "illegal-instruction");
  assert.equal(hook.hits, 0);
});
