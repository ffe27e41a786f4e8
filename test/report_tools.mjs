/**
 * Compiles the readers of minidumps that no package registry has as programs, into `.build/tools`.
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
const stackwalk = { name: "minidump-stackwalk", version: "0.27.0" };

await main(async () => {
  const { name, version } = stackwalk;
  if (existsSync(join(folder, "bin", name))) return 0;
  console.log(`Compiling ${name} ${version} (into .build/tools)`);
  const command = ["cargo", "install", "--locked", "--root", folder, "--version", version, name];
  const result = await run(command, { cwd: root, timeoutMs });
  if (!result.ok) {
    throw new SetupError(
      `Cannot compile ${name} as "${command.join(" ")}" failed (${result.reason}): install Rust, ` +
        "check the network, and run it by hand",
    );
  }
  return 0;
});
