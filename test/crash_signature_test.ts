/** A fault has one signature, whoever reports it, and the same one elsewhere. */
import { strict as assert } from "node:assert";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { signatureOf } from "../lib/signature.ts";
import type { StackFrame } from "../mod.ts";
import { crashLibrary, freshDirectory, readReport } from "./crash_support.ts";
import { muslHasNoUnwindTables, notOnMusl } from "./musl_support.ts";
import { either, needsDivision, needsHelpers } from "./platform_support.ts";
import { childDies, runChild } from "./support.ts";

/** What the function dies of, and the type of the exception with the innermost functions. */
const faults = {
  cf_segv: ["SIGSEGV", "access-violation crash_fixture.so!read_word crash_fixture.so!cf_segv"],
  cf_bus: ["SIGBUS", "bus-error crash_fixture.so!cf_bus"],
  cf_fpe: ["SIGFPE", "arithmetic crash_fixture.so!cf_fpe"],
  cf_ill: ["SIGILL", "illegal-instruction crash_fixture.so!cf_ill"],
  cf_trap: ["SIGTRAP", "breakpoint crash_fixture.so!cf_trap"],
} as const;

function caught(library: string, name: string): string {
  const { status, stdout, stderr } = runChild("crash_signature", ["caught", "main", library, name]);
  assert.equal(status, 0, stderr);
  return stdout.split("\n")[0]!;
}

function fatal(how: "guarded" | "raw", signal: string, library: string, name: string): string {
  const directory = freshDirectory();
  childDies(signal, "crash_signature", how, "main", library, name, directory);
  return readReport(directory).signature;
}

for (const [name, [signal, expected]] of Object.entries(faults)) {
  const skip = name === "cf_fpe" ? needsDivision : name === "cf_segv" ? needsHelpers : {};
  test(`the signature of ${name} is that of the fault, caught or not`, skip, () => {
    assert.equal(caught(crashLibrary, name), expected);
    assert.equal(fatal("guarded", signal, crashLibrary, name), expected);
    assert.equal(fatal("raw", signal, crashLibrary, name), expected);
  });
}

const knowsCallers = either(needsHelpers, notOnMusl(muslHasNoUnwindTables));
test("the signature of abort() is the same, caught or not", knowsCallers, () => {
  // Which functions of the C library are in it is the library's own.
  const signature = caught(crashLibrary, "cf_abort");
  assert.match(signature, /^abort libc\.so\.6!\S+ .* crash_fixture\.so!cf_abort$/);
  assert.equal(fatal("guarded", "SIGABRT", crashLibrary, "cf_abort"), signature);
  assert.equal(fatal("raw", "SIGABRT", crashLibrary, "cf_abort"), signature);
});

test(
  "the signature holds no address and no folder: it is the same from elsewhere",
  needsHelpers,
  () => {
    const copy = join(freshDirectory(), "crash_fixture.so");
    copyFileSync(crashLibrary, copy);
    const signatures = [1, 2, 3].map(() => fatal("raw", "SIGSEGV", copy, "cf_segv"));
    assert.deepEqual(new Set(signatures), new Set([faults.cf_segv[1]]));
  },
);

test("signatureOf() ends where frames are guessed", () => {
  const frame = (symbol: string, trust: StackFrame["trust"], offset: bigint): StackFrame => ({
    ...{ address: 0x7000_0000_1000n + offset, module: "/opt/a/libz.so.1 (deleted)", offset },
    ...{ symbol, file: null, line: null, column: null, inlined: false, trust },
  });
  const frames = [frame("inflate", "context", 1n), frame("read", "cfi", 2n)];
  const guessed = [frame("noise", "scan", 3n), frame("main", "cfi", 4n)];
  const signature = "access-violation libz.so.1!inflate libz.so.1!read";
  assert.equal(signatureOf("access-violation", [...frames, ...guessed]), signature);
  // The innermost function is told, however it was found.
  assert.equal(signatureOf("abort", guessed), "abort libz.so.1!noise libz.so.1!main");
});
