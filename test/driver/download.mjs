/**
 * Fetches what the platform runs need beyond `npm test`: runtimes from npm, libraries from PyPI and
 * Debian, kernels from Debian. Everything is pinned in pins.json by version and checksum, comes by
 * the ordinary clients, and stays below `.build/platforms`, where a later run finds it.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { buildFolder, root } from "../setup.mjs";
import { run } from "./process.mjs";

/** Everything that the platform runs fetch and make. */
export const platformsFolder = join(buildFolder, "platforms");

const pins = JSON.parse(readFileSync(new URL("./pins.json", import.meta.url), "utf8"));
const downloadTimeoutMs = 240_000;
const python = join(root, ".venv", "bin", "python");

/** Why something cannot be had here: the runs that need it are skipped with this reason. */
export class Unavailable extends Error {
  name = "Unavailable";
}

/** The last line that a failed program wrote, for use inside a sentence. */
export function lastWords({ stdout, stderr, reason }) {
  const lines = `${stdout}\n${stderr}`.split("\n").map((line) => line.trim()).filter(Boolean);
  return lines.at(-1) ?? reason;
}

/** Runs a program that must succeed. */
export async function must(what, command, options = {}) {
  const result = await run(command, { timeoutMs: downloadTimeoutMs, ...options });
  if (!result.ok) throw new Unavailable(`${what} failed (${lastWords(result)})`);
  return result.stdout;
}

function digest(algorithm, encoding, path) {
  return createHash(algorithm).update(readFileSync(path)).digest(encoding);
}

/** Whether a file is what the pin says. */
function isPinned(path, pin) {
  if (pin.sha256 !== undefined) return digest("sha256", "hex", path) === pin.sha256;
  return `sha512-${digest("sha512", "base64", path)}` === pin.integrity;
}

/**
 * The folder with the unpacked package `key`. `fetch(folder)` downloads it into an empty folder,
 * and `unpack(file, folder)` unpacks what came.
 */
async function unpacked(kind, key, fetch, unpack) {
  const pin = pins[kind][key];
  const checksum = pin.sha256 ?? pin.integrity;
  const folder = join(platformsFolder, "unpacked", key);
  const marker = join(folder, ".checksum");
  if (existsSync(marker) && readFileSync(marker, "utf8") === checksum) return folder;

  console.log(`Fetching ${pin.name} ${pin.version}${pin.architecture ? ` (${key})` : ""}`);
  mkdirSync(platformsFolder, { recursive: true });
  const scratch = mkdtempSync(join(platformsFolder, "download-"));
  try {
    await fetch(pin, scratch);
    const [name] = readdirSync(scratch);
    const file = join(scratch, name);
    if (!isPinned(file, pin)) {
      throw new Unavailable(`${pin.name} ${pin.version} is not the file that pins.json names`);
    }
    const content = join(scratch, "content");
    mkdirSync(content);
    await unpack(file, content);
    writeFileSync(join(content, ".checksum"), checksum);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, ".."), { recursive: true });
    renameSync(content, folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}

/** The folder of an npm package. */
export async function npmPackage(key) {
  const folder = await unpacked("npm", key, async ({ name, version }, into) => {
    const command = ["npm", "pack", "--silent", "--ignore-scripts", `${name}@${version}`];
    await must(`npm pack ${name}@${version}`, [...command, "--pack-destination", into]);
  }, (file, into) => must("tar", ["tar", "-xzf", file, "-C", into]));
  return join(folder, "package");
}

/** The folder of an unpacked wheel, which may be one for another platform. */
export function wheel(key) {
  return unpacked("pypi", key, async ({ name, version, platform }, into) => {
    const pip = [python, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"];
    const only = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.12"];
    const where = ["--platform", platform, "--dest", into];
    await must(`pip download ${name}`, [...pip, ...only, ...where, `${name}==${version}`]);
  }, (file, into) => must("unpacking a wheel", [python, "-m", "zipfile", "-e", file, into]));
}

const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
let aptReady = null;

/** The address of Debian's archive, as this machine's own list of sources has it. */
async function archive() {
  const release = /^VERSION_CODENAME="?([\w-]+)/m.exec(
    existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "",
  )?.[1];
  const listed = await must("apt-get update --print-uris", ["apt-get", "update", "--print-uris"]);
  const found = [...listed.matchAll(/^'([^']+)\/dists\/([^/']+)\/(?:In)?Release'/gm)]
    .find(([, , suite]) => suite === release);
  if (found === undefined || !existsSync(keyring)) {
    throw new Unavailable("this system has no list of Debian's packages, or not Debian's keys");
  }
  return found[1];
}

/** Gives the environment of an apt that knows all suites of pins.json and changes nothing here. */
function privateApt() {
  aptReady ??= (async () => {
    const folder = join(platformsFolder, "apt");
    for (const name of ["lists/partial", "cache/archives/partial"]) {
      mkdirSync(join(folder, name), { recursive: true });
    }
    const suites = [...new Set(Object.values(pins.debian).map(({ suite }) => suite))];
    const uri = await archive();
    const lines = suites.map((suite) => `deb [signed-by=${keyring}] ${uri} ${suite} main\n`);
    writeFileSync(join(folder, "sources.list"), lines.join(""));
    writeFileSync(join(folder, "status"), "");
    const settings = {
      "Dir::Etc::sourcelist": join(folder, "sources.list"),
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::State::lists": join(folder, "lists"),
      "Dir::State::status": join(folder, "status"),
      "Dir::Cache": join(folder, "cache"),
      "APT::Architecture": "amd64",
      // Without it, apt as root would download as a user who may not write here.
      "APT::Sandbox::User": process.getuid() === 0 ? "root" : "",
      "Acquire::Languages": "none",
      "Acquire::Retries": "3",
    };
    const text = Object.entries(settings).map(([name, value]) => `${name} "${value}";\n`).join("");
    const config = join(folder, "apt.conf");
    writeFileSync(config, `${text}APT::Architectures { "amd64"; "arm64"; };\n`);
    const env = { APT_CONFIG: config };
    await must("apt-get update", ["apt-get", "update", "--quiet"], { env });
    return env;
  })();
  return aptReady;
}

/** The folder of an unpacked Debian package, which may be one for another architecture. */
export function debianPackage(key) {
  return unpacked("debian", key, async ({ name, architecture, version }, into) => {
    const env = await privateApt();
    const wanted = `${name}:${architecture}=${version}`;
    await must(`apt-get download ${wanted}`, ["apt-get", "download", wanted], { cwd: into, env });
  }, (file, into) => must("dpkg-deb", ["dpkg-deb", "-x", file, into]));
}

/** Whether a program can be started from here. */
export function findProgram(name) {
  return (process.env.PATH ?? "").split(":").map((folder) => join(folder, name)).find(existsSync);
}

let aptUpdated = false;

/** The path of a program; installs its Debian package when that is allowed. */
export async function program(name, debian) {
  const found = findProgram(name);
  if (found !== undefined) return found;
  if (process.getuid() !== 0 || findProgram("apt-get") === undefined) {
    throw new Unavailable(`${name} is not installed (Debian: apt-get install ${debian})`);
  }
  console.log(`Installing ${debian}`);
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  if (!aptUpdated) await must("apt-get update", ["apt-get", "update", "--quiet"], { env });
  aptUpdated = true;
  const command = ["apt-get", "install", "--yes", "--no-install-recommends", debian];
  await must(`apt-get install ${debian}`, command, { env });
  const installed = findProgram(name);
  if (installed === undefined) throw new Unavailable(`${debian} has no program ${name}`);
  return installed;
}
