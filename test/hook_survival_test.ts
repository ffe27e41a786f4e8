/** Every register of the interrupted code is as it was when a hook has mended. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hooksPass, mending, openHooks, pages } from "./hooks_support.ts";
import { controls, lacking, levels, survive } from "./survival.ts";

for (const level of levels) {
  for (const control of controls) {
    const name = `all registers survive a hook that mends: ${level[0]}, ${control[0]}`;
    test(name, { skip: lacking(level) }, () => survive(level, control, 10));
  }
}

test("the words below the stack pointer survive a hook", () => {
  const address = pages(1);
  using hook = mending();
  assert.equal(openHooks().symbols.fh_red_zone(address), 16n);
  assert.equal(hook.hook.hits, 1);
});

for (const where of ["main", "worker"] as const) {
  test(`all registers survive with garbage collection in the hook, in ${where}`, () => {
    hooksPass("survives", where);
  });
}
