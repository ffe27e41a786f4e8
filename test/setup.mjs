/**
 * Prepares a fresh clone for building and testing, and says where the tools are.
 *
 * Plain Node and nothing else: this file runs before anything is installed. Both `ensure` functions
 * do nothing, and need no network, when what they would install is already there.
 */
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { run } from "./driver/process.mjs";

/** The folder that holds package.json. */
export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/[/\\]$/, "");

/** Everything that is generated, caches included, lies below this one folder. */
export const buildFolder = join(root, ".build");

const windows = process.platform === "win32";
const venv = join(root, ".venv");
const python = join(venv, windows ? "Scripts/python.exe" : "bin/python");
const requirements = join(root, "test", "requirements.txt");

const setupTimeoutMs = 900_000;

/** A failure that the user can do something about: one sentence, printed without a stack. */
export class SetupError extends Error {
  name = "SetupError";
}

function readJson(...segments) {
  return JSON.parse(readFileSync(join(root, ...segments), "utf8"));
}

function isMusl() {
  if (process.platform !== "linux") return false;
  return process.report.getReport().header.glibcVersionRuntime === undefined;
}

/** The last line of a program's output that says something, for use inside a sentence. */
function lastLine({ stdout, stderr, reason }) {
  const lines = `${stdout}\n${stderr}`.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.at(-1) ?? reason;
}

/**
 * The executable inside a package of platform binaries. The packages `bun` and `deno` copy theirs
 * in an install script, which `ignore-scripts` forbids and npm may refuse, so it is taken from
 * where npm unpacked it.
 */
function platformBinary(name, candidates) {
  const found = candidates.map((path) => join(root, "node_modules", path)).find(existsSync);
  if (found === undefined) {
    throw new SetupError(
      `Cannot run ${name} as no package for ${process.platform}-${process.arch} is installed: ` +
        `run "npm ci" on a platform that ${name} supports`,
    );
  }
  try {
    accessSync(found, constants.X_OK);
  } catch {
    chmodSync(found, 0o755);
  }
  return found;
}

/** Path of the pinned Bun. */
export function bun() {
  const arch = process.arch === "arm64" ? "aarch64" : process.arch;
  const os = windows ? "windows" : process.platform;
  const stem = `@oven/bun-${os}-${arch}`;
  const musl = isMusl() ? "-musl" : "";
  const file = windows ? "bin/bun.exe" : "bin/bun";
  const suffixes = [musl, `${musl}-baseline`, "", "-baseline"];
  return platformBinary("Bun", suffixes.map((suffix) => `${stem}${suffix}/${file}`));
}

/** Path of the pinned Deno. */
export function deno() {
  const stem = `@deno/${process.platform}-${process.arch}`;
  const file = windows ? "deno.exe" : "deno";
  return platformBinary("Deno", [`${stem}-glibc/${file}`, `${stem}/${file}`]);
}

/** Command and leading arguments of the pinned Zig. */
export function zig() {
  return [python, "-m", "ziglang"];
}

/** Command and leading arguments of the pinned TypeScript compiler. */
export function tsc() {
  return [process.execPath, join(root, "node_modules", "typescript", "bin", "tsc")];
}

/** Environment of every Zig command: its caches stay inside `.build/`. */
export const zigEnvironment = {
  ZIG_GLOBAL_CACHE_DIR: join(buildFolder, "zig_global"),
  ZIG_LOCAL_CACHE_DIR: join(buildFolder, "zig_local"),
};

/** Environment of everything that runs in Bun or Deno. */
export const runtimeEnvironment = {
  // Crash tests must not upload anything, and colour codes would get into compared output.
  BUN_ENABLE_CRASH_REPORTING: "0",
  DO_NOT_TRACK: "1",
  NO_COLOR: "1",
  DENO_DIR: join(buildFolder, "deno"),
  DENO_NO_UPDATE_CHECK: "1",
  FAULTLINE_BUILD: join(buildFolder, "out"),
};

/** True when every pinned package lies in node_modules in exactly the pinned version. */
function nodeIsReady() {
  const pins = readJson("package.json").devDependencies;
  for (const [name, version] of Object.entries(pins)) {
    const manifest = join("node_modules", name, "package.json");
    if (!existsSync(join(root, manifest))) return false;
    if (readJson(manifest).version !== version) return false;
  }
  return existsSync(join(root, "node_modules", "@oven")) &&
    existsSync(join(root, "node_modules", "@deno"));
}

/** Installs the development dependencies from the lock file, unless they are installed. */
export async function ensureNode() {
  if (nodeIsReady()) return;
  console.log("Installing the development dependencies (npm ci)");
  const npm = [windows ? "npm.cmd" : "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"];
  const result = await run(npm, { cwd: root, timeoutMs: setupTimeoutMs });
  if (!result.ok) {
    const what = result.code === -1 ? result.reason : lastLine(result);
    throw new SetupError(
      `Cannot install the development dependencies as "npm ci" failed (${what}): ` +
        `install Node 20 or newer with its npm, check the network, and run "npm ci" by hand`,
    );
  }
  if (!nodeIsReady()) {
    throw new SetupError(
      'Cannot use node_modules as it still differs from package.json after "npm ci": ' +
        'bring package-lock.json up to date with "npm install"',
    );
  }
}

/** The pinned version of Zig, read from the requirements file so that it is named once. */
function zigVersion() {
  const pin = /^ziglang==([\w.]+)/m.exec(readFileSync(requirements, "utf8"));
  if (pin === null) throw new SetupError(`Cannot find the pin of ziglang in ${requirements}`);
  return pin[1];
}

function zigIsReady() {
  if (!existsSync(python)) return false;
  const libraries = windows ? join(venv, "Lib") : join(venv, "lib");
  if (!existsSync(libraries)) return false;
  const folders = windows ? [""] : readdirSync(libraries);
  const info = join("site-packages", `ziglang-${zigVersion()}.dist-info`);
  // The record is the last file that pip writes, so an interrupted installation does not count.
  return folders.some((folder) => existsSync(join(libraries, folder, info, "RECORD")));
}

/** Installs the pinned Zig into `.venv`, unless it is there. */
export async function ensureZig() {
  mkdirSync(buildFolder, { recursive: true });
  if (zigIsReady()) return;
  console.log(`Installing Zig ${zigVersion()} (into .venv)`);
  rmSync(venv, { recursive: true, force: true });
  const host = windows ? "python" : "python3";
  const made = await run([host, "-m", "venv", venv], { cwd: root, timeoutMs: setupTimeoutMs });
  if (!made.ok) {
    const what = made.code === -1 ? made.reason : lastLine(made);
    throw new SetupError(
      `Cannot set up Zig as "${host} -m venv .venv" failed (${what}): ` +
        "install Python 3 with its venv module (Debian: python3-venv)",
    );
  }
  const pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"];
  const only = ["--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps"];
  const got = await run([...pip, ...only, "-r", requirements], {
    cwd: root,
    timeoutMs: setupTimeoutMs,
  });
  if (!got.ok) {
    throw new SetupError(
      `Cannot set up Zig as pip could not install ziglang ${zigVersion()} (${lastLine(got)}): ` +
        "check the network and that test/requirements.txt has a hash for this platform",
    );
  }
}

/** Folder of the outside readers that the tests of crash reports ask. */
const readers = join(buildFolder, "readers");
const readersDone = join(readers, "installed.txt");

/**
 * Installs the outside readers from PyPI, unless they are there. Gives why that failed, or null;
 * the tests that ask them are then skipped.
 */
export async function ensureReaders() {
  const list = join(root, "test", "requirements_reports.txt");
  const wanted = readFileSync(list, "utf8");
  if (existsSync(readersDone) && readFileSync(readersDone, "utf8") === wanted) return null;
  console.log("Installing the readers of crash reports (into .build/readers)");
  rmSync(readers, { recursive: true, force: true });
  const host = windows ? "python" : "python3";
  const made = await run([host, "-m", "venv", readers], { cwd: root, timeoutMs: setupTimeoutMs });
  if (!made.ok) return `${host} -m venv failed (${lastLine(made)})`;
  const program = join(readers, windows ? "Scripts/python.exe" : "bin/python");
  const pip = [program, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"];
  const only = ["--quiet", "--require-hashes", "--only-binary=:all:", "--no-deps", "-r", list];
  const got = await run([...pip, ...only], { cwd: root, timeoutMs: setupTimeoutMs });
  if (!got.ok) return `pip failed (${lastLine(got)})`;
  // Written last, so that an interrupted installation does not count.
  writeFileSync(readersDone, wanted);
  return null;
}

/** Where every tool is. Call it after the `ensure` functions. */
export function paths() {
  return { root, buildFolder, bun: bun(), deno: deno(), zig: zig(), tsc: tsc() };
}

/** Runs a driver's main function, and prints a `SetupError` as the one sentence that it is. */
export async function main(body) {
  try {
    process.exitCode = await body();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
