/** Builds the native libraries, and compares them with the committed ones. */
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

import { buildFolder, root, zig, zigEnvironment } from "../setup.mjs";
import { run } from "./process.mjs";

/** A first build compiles Zig's own build runner too, which takes minutes on a slow machine. */
const buildTimeoutMs = 1_800_000;

/** Where the build puts its results. */
export const outFolder = join(buildFolder, "out");

/** Where the committed libraries are. */
export const nativeFolder = join(root, "lib", "native");

const platformName = /^(linux|darwin|win32|freebsd)-(x64|arm64)(-musl)?$/;

/** Runs `zig build` on `source`, with further arguments. */
export function zigBuild(args, { source = root, env = {} } = {}) {
  const command = [...zig(), "build", "--build-file", join(source, "zig", "build.zig"), ...args];
  return run(command, {
    cwd: source,
    env: { ...zigEnvironment, ...env },
    timeoutMs: buildTimeoutMs,
  });
}

/** Builds the libraries and the test fixtures into `.build/out`. */
export function buildLibraries() {
  // What an earlier version of the build script made must not be compared or tested.
  rmSync(outFolder, { recursive: true, force: true });
  return zigBuild(["-p", outFolder]);
}

/** Where `buildPlatform` puts a platform's libraries and fixtures: FAULTLINE_BUILD of its tests. */
export function platformFolder(platform) {
  return join(buildFolder, platform);
}

/** Builds the libraries, and the fixtures for `platform` (such as "linux-arm64"). */
export function buildPlatform(platform) {
  const folder = platformFolder(platform);
  rmSync(folder, { recursive: true, force: true });
  return zigBuild([`-Dtarget=${platform}`, "-p", folder]);
}

/** Writes the text of lib/abi.ts to standard output, which must be a pipe. */
export function printAbi() {
  return zigBuild(["abi"]);
}

/** Files below the platform folders of `folder`, as `linux-x64/faultline.so`. */
export function platformFiles(folder) {
  if (!existsSync(folder)) return [];
  const platforms = readdirSync(folder).filter((name) => platformName.test(name)).sort();
  return platforms.flatMap((platform) =>
    readdirSync(join(folder, platform)).sort().map((name) => `${platform}/${name}`)
  );
}

/** Null when both files are the same to the byte, else how they differ. */
export function difference(left, right) {
  for (const path of [left, right]) if (!existsSync(path)) return `${path} is missing`;
  const [a, b] = [readFileSync(left), readFileSync(right)];
  if (a.equals(b)) return null;
  let offset = 0;
  while (offset < a.length && a[offset] === b[offset]) offset += 1;
  return `${left} (${a.length} bytes) and ${right} (${b.length} bytes) differ at byte ${offset}`;
}

/** Copies what was built to where it is committed. */
export function updateNative() {
  rmSync(nativeFolder, { recursive: true, force: true });
  const files = platformFiles(outFolder);
  for (const file of files) {
    mkdirSync(join(nativeFolder, file, ".."), { recursive: true });
    copyFileSync(join(outFolder, file), join(nativeFolder, file));
  }
  return files;
}

/**
 * Builds once more, from a copy in a folder of another name and depth and with an empty local
 * cache, and calls `compare(folder)` with where the second build put its results.
 */
export async function buildElsewhere(compare) {
  const scratch = mkdtempSync(join(tmpdir(), "faultline-"));
  try {
    const source = join(scratch, "a copy", "at another depth", "source");
    mkdirSync(source, { recursive: true });
    cpSync(join(root, "zig"), join(source, "zig"), {
      recursive: true,
      filter: (path) => basename(path) !== ".zig-cache",
    });
    cpSync(join(root, "test"), join(source, "test"), {
      recursive: true,
      // Fixtures are part of the build; the rest of the folder is not.
      filter: (path) => path === join(root, "test") || path.endsWith(".zig"),
    });
    const folder = join(scratch, "out");
    const env = { ZIG_LOCAL_CACHE_DIR: join(scratch, "cache") };
    compare(await zigBuild(["-p", folder], { source, env }), folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
