/**
 * Packs the package as a publisher does, and uses it as its users do: from empty folders, under
 * both runtimes, through every way that a program can be made of it.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

import { root, runtimeEnvironment } from "../setup.mjs";
import { nativeFolder, platformFiles } from "./build.mjs";
import { serveFiles, serveRegistry } from "./loopback.mjs";
import {
  commonProgram,
  memoryProgram,
  program,
  typedProgram,
  workerProgram,
} from "./package_programs.mjs";
import { run } from "./process.mjs";

const timeoutMs = 120_000;
const caught = "caught SEGV_MAPERR\n";
const alsoInWorker = `${caught}in a Worker: ${caught.trim()}, copies: 1\n`;
const packageFiles = [
  ["mod.ts", "lib", "docs", "test", "package.json", "deno.json", "tsconfig.json", ".npmrc"],
  ["README.md", "CHANGELOG.md", "LICENSE"],
].flat();

/** What all of this shares. */
class Bench {
  constructor(report, tools) {
    this.report = report;
    this.tools = tools;
    this.folder = mkdtempSync(join(tmpdir(), "faultline-package-"));
  }

  /** A new empty folder. */
  empty(name) {
    const path = join(this.folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  run(command, { cwd = this.folder, env = {} } = {}) {
    // Caches of its own: what the developer has downloaded must not help.
    const denoFolder = join(this.folder, "deno");
    return run(command, {
      cwd,
      env: { ...runtimeEnvironment, DENO_DIR: denoFolder, ...env },
      timeoutMs,
    });
  }

  /** Runs a command as one test: exit code 0, and this output if one is given. */
  async check(name, command, options = {}) {
    const result = await this.run(command, options);
    const { prints } = options;
    if (!result.ok || prints === undefined || result.stdout === prints) {
      this.report.outcome(name, result);
    } else {
      const wanted = `It printed something else than\n${prints}`;
      this.report.fail(name, `${wanted}\n${result.stdout}\n${result.stderr}`);
    }
    return result;
  }

  /** One test without a program. */
  that(name, holds, otherwise) {
    if (holds) this.report.pass();
    else this.report.fail(name, otherwise);
  }
}

function kibibytes(byteLength) {
  return `${(byteLength / 1024).toFixed(1)} KiB`;
}

/** A copy of what is packed: a pack makes files next to the sources, which others would see. */
function copySources(bench) {
  const source = bench.empty("source");
  for (const name of packageFiles) {
    cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(source, "node_modules"));
  return source;
}

/** What may be in the tarball. */
const wanted = [
  /^(?:mod|lib\/[\w/]+)\.(?:ts|js)$/,
  /^lib\/native\/[\w-]+\/\w+\.so$/,
  /^types\/[\w/]+\.d\.ts$/,
  /^docs\/\w+\.md$/,
  /^(?:package\.json|LICENSE|README\.md|CHANGELOG\.md)$/,
];

/** Makes the tarball; gives its path, or null. */
async function pack(bench, source) {
  const options = { cwd: source };
  const { ok, stdout } = await bench.check("npm pack", ["npm", "pack", "--json"], options);
  if (!ok) return null;
  const [{ filename, files, size, unpackedSize }] = JSON.parse(stdout.slice(stdout.indexOf("[")));
  console.log(`${filename}: ${kibibytes(size)}, unpacked ${kibibytes(unpackedSize)}`);
  for (const path of platformFiles(nativeFolder)) {
    console.log(`  lib/native/${path}: ${kibibytes(statSync(join(nativeFolder, path)).size)}`);
  }
  const paths = files.map(({ path }) => path);
  const foreign = paths.filter((path) => !wanted.some((pattern) => pattern.test(path)));
  bench.that("the tarball holds the package only", foreign.length === 0, foreign.join("\n"));
  const lacking = paths.filter((path) => /(?<!\.d)\.ts$/.test(path))
    .flatMap((path) => [path.replace(/ts$/, "js"), `types/${path.replace(/ts$/, "d.ts")}`])
    .filter((path) => !paths.includes(path));
  bench.that(
    "every module is there as JavaScript, with types",
    lacking.length === 0,
    lacking.join(),
  );
  const left = ["mod.js", "types", "lib/native.js"].filter((path) =>
    existsSync(join(source, path))
  );
  bench.that("npm pack leaves nothing behind", left.length === 0, left.join("\n"));
  return join(source, filename);
}

/** The executable of a development dependency, to be run by Node. */
function tool(name) {
  const folder = join(root, "node_modules", name);
  const { bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return [process.execPath, join(folder, typeof bin === "string" ? bin : Object.values(bin)[0])];
}

async function lintTarball(bench, tarball) {
  await bench.check("publint", [...tool("publint"), "run", "--strict", tarball]);
  const attw = [...tool("@arethetypeswrong/cli"), tarball, "--profile", "esm-only"];
  await bench.check("attw", [...attw, "--no-color", "--no-emoji"]);
}

/** An empty folder with nothing but the package, installed by `command`; null if that failed. */
async function install(bench, name, command, env = {}) {
  const cwd = bench.empty(name);
  writeFileSync(join(cwd, "package.json"), '{ "type": "module" }\n');
  const { ok } = await bench.check(`${name} into an empty folder`, command, { cwd, env });
  return ok ? cwd : null;
}

const denoRun = (tools, ...args) => [tools.deno, "run", "--no-prompt", "--no-check", ...args];

async function useInstalled(bench, name, cwd) {
  const { tools } = bench;
  writeFileSync(join(cwd, "program.ts"), program("faultline"));
  writeFileSync(join(cwd, "common.cjs"), commonProgram);
  writeFileSync(join(cwd, "npm.ts"), program("npm:faultline"));
  const native = join(cwd, "node_modules", "faultline", "lib", "native");
  const libc = "/lib/x86_64-linux-gnu/libc.so.6";
  const narrow = [`--allow-ffi=${native}`, "--allow-read"];
  const options = { cwd, prints: caught };
  const check = (what, command) => bench.check(`${name}: ${what}`, command, options);
  await check("import under Bun", [tools.bun, "run", "program.ts"]);
  await check("require under Bun", [tools.bun, "run", "common.cjs"]);
  await check("import under Deno", denoRun(tools, "--allow-ffi", "--allow-read", "program.ts"));
  await check("require under Deno", denoRun(tools, "--allow-all", "common.cjs"));
  await check("npm: from node_modules", denoRun(tools, "--allow-all", "npm.ts"));
  if (existsSync(libc)) {
    const text = program("faultline").replaceAll('"libc.so.6"', JSON.stringify(libc))
      .replace("libc\\.so\\.6", ".*libc\\.so\\.6");
    writeFileSync(join(cwd, "narrow.ts"), text);
    narrow[0] += `,${libc}`;
    await check("Deno with two paths allowed", denoRun(tools, ...narrow, "narrow.ts"));
  } else {
    bench.report.skip(`${name}: Deno with two paths allowed`, `there is no ${libc}`);
  }
}

/** The command: by its link in node_modules/.bin, and by the runtime. */
async function useCommand(bench, cwd) {
  const { tools } = bench;
  const env = { PATH: `${dirname(tools.bun)}:${process.env.PATH}` };
  const main = join("node_modules", "faultline", "lib", "cli", "main.js");
  const commands = {
    "the link in .bin": [join(cwd, "node_modules", ".bin", "faultline")],
    "bun x": [tools.bun, "x", "--no-install", "faultline"],
    "Deno": denoRun(tools, "--allow-all", main),
  };
  for (const [name, command] of Object.entries(commands)) {
    const title = `faultline doctor by ${name}`;
    const result = await bench.run([...command, "doctor", "--json"], { cwd, env });
    const found = result.ok ? JSON.parse(result.stdout) : null;
    const right = found?.problems.length === 0 && found.selfTest.every(({ passed }) => passed) &&
      found.library.path.startsWith(join(cwd, "node_modules")) &&
      found.library.origin === "package";
    bench.that(title, right, `${result.reason}\n${result.stdout}\n${result.stderr}`);
  }
  await bench.check("faultline demo of the package", [...commands.Deno, "demo"], { cwd });
}

async function checkTypes(bench, cwd) {
  const { tools } = bench;
  writeFileSync(join(cwd, "typed.ts"), typedProgram);
  const common = { target: "esnext", lib: ["esnext", "dom"], types: [], strict: true };
  for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
    const file = `tsconfig.${moduleResolution}.json`;
    const compilerOptions = { ...common, module, moduleResolution, noEmit: true };
    compilerOptions.skipLibCheck = false;
    compilerOptions.exactOptionalPropertyTypes = true;
    writeFileSync(join(cwd, file), JSON.stringify({ compilerOptions, files: ["typed.ts"] }));
    await bench.check(`tsc, ${moduleResolution}`, [...tools.tsc, "--project", file], { cwd });
  }
  await bench.check("deno check of the package", [tools.deno, "check", "typed.ts"], { cwd });
}

/** `npm:faultline` where nothing is installed, from a registry of our own. */
async function useRegistry(bench, manifest, tarball) {
  const { tools } = bench;
  const registry = await serveRegistry(manifest, tarball);
  const cwd = bench.empty("registry");
  const env = { NPM_CONFIG_REGISTRY: registry.origin };
  writeFileSync(join(cwd, "program.ts"), program("npm:faultline@^0.1.0"));
  try {
    const options = { cwd, env, prints: caught };
    await bench.check("npm: from a registry", denoRun(tools, "--allow-all", "program.ts"), options);
    const version = denoRun(tools, "--allow-all", "npm:faultline", "--version");
    const prints = `${manifest.version}\n`;
    await bench.check("deno run npm:faultline", version, { cwd, env, prints });
    const asked = registry.requested.some((path) => path.endsWith(".tgz"));
    bench.that("the registry was asked", asked, registry.requested.join("\n"));
  } finally {
    await registry.stop();
  }
}

/** Makes one program of the package, and runs it where the package is not. */
async function useCompiled(bench, cwd) {
  const { tools } = bench;
  const elsewhere = bench.empty("elsewhere");
  writeFileSync(join(cwd, "workers.ts"), workerProgram("faultline"));
  const compile = [tools.bun, "build", "--compile"];
  const variants = { plain: [], "minified, as bytecode": ["--minify", "--bytecode"] };
  const source = { plain: "workers.ts", "minified, as bytecode": "program.ts" };
  const made = [];
  for (const [name, flags] of Object.entries(variants)) {
    const file = join(elsewhere, `program${made.length}`);
    const command = [...compile, ...flags, source[name], "--outfile", file];
    const { ok } = await bench.check(`bun build --compile, ${name}`, command, { cwd });
    if (ok) made.push([`compiled, ${name}`, [file], name === "plain" ? alsoInWorker : caught]);
  }
  const bundle = [tools.bun, "build", "--target=bun", "workers.ts", "--outdir", elsewhere];
  const { ok } = await bench.check("bun build", bundle, { cwd });
  if (ok) made.push(["bundle under Bun", [tools.bun, join(elsewhere, "workers.js")], alsoInWorker]);
  const denoBundle = [tools.deno, "bundle", "program.ts", "--output", join(elsewhere, "deno.js")];
  const bundled = await bench.check("deno bundle", denoBundle, { cwd });
  // A path that was written into the program must not find the package.
  renameSync(join(cwd, "node_modules"), join(cwd, "moved"));
  for (const [name, command, prints] of made) {
    await bench.check(name, command, { cwd: bench.empty("nowhere"), prints });
    const env = { TMPDIR: join(elsewhere, "missing") };
    await bench.check(`${name}, without a folder for temporary files`, command, { env, prints });
  }
  renameSync(join(cwd, "moved"), join(cwd, "node_modules"));
  if (!bundled.ok) return;
  const library = join(cwd, "node_modules/faultline/lib/native/linux-x64/faultline.so");
  const command = denoRun(tools, "--allow-all", join(elsewhere, "deno.js"));
  const lost = await bench.run(command);
  const says = /having tried\n {2}\S+faultline\.so \(file of the package\): .*No such file/;
  const named = lost.stderr.includes("FAULTLINE_LIBRARY") && says.test(lost.stderr);
  bench.that("bundle under Deno says what it lacks", !lost.ok && named, lost.stderr);
  const env = { FAULTLINE_LIBRARY: library };
  await bench.check("bundle under Deno, told by FAULTLINE_LIBRARY", command, {
    env,
    prints: caught,
  });
}

/** `deno compile`: the half that needs no download. */
async function useDenoCompile(bench, cwd) {
  const { tools } = bench;
  const file = join(bench.empty("deno_compile"), "program");
  // The real base is downloaded; any executable will do to see what is put behind it.
  const env = { DENORT_BIN: tools.deno };
  const compile = [tools.deno, "compile", "--no-check", "--allow-all", "--output", file];
  const { ok } = await bench.check("deno compile", [...compile, "program.ts"], { cwd, env });
  if (ok) {
    const content = readFileSync(file);
    const libraries = platformFiles(nativeFolder).filter((path) => path.startsWith("linux-x64/"));
    const missing = libraries.filter((path) => {
      return content.indexOf(readFileSync(join(nativeFolder, path))) < 0;
    });
    bench.that("deno compile embeds the libraries", missing.length === 0, missing.join("\n"));
  }
  bench.report.skip(
    "run of a program made by deno compile",
    "the runtime that it is made of is no package of npm",
  );
}

async function checkPublish(bench, source) {
  const { tools } = bench;
  const publish = [tools.deno, "publish", "--dry-run", "--allow-dirty"];
  const result = await bench.check("deno publish of the repository", publish, { cwd: source });
  const said = `${result.stdout}\n${result.stderr}`;
  bench.that(
    "deno publish warns of nothing",
    !/warning|slow type/i.test(
      said.replace("Checking for slow types in the public API...", ""),
    ),
    said,
  );
  const made = await bench.check("npm run jsr", [process.execPath, "test/jsr.mjs"], {
    cwd: source,
  });
  if (!made.ok) return null;
  const folder = join(source, ".build", "jsr");
  await bench.check("deno publish of the package for JSR", publish, { cwd: folder });
  return folder;
}

/** Modules from an origin, as JSR's are: no file, so no library next to them. */
async function useOrigin(bench, folder) {
  const { tools } = bench;
  const server = await serveFiles(folder);
  const cwd = bench.empty("origin");
  const specifier = `${server.origin}/mod.ts`;
  writeFileSync(join(cwd, "program.ts"), program(specifier));
  writeFileSync(join(cwd, "workers.ts"), workerProgram(specifier));
  const allowed = ["--allow-ffi", `--allow-import=${new URL(specifier).host}`];
  const options = { cwd, prints: caught };
  try {
    await bench.check("modules from an origin", denoRun(tools, ...allowed, "program.ts"), options);
  } finally {
    await server.stop();
  }
  const files = server.requested.filter((path) => path.endsWith(".so"));
  bench.that("an origin is asked for no library", files.length === 0, files.join("\n"));
  const cached = (...args) => denoRun(tools, "--cached-only", ...args);
  const workers = { cwd, prints: alsoInWorker };
  await bench.check("the same with Workers", cached("--allow-all", "workers.ts"), workers);
  const readOnly = cached(...allowed, "program.ts").map((word) => `'${word}'`).join(" ");
  const probe = "mount -o remount,bind,ro / && ! touch ./probe 2>/dev/null";
  const namespace = ["unshare", "--mount", "sh", "-c"];
  if ((await bench.run([...namespace, probe], { cwd })).ok) {
    const script = `${probe} && exec ${readOnly}`;
    await bench.check("a read-only file system", [...namespace, script], options);
  } else {
    bench.report.skip("a read-only file system", "this process may not make one (unshare, mount)");
  }
  await useTemporaryFile(bench, cached, specifier);
}

/** Where the C library may not be opened, no file in memory can be made. */
async function useTemporaryFile(bench, command, specifier) {
  const cwd = bench.empty("without_libc");
  const folder = join(cwd, "temporary");
  mkdirSync(folder);
  writeFileSync(join(cwd, "program.ts"), memoryProgram(specifier));
  const ffi = [`--allow-ffi=${folder}`, "--allow-env=TMPDIR"];
  const files = ["--allow-read", `--allow-write=${folder}`];
  const options = { cwd, env: { TMPDIR: folder }, prints: caught };
  const allowed = command(...ffi, ...files, "program.ts");
  await bench.check("a temporary file", allowed, options);
  await bench.check("the same temporary file again", allowed, options);
  const { mode } = statSync(join(folder, readdirSync(folder)[0]));
  bench.that("a temporary file is its owner's", (mode & 0o077) === 0, mode.toString(8));
  chmodSync(join(folder, readdirSync(folder)[0]), 0o777);
  const open = await bench.run(allowed, options);
  const refused = /\n {2}copy in the package's modules, as a file in \S+: .*others may write to it/;
  bench.that("a folder that others may change is refused", refused.test(open.stderr), open.stderr);
  const none = await bench.run(command(...ffi, "program.ts"), options);
  const places = [/\n {2}http:.*\(file of the package\): .+/, /as a file in memory: .+/];
  places.push(/as a file in \/\S+: .+/, /\nRun the program with the permission/);
  const listed = !none.ok && places.every((place) => place.test(none.stderr));
  bench.that("every place is listed with its reason", listed, none.stderr);
}

/** Runs all of it. */
export async function runPackage(report, tools) {
  const bench = new Bench(report, tools);
  try {
    const source = copySources(bench);
    const tarball = await pack(bench, source);
    if (tarball !== null) await useTarball(bench, source, tarball);
    const folder = await checkPublish(bench, source);
    if (folder !== null) await useOrigin(bench, folder);
  } finally {
    rmSync(bench.folder, { recursive: true, force: true });
  }
}

async function useTarball(bench, source, tarball) {
  await lintTarball(bench, tarball);
  // Neither may ask a registry: the package needs no other.
  const byNpm = ["npm", "install", "--offline", "--no-audit", "--no-fund", tarball];
  const npmFolder = await install(bench, "npm install", byNpm);
  if (npmFolder !== null) {
    await useInstalled(bench, "npm install", npmFolder);
    await useCommand(bench, npmFolder);
    await checkTypes(bench, npmFolder);
    await useCompiled(bench, npmFolder);
    await useDenoCompile(bench, npmFolder);
  }
  const bunFolder = await install(bench, "bun add", [bench.tools.bun, "add", tarball], {
    BUN_CONFIG_REGISTRY: "http://127.0.0.1:1/",
    BUN_INSTALL_CACHE_DIR: join(bench.folder, "bun_cache"),
  });
  if (bunFolder !== null) await useInstalled(bench, "bun add", bunFolder);
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  await useRegistry(bench, manifest, tarball);
}
