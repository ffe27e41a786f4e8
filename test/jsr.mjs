/**
 * `npm run jsr`: makes the package for JSR in `.build/jsr`, to be published from there with
 * `deno publish`.
 *
 * Modules from JSR are no files, so the native libraries travel inside JSON modules.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";

import { platformFiles } from "./driver/build.mjs";
import { buildFolder, main, root } from "./setup.mjs";

const folder = join(buildFolder, "jsr");
const nativeFolder = join(root, "lib", "native");
const files = ["mod.ts", "lib", "docs", "README.md", "CHANGELOG.md", "LICENSE"];

/** Writes one JSON module for each platform; gives the platforms. */
function writeLibraries() {
  mkdirSync(join(folder, "lib", "embedded"));
  const platforms = readdirSync(nativeFolder).sort();
  for (const platform of platforms) {
    const paths = platformFiles(nativeFolder).filter((path) => path.startsWith(`${platform}/`));
    const texts = paths.map((path) => [
      basename(path),
      gzipSync(readFileSync(join(nativeFolder, path)), { level: 9 }).toString("base64"),
    ]);
    writeFileSync(
      join(folder, "lib", "embedded", `${platform}.json`),
      `${JSON.stringify(Object.fromEntries(texts))}\n`,
    );
  }
  return platforms;
}

/** Lets lib/embedded.ts import what was written. */
function writeEmbedded(platforms) {
  const path = join(folder, "lib", "embedded.ts");
  const name = (platform) => platform.replaceAll(/-(\w)/g, (_, letter) => letter.toUpperCase());
  const imports = platforms.map((platform) =>
    `import ${name(platform)} from "./embedded/${platform}.json" with { type: "json" };\n`
  );
  const entries = platforms.map((platform) => `  "${platform}": ${name(platform)},\n`);
  const empty = "export const embedded: Readonly<Record<string, EmbeddedLibraries>> = {};";
  const source = readFileSync(path, "utf8");
  if (!source.includes(empty)) throw new Error("lib/embedded.ts has no empty list to fill");
  const filled = empty.replace("{};", `{\n${entries.join("")}};`);
  const [, doc, rest] = /^(\/\*\*[\s\S]*?\*\/\n)([\s\S]*)$/.exec(source);
  writeFileSync(path, `${doc}${imports.join("")}${rest.replace(empty, filled)}`);
}

/** There is no node_modules there. */
function writeConfiguration() {
  const { nodeModulesDir: _, ...rest } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8"));
  writeFileSync(join(folder, "deno.json"), `${JSON.stringify(rest, null, 2)}\n`);
}

/** What a bundler may put into a program is fetched at each import from a server, and not used. */
function dropLiterals() {
  const path = join(folder, "lib", "bundled_library.ts");
  const source = readFileSync(path, "utf8");
  const body = /\{\n {2}try \{[\s\S]*\n\}\n$/;
  if (!body.test(source)) throw new Error("lib/bundled_library.ts has no literals to drop");
  writeFileSync(
    path,
    source.replace(/\(name: /, "(_name: ").replace(body, "{\n  return null;\n}\n"),
  );
}

await main(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of files) {
    cpSync(join(root, file), join(folder, file), {
      recursive: true,
      filter: (path) => !path.endsWith(".js"),
    });
  }
  writeEmbedded(writeLibraries());
  dropLiterals();
  writeConfiguration();
  console.log(folder);
  return 0;
});
