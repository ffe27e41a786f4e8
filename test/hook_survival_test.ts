/** Every register of the interrupted code is as it was when a hook has mended. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dlopen } from "../mod.ts";
import { hooksPass, hooksPath, mending, pages } from "./hooks_support.ts";
import { x64Only } from "./platform_support.ts";
import { controls, levels, survive } from "./survival.ts";

for (const level of levels) {
  for (const control of controls) {
    const name = `all registers survive a hook that mends: ${level.name}, ${control.name}`;
    test(name, { skip: level.lacking() }, () => survive(level, control, 10));
  }
}

test("the words below the stack pointer survive a hook", x64Only("they are the function's"), () => {
  const address = pages(1);
  using hook = mending();
  const { symbols } = dlopen(hooksPath, {
    fh_red_zone: { parameters: ["address"], result: "u64" },
  });
  assert.equal(symbols.fh_red_zone(address), 16n);
  assert.equal(hook.hook.hits, 1);
});

for (const where of ["main", "worker"] as const) {
  test(`all registers survive with garbage collection in the hook, in ${where}`, () => {
    hooksPass("survives", where);
  });
}
