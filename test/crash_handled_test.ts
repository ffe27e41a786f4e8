/** What a guarded call or a hook takes makes no crash report; what ends the process makes one. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { freshDirectory, readReport, reportFiles } from "./crash_support.ts";
import { childDies } from "./support.ts";

/** By case: what ends the process. */
const ends = {
  unguarded: "a call that is not guarded",
  propagated: "a guarded call that catches nothing",
  diesByHook: "a hook that says so",
  passedByHooks: "an exception that all hooks pass on",
  mendsNothing: "an exception that a hook claims to have mended",
};

for (const [name, what] of Object.entries(ends)) {
  test(`installCrashReporter() reports nothing that is taken, and then ${what}`, () => {
    const directory = freshDirectory();
    childDies("SIGSEGV", "crash_handled", name, directory);
    assert.deepEqual(Object.keys(reportFiles(directory)).sort(), ["dmp", "json", "txt"]);
    const { exception, backtrace, stages } = readReport(directory);
    assert.deepEqual(
      [exception.signal, exception.code, exception.address],
      ["SIGSEGV", "SEGV_MAPERR", "0x18"],
    );
    assert.equal(backtrace[0]?.symbol, "fx_read");
    assert.deepEqual(stages, []);
  });
}
