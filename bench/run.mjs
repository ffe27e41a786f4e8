/**
 * Runs the benchmarks under both runtimes, one at a time.
 *
 *     node bench/run.mjs
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { run } from "../test/driver/process.mjs";
import {
  bun,
  deno,
  ensureNode,
  main,
  root,
  runtimeEnvironment,
  SetupError,
} from "../test/setup.mjs";

const timeoutMs = 300_000;
const fixture = join(runtimeEnvironment.FAULTLINE_BUILD, "fixture", "fixture.so");

await main(async () => {
  await ensureNode();
  if (!existsSync(fixture)) {
    throw new SetupError('Cannot run the benchmarks before "npm test" has built the fixture');
  }
  let failed = 0;
  const files = [
    "call_cost",
    "fault_cost",
    "hook_cost",
    "memory",
    "track_cost",
    "crash_cost",
    "import_cost",
  ];
  for (const name of files) {
    const file = `${name}.ts`;
    const path = join(root, "bench", file);
    for (const command of [[bun(), "run", path], [deno(), "run", "--allow-all", path]]) {
      const options = { cwd: root, env: runtimeEnvironment, timeoutMs, inherit: true };
      const result = await run(command, options);
      if (!result.ok) failed += 1;
    }
  }
  return failed === 0 ? 0 : 1;
});
