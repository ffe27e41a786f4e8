/** `mapFile`: files in memory that others truncate. The cases are in mapped_file_cases.ts. */
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import { nativePath } from "../lib/native.ts";
import { childResult } from "./child_process.ts";
import { mappedFileCases } from "./mapped_file_cases.ts";
import { withFile } from "./memory_support.ts";
import { hugeMappings, notEmulated, type Skip } from "./platform_support.ts";
import { childPasses, runChild, runtimeName, runWorker } from "./support.ts";

const workerFile = new URL("./children/memory_cases.ts", import.meta.url);

function skipOf(name: string): Skip {
  return name === "refuses more than arrays or addresses there are"
    ? hugeMappings
    : { skip: false };
}

describe("mapFile()", () => {
  for (const [name, body] of Object.entries(mappedFileCases)) test(name, skipOf(name), body);
});

describe("mapFile() in a Worker", () => {
  for (const name of Object.keys(mappedFileCases)) {
    test(name, skipOf(name), () => runWorker(workerFile, name));
  }
});

describe("a mapped file", () => {
  test("ends with its Worker", () => childPasses("memory_cases", "ends with its Worker"));

  test("is given back when it is forgotten, but not while a view of it is left", async () => {
    const result = await childResult<Record<string, number | boolean>>("forgotten_memory");
    assert.deepEqual(result, { kept: 7, mapped: 4000, tracked: 4000, mappings: true });
  });

  const storm = notEmulated("a storm takes it longer than any limit");
  // Another program goes at its own pace: how much of it is seen is up to the scheduler.
  for (const [where, lostMin] of [["here", 1000], ["elsewhere", 1]] as const) {
    test(`survives a truncation storm from ${where}`, storm, async () => {
      const result = await childResult<Record<string, number>>("truncation_storm", [where], {
        timeoutMs: 240_000,
      });
      assert.equal(result["truncations"], 10_000);
      assert.equal(result["unreported"], 0);
      assert.equal(result["wrong"], 0);
      assert.ok(result["lostPages"]! >= lostMin, JSON.stringify(result));
      assert.ok(result["nativeRounds"]! > 100, JSON.stringify(result));
    });
  }

  const isDeno = runtimeName() === "deno";
  const skip = isDeno ? false : "Bun has no permissions";
  test("needs every native library to be allowed, and says so", { skip }, () => {
    withFile(100, 7, (path) => {
      const flags = [`--allow-ffi=${nativePath()}`, "--allow-read", "--allow-env"];
      const { stdout } = runChild("map_permission", [path], flags);
      assert.match(stdout, /^Cannot make an array .*run it with --allow-ffi, without a list/);
      const unreadable = runChild("map_permission", [path], ["--allow-ffi", "--allow-env"]);
      assert.match(unreadable.stdout, /--allow-read/);
    });
  });
});
