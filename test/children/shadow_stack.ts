/** A thread whose kernel says that it has a shadow stack. */
import { strict as assert } from "node:assert";
import { dlopen, FaultlineError, install } from "../../mod.ts";
import { fixturePath, rawSymbols, runCase } from "../support.ts";

function refuses(): void {
  const raw = rawSymbols(fixturePath, { fx_claim_shadow_stack: { parameters: [], result: "i32" } });
  assert.equal(raw.fx_claim_shadow_stack!(), 0);
  const refused = (error: unknown): boolean => {
    assert.ok(error instanceof FaultlineError);
    assert.equal(error.code, "NOT_SUPPORTED");
    assert.match(error.message, /^Cannot prepare this thread .* shadow stack.*GLIBC_TUNABLES=/);
    return true;
  };
  assert.throws(() => install(), refused);
  assert.throws(() => dlopen(fixturePath, { fx_ud2: {} }), refused);
}

await runCase(import.meta.url, { refuses });
