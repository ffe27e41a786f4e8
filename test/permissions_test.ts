/** What Deno's permissions have to be, and what is said when they are not. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { nativePath } from "../lib/native.ts";
import { type ChildResult, fixturePath, runChild, runtimeName } from "./support.ts";

const options = { skip: runtimeName() === "bun" ? "Bun has no permissions" : false } as const;

/** Runs the child with these permissions and nothing else. */
function run(...flags: string[]): ChildResult {
  return runChild("permissions", [fixturePath], flags);
}

test("dlopen() works with --allow-ffi for the two libraries, and --allow-read", options, () => {
  const result = run(`--allow-ffi=${nativePath()},${fixturePath}`, "--allow-read");
  assert.deepEqual(result, { status: 0, signal: null, stdout: "passed\n", stderr: "" });
});

test("dlopen() names the flag that is missing for the native library", options, () => {
  for (const flags of [[], [`--allow-ffi=${fixturePath}`]]) {
    const { status, stderr } = run(...flags, "--allow-read");
    assert.equal(status, 1);
    const flag = `run it with --allow-ffi=${nativePath()}`;
    assert.ok(stderr.includes(flag), stderr);
    assert.match(stderr, /Cannot open .* as this program may not use native libraries/);
  }
});

test("dlopen() names the flag that is missing for the user's library", options, () => {
  const { status, stderr } = run(`--allow-ffi=${nativePath()}`, "--allow-read");
  assert.equal(status, 1);
  assert.ok(stderr.includes(`run it with --allow-ffi=${fixturePath}`), stderr);
});

test("dlopen() takes both libraries' folders in --allow-ffi", options, () => {
  const folder = (path: string): string => path.slice(0, path.lastIndexOf("/"));
  const folders = `${folder(nativePath()!)},${folder(fixturePath)}`;
  assert.equal(run(`--allow-ffi=${folders}`, "--allow-read").stdout, "passed\n");
});
