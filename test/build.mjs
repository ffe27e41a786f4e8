/**
 * `npm run build`: builds the native libraries, copies them to lib/native, and writes lib/abi.ts.
 *
 * All of these are committed: users have no Zig, and `npm test` proves that the committed files are
 * what the sources build to.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { buildLibraries, printAbi, updateNative } from "./driver/build.mjs";
import { ensureZig, main, root, SetupError } from "./setup.mjs";

await main(async () => {
  await ensureZig();
  const built = await buildLibraries();
  if (!built.ok) {
    throw new SetupError(`Cannot build the libraries (${built.reason}):\n${built.stderr}`);
  }
  const abi = await printAbi();
  if (!abi.ok) throw new SetupError(`Cannot write lib/abi.ts (${abi.reason}):\n${abi.stderr}`);
  writeFileSync(join(root, "lib", "abi.ts"), abi.stdout);
  for (const file of updateNative()) console.log(`lib/native/${file}`);
  console.log("lib/abi.ts");
  return 0;
});
