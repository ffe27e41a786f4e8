/**
 * Runs around `npm pack` and `npm publish`: makes the JavaScript that one runtime needs, because it
 * refuses TypeScript in node_modules, and the declarations. `--clean` removes both again.
 *
 * JavaScript lies next to the TypeScript; the main module is also bundled into one file, which that
 * runtime imports three to four times as fast. Declarations lie in a folder of their own: the
 * compiler prefers `a.ts` to `a.d.ts`, and would check our sources by the options of its user.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { run } from "./driver/process.mjs";
import { buildFolder, bun, ensureNode, main, root, SetupError, tsc } from "./setup.mjs";

const typesFolder = join(root, "types");

/** Files below `folder` whose names end in `suffix`. */
function filesBelow(folder, suffix) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(suffix))
    .map((name) => join(folder, name));
}

function clean() {
  rmSync(typesFolder, { recursive: true, force: true });
  for (const file of [join(root, "mod.js"), ...filesBelow(join(root, "lib"), ".js")]) {
    rmSync(file, { force: true });
  }
}

/** Compiles mod.ts and lib/ in place. */
async function compile() {
  mkdirSync(buildFolder, { recursive: true });
  const project = join(buildFolder, "tsconfig_package.json");
  const options = {
    noEmit: false,
    rootDir: root,
    outDir: root,
    declarationDir: typesFolder,
    rewriteRelativeImportExtensions: true,
  };
  writeFileSync(
    project,
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions: options,
      include: [join(root, "mod.ts"), join(root, "lib", "**", "*.ts")],
      exclude: [],
    }),
  );
  const result = await run([...tsc(), "--project", project], { cwd: root });
  if (!result.ok) {
    throw new SetupError(`Cannot compile the package (${result.reason}):\n${result.stdout}`);
  }
}

/** A bundler that knows no native libraries would refuse the literals, and has no use for them. */
function dropLiterals() {
  writeFileSync(
    join(root, "lib", "bundled_library.js"),
    "/** Bundles with native libraries are made from the TypeScript form of this file. */\n" +
      "export function bundledLibrary() {\n  return null;\n}\n",
  );
}

/** Makes mod.js out of one file. It lies in lib/, since a module finds libraries next to itself. */
async function bundle() {
  const file = join(root, "lib", "bundle.js");
  const command = [bun(), "build", join(root, "mod.js"), "--target=node", "--outfile", file];
  const result = await run(command, { cwd: root });
  if (!result.ok) {
    throw new SetupError(`Cannot bundle the package (${result.reason}):\n${result.stderr}`);
  }
  writeFileSync(join(root, "mod.js"), 'export * from "./lib/bundle.js";\n');
}

await main(async () => {
  clean();
  if (process.argv[2] === "--clean") return 0;
  await ensureNode();
  await compile();
  dropLiterals();
  await bundle();
  return 0;
});
