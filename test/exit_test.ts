/** Both ways out of the handler: back through the kernel (1), and by a jump (2). */
import { test } from "node:test";
import { strict as assert } from "node:assert";
import { native } from "../lib/native.ts";
import { callsPass } from "./calls_support.ts";

/** Why an exit cannot be tried here; false if it can. */
function refused(mode: number): string | false {
  const setExit = native().functions.fl_set_exit!;
  const status = setExit(mode) as number;
  assert.equal(setExit(0), 0);
  return status === 0 ? false : "protection keys need the kernel's way out";
}

for (const [mode, what] of [[1, "sigreturn"], [2, "jump"]] as const) {
  const skip = refused(mode);
  for (const name of ["kinds", "state", "mask", "faults", "workers", "collection", "callbacks"]) {
    test(`the exit by ${what} passes: ${name}`, { skip }, () => {
      callsPass("exits", name, "main", String(mode));
    });
  }
  test(`the exit by ${what} passes on pool threads`, { skip }, () => {
    callsPass("exits", "pool", "main", String(mode));
  });
}

test("fl_set_exit() refuses other numbers", () => {
  for (const mode of [3, 4, 255]) {
    assert.notEqual(native().functions.fl_set_exit!(mode), 0, String(mode));
  }
});
