/**
 * `npm run demo`: the demonstration, under Bun and then under Deno.
 *
 * It needs no Zig: the prebuilt library in lib/native is what it shows.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import { run } from "./driver/process.mjs";
import { bun, deno, ensureNode, main, root, runtimeEnvironment, SetupError } from "./setup.mjs";

const timeoutMs = 60_000;

await main(async () => {
  const script = join(root, "lib", "cli", "main.ts");
  if (!existsSync(script)) {
    throw new SetupError("Cannot run the demo as lib/cli/main.ts is missing");
  }
  await ensureNode();
  // The first of these permissions loads the library, the second lets Deno read it.
  const permissions = ["--no-prompt", "--no-remote", "--allow-ffi", "--allow-read"];
  const commands = [
    ["Bun", [bun(), "run", script, "demo"]],
    ["Deno", [deno(), "run", ...permissions, script, "demo"]],
  ];
  // On a terminal the demo may use colours, unlike a test.
  const { NO_COLOR: noColor, ...environment } = runtimeEnvironment;
  const env = process.stdout.isTTY ? environment : { ...environment, NO_COLOR: noColor };
  let failed = 0;
  for (const [name, command] of commands) {
    console.log(`\n== Faultline under ${name} ==\n`);
    const result = await run(command, { cwd: root, env, timeoutMs, inherit: true });
    if (result.ok) continue;
    failed += 1;
    console.error(`\nThe demo failed under ${name}: ${result.reason}`);
  }
  return failed === 0 ? 0 : 1;
});
