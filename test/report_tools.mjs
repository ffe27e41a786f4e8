/**
 * Compiles the readers of minidumps that no package registry has as programs, into `.build/tools`,
 * and another writer of minidumps (test/other_writer) to compare ours with.
 * It takes minutes, needs Rust, and is for platform runs: the tests skip what is missing.
 *
 *     node test/report_tools.mjs
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { run } from "./driver/process.mjs";
import { buildFolder, main, root, SetupError } from "./setup.mjs";

const timeoutMs = 3_600_000;
const folder = join(buildFolder, "tools");
const programs = {
  "minidump-stackwalk": ["--version", "0.27.0", "minidump-stackwalk"],
  other_writer: ["--target-dir", join(folder, "target"), "--path", "test/other_writer"],
};

async function compile(name, what) {
  if (existsSync(join(folder, "bin", name))) return;
  console.log(`Compiling ${name} (into .build/tools)`);
  const command = ["cargo", "install", "--locked", "--root", folder, ...what];
  const result = await run(command, { cwd: root, timeoutMs });
  if (!result.ok) {
    throw new SetupError(
      `Cannot compile ${name} as "${command.join(" ")}" failed (${result.reason}): install Rust, ` +
        "check the network, and run it by hand",
    );
  }
}

await main(async () => {
  for (const [name, what] of Object.entries(programs)) await compile(name, what);
  return 0;
});
