/**
 * Runs tests on kernels of their own, in QEMU without hardware support: a real arm64 kernel, and a
 * kernel that may mark memory as broken. A guest has a file system in memory and no network, and
 * tells its results on the serial line.
 */
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { chmodSync, copyFileSync } from "node:fs";
import { join } from "node:path";

import { bun, deno, root, zig, zigEnvironment } from "../setup.mjs";
import { outFolder } from "./build.mjs";
import { debianPackage, must, npmPackage, program, Unavailable } from "./download.mjs";
import { run } from "./process.mjs";
import { arm64Fixtures, copyProgram, emptyFolder, glibcSysroot, timeFactor } from "./runtimes.mjs";
import { reportFile, testArguments } from "./suite.mjs";

/** Where the repository lies in a guest. */
const guestRoot = "/faultline";

/** Of one test file in a guest, in seconds. */
const guestFileSeconds = 400;

/** What a guest starts as its first process; `commands` are lines of a shell. */
function initScript(commands) {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp NO_COLOR=1 DO_NOT_TRACK=1 BUN_ENABLE_CRASH_REPORTING=0
export DENO_DIR=/tmp/deno DENO_NO_UPDATE_CHECK=1 CI=true
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
dmesg -n 1
echo "@@kernel $(uname -sr)"
# What a program said and left as JUnit, between marks.
case_of() {
  name=$1; shift
  rm -f /tmp/junit.xml
  timeout -s KILL ${guestFileSeconds} "$@" > /tmp/output 2>&1
  code=$?
  echo "@@output $name"; tail -c 6000 /tmp/output; echo
  echo "@@junit $name"; [ -f /tmp/junit.xml ] && cat /tmp/junit.xml; echo
  echo "@@end $name $code"
}
cd ${guestRoot}
${commands.join("\n")}
poweroff -f
`;
}

/** The folder that becomes a guest's file system, with busybox and what the guest starts first. */
async function guestFolder(name, busyboxKey, commands) {
  const busybox = await debianPackage(busyboxKey);
  const folder = emptyFolder(name);
  for (const part of ["bin", "proc", "sys", "dev", "tmp", guestRoot]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  copyProgram(join(busybox, "usr", "bin", "busybox"), join(folder, "bin", "busybox"));
  writeFileSync(join(folder, "init"), initScript(commands));
  chmodSync(join(folder, "init"), 0o755);
  return folder;
}

/** Copies what a test needs of the repository. */
function addRepository(folder, platform, fixtures) {
  const into = join(folder, guestRoot);
  for (const file of ["mod.ts", "package.json", "deno.json", "tsconfig.json"]) {
    copyFileSync(join(root, file), join(into, file));
  }
  const native = join("lib", "native");
  const kept = (path) => !path.includes(`${native}/`) || path.includes(join(native, platform));
  cpSync(join(root, "lib"), join(into, "lib"), { recursive: true, filter: kept });
  cpSync(join(root, "test"), join(into, "test"), {
    recursive: true,
    // Of one source, tests read which line faults.
    filter: (path) => path.endsWith("/crash_fixture.c") || !/\.(?:c|cpp|zig|mjs)$/.test(path),
  });
  cpSync(join(fixtures, "fixture"), join(into, "out", "fixture"), { recursive: true });
}

/** Lines of a guest's shell that run test files under Bun and Deno. */
function testCommands(files, env) {
  const own = {
    FAULTLINE_BUILD: `${guestRoot}/out`,
    FAULTLINE_COMPILED: `${guestRoot}/out`,
    FAULTLINE_TIME_FACTOR: timeFactor,
  };
  const variables = Object.entries({ ...env, ...own })
    .map(([name, value]) => `export ${name}=${value}`);
  const limitMs = guestFileSeconds * 1000;
  const runs = files.flatMap((file) =>
    ["bun", "deno"].map((runtime) => {
      const words = testArguments(runtime, `test/${file}`, "/tmp/junit.xml", limitMs);
      return `case_of ${file}:${runtime} ${runtime} ${words.join(" ")}`;
    })
  );
  return [...variables, ...runs];
}

/** Packs a folder to a file that the kernel unpacks into memory. */
async function pack(folder) {
  const busybox = join(await debianPackage("busybox-x64"), "usr", "bin", "busybox");
  const file = `${folder}.cpio.gz`;
  const script = `cd '${folder}' && find . | '${busybox}' cpio -o -H newc | gzip -1 > '${file}'`;
  await must("packing the guest's files", ["sh", "-c", script]);
  return file;
}

/** The kernel of a Debian package. */
async function kernelOf(key) {
  const folder = join(await debianPackage(key), "boot");
  return join(folder, readdirSync(folder).find((name) => name.startsWith("vmlinuz-")));
}

/** Starts a guest and gives what it wrote, until it switches itself off. */
async function boot({ emulator, machine, kernel, memory, console: line, folder, timeoutMs }) {
  const initrd = await pack(folder);
  const arguments_ = [
    ...machine,
    ...["-accel", "tcg", "-smp", "2", "-m", memory, "-nic", "none", "-no-reboot"],
    ...["-display", "none", "-monitor", "none", "-serial", "stdio"],
    ...["-kernel", kernel, "-initrd", initrd],
    ...["-append", `console=${line} rdinit=/init panic=-1 quiet loglevel=1`],
  ];
  const result = await run([emulator, ...arguments_], { timeoutMs });
  return { ...result, stdout: result.stdout.replaceAll("\r", "") };
}

/** What a guest wrote about each of its programs, by name. */
export function guestCases(text) {
  const pattern = /^@@output (\S+)\n([\s\S]*?)\n@@junit \1\n([\s\S]*?)\n@@end \1 (\d+)$/gm;
  return new Map(
    [...text.matchAll(pattern)].map(([, name, output, junit, code]) => [
      name,
      { output, junit, code: Number(code) },
    ]),
  );
}

/**
 * Counts the test files that ran in a guest. Each has a limit of its own there, so what a guest
 * that was too slow did not come to has not failed.
 */
function reportGuest(report, result, where, files) {
  const found = guestCases(result.stdout);
  const kernel = /^@@kernel (.*)$/m.exec(result.stdout)?.[1];
  console.log(kernel ?? "The kernel did not start");
  for (const file of files) {
    for (const runtime of ["bun", "deno"]) {
      const name = `test/${file} under ${runtime} ${where}`;
      const one = found.get(`${file}:${runtime}`);
      if (one === undefined && kernel !== undefined && result.timedOut) {
        report.skip(name, "the time of the guest was used up before it came to it");
        continue;
      }
      if (one === undefined) {
        report.fail(`${name}: the guest did not come to its end (${result.reason})`, result.stdout);
        continue;
      }
      const reason = one.code === 137 ? "ran too long and was killed" : `exit code ${one.code}`;
      reportFile(report, name, one.junit, { ok: one.code === 0, reason, output: one.output });
    }
  }
}

/** How long a guest may take: its own limit, or what is left. */
function limit(wantedMs, deadline) {
  const leftMs = deadline - Date.now();
  if (leftMs < 60_000) throw new Unavailable("the time of this run is used up");
  return Math.min(wantedMs, leftMs);
}

/** Copies a program of this machine with the libraries that it is linked with. */
async function addWithLibraries(folder, name, file) {
  copyProgram(file, join(folder, "bin", name));
  const listed = await must(`ldd ${name}`, ["ldd", file]);
  for (const [path] of listed.matchAll(/\/\S+(?= \(0x)/g)) {
    copyProgram(path, join(folder, path));
  }
}

/** The static program that asks the kernel alone, without the library. */
async function buildPoisoner(file) {
  const command = [...zig(), "build-exe", "-target", "x86_64-linux-none", "-O", "ReleaseSmall"];
  const rest = ["-fllvm", "-fstrip", `-femit-bin=${file}`, "test/memory_failure.zig"];
  const result = await run([...command, ...rest], { cwd: root, env: zigEnvironment });
  if (!result.ok) throw new Error(`zig build-exe test/memory_failure.zig: ${result.stderr}`);
}

/** A page that the kernel takes for broken: what the kernel says, then what the library says. */
export async function runMemoryFailure(report, { deadline }) {
  if (process.arch !== "x64") throw new Unavailable("it needs x64");
  const emulator = await program("qemu-system-x86_64", "qemu-system-x86");
  const kernel = await kernelOf("kernel-x64");
  const files = ["machine_check_test.ts"];
  const folder = await guestFolder("guest-x64", "busybox-x64", [
    "case_of memory_failure memory_failure",
    ...testCommands(files, { FAULTLINE_MACHINE_CHECK: "1" }),
  ]);
  await buildPoisoner(join(folder, "bin", "memory_failure"));
  await addWithLibraries(folder, "bun", bun());
  await addWithLibraries(folder, "deno", deno());
  addRepository(folder, "linux-x64", outFolder);
  const result = await boot({
    emulator,
    machine: ["-M", "q35", "-cpu", "max"],
    kernel,
    memory: "3072",
    console: "ttyS0",
    folder,
    timeoutMs: limit(600_000, deadline),
  });
  const name = "test/memory_failure.zig on a kernel of its own";
  const own = guestCases(result.stdout).get("memory_failure");
  if (own?.code === 0) {
    console.log(`${name}:\n${own.output.trim().replaceAll(/^/gm, "  ")}`);
    report.pass();
  } else {
    report.fail(`${name}: ${own ? `exit code ${own.code}` : result.reason}`, result.stdout);
  }
  reportGuest(report, result, "on a kernel of its own", files);
}

/**
 * What the emulator of user mode does not do as a kernel does comes first; what starts many
 * processes is left out, since each takes seconds here.
 */
const shortSuite = [
  "guarded_call_test.ts",
  "exception_test.ts",
  "catch_test.ts",
  "memory_test.ts",
  "stack_overflow_test.ts",
  "callback_test.ts",
  "tls_test.ts",
  "dump_test.ts",
];

/** What takes Deno longer in a guest than the limit of a file: CI leaves it to runs by hand. */
const longTest = "crash_matrix_test.ts";

/** Compiles what tests of the crash reporter start, as test/crash_support.ts does. */
async function addCrashFixture(folder) {
  const into = join(folder, guestRoot, "out");
  const own = ["-target", "aarch64-linux-gnu.2.17", "-fno-sanitize=undefined", "-Wno-everything"];
  const library = ["-shared", "-fPIC", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"];
  const outputs = [
    ["crash_fixture.so", "crash_fixture.c", ...library, "-lpthread", "-Wl,--build-id=sha1"],
    ["crash_program", "crash_program.c", "-ldl"],
  ];
  for (const [name, source, ...flags] of outputs) {
    const inputs = ["-g", "-O1", ...flags, "-o", join(into, name), join(root, "test", source)];
    const result = await run([...zig(), "cc", ...own, ...inputs], { env: zigEnvironment });
    if (!result.ok) throw new Error(`zig cc test/${source}: ${result.stderr}`);
  }
}

/** A part of the suite on a real arm64 kernel. */
export async function runArm64Kernel(report, { files: parts, deadline }) {
  const fixtures = await arm64Fixtures();
  const emulator = await program("qemu-system-aarch64", "qemu-system-arm");
  const kernel = await kernelOf("kernel-arm64");
  const sysroot = await glibcSysroot("arm64-kernel-glibc");
  const [bunPackage, denoPackage] = await Promise.all(["bun-arm64", "deno-arm64"].map(npmPackage));
  const inCi = process.env.CI !== undefined;
  if (inCi) {
    const reason = "it takes too long: CI leaves it to runs by hand";
    report.skip(`test/${longTest} on an arm64 kernel`, reason);
  }
  const files = [...shortSuite, ...(inCi ? [] : [longTest])].filter((file) =>
    parts.length === 0 || parts.some((part) => file.includes(part))
  );
  const folder = await guestFolder("guest-arm64", "busybox-arm64", testCommands(files, {}));
  copyProgram(join(bunPackage, "bin", "bun"), join(folder, "bin", "bun"));
  copyProgram(join(denoPackage, "deno"), join(folder, "bin", "deno"));
  addGlibc(folder, sysroot);
  addRepository(folder, "linux-arm64", fixtures);
  await addCrashFixture(folder);
  const result = await boot({
    emulator,
    // Pointer authentication by the cipher that Arm proposes would take most of the time. With SVE,
    // Bun's Workers crash in this machine as they start, also in programs without Faultline.
    machine: ["-M", "virt", "-cpu", "max,pauth-impdef=on,sve=off"],
    kernel,
    memory: "4096",
    console: "ttyAMA0",
    folder,
    timeoutMs: limit(1_500_000, deadline),
  });
  reportGuest(report, result, "on an arm64 kernel", files);
}

/** The loader and the libraries that runtimes are linked with, out of a whole file system. */
function addGlibc(folder, sysroot) {
  const machine = "aarch64-linux-gnu";
  const names = /^(?:ld-linux|lib(?:c|m|dl|pthread|rt|util|gcc_s|stdc\+\+)\.so)/;
  const into = join(folder, "lib", machine);
  mkdirSync(into, { recursive: true });
  for (const part of [join(sysroot, "lib", machine), join(sysroot, "usr", "lib", machine)]) {
    for (const name of readdirSync(part).filter((one) => names.test(one))) {
      copyFileSync(join(part, name), join(into, name)); // Links become files.
    }
  }
  const loader = "ld-linux-aarch64.so.1";
  chmodSync(join(into, loader), 0o755);
  symlinkSync(join(machine, loader), join(folder, "lib", loader));
}
