/** The kernel's core file of a reported crash, as gdb reads it: the fault itself is in it. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs, output } from "./compile_support.ts";
import { either, notEmulated, runtimePath, x64Only } from "./platform_support.ts";
import { crashChild, crashLibrary, faultLine, freshDirectory } from "./crash_support.ts";

/** Why no core file can be had here; null when one can. */
function coreProblem(): string | null {
  const pattern = readFileSync("/proc/sys/kernel/core_pattern", "utf8").trim();
  if (pattern.startsWith("|") || pattern.includes("/")) {
    return `cores do not go to the working directory: kernel.core_pattern is ${pattern}`;
  }
  const { status } = spawnSync("sh", ["-c", "ulimit -c unlimited"]);
  return status === 0 ? null : "the limit of core files cannot be raised";
}

const wanted = either(
  notEmulated("a core is that of the emulator"),
  x64Only("gdb reads cores of its own machine, and it is installed"),
  needs("gdb"),
);
const skip = wanted.skip === false ? coreProblem() ?? false : wanted.skip;

/** By function: the signal, the function of frame 0, and si_addr; null for the instruction. */
const faults = {
  cf_segv: ["SIGSEGV", "read_word", 16n],
  cf_fpe: ["SIGFPE", "cf_fpe", null],
  cf_ill: ["SIGILL", "cf_ill", null],
} as const;

/** What gdb says about the one core file in `folder`. */
function gdb(folder: string, ...commands: readonly string[]): string {
  const [core] = readdirSync(folder).filter((name) => name.startsWith("core"));
  assert.ok(core !== undefined, `no core among ${readdirSync(folder)}`);
  const asked = [
    // As commands, since one of the runtimes changes arguments behind its own path.
    `file ${runtimePath}`,
    `core-file ${join(folder, core)}`,
    `sharedlibrary ${crashLibrary}`,
    ...commands,
  ].flatMap((command) => ["-ex", command]);
  // Without what a runtime's symbols would cost.
  const limits = ["-iex", "set auto-solib-add off", "-iex", "set debuginfod enabled off"];
  return output("gdb", ["-batch", "-nx", ...limits, ...asked]);
}

for (const [name, [signal, symbol, address]] of Object.entries(faults)) {
  test(`a core after a report has the fault of ${name} in frame 0`, { skip }, () => {
    const directory = freshDirectory();
    const cwd = freshDirectory();
    try {
      const job = { library: crashLibrary, function: name, where: "main" } as const;
      const options = { directory, stderr: false };
      const shell = "2>&1";
      const result = crashChild({ ...job, options }, {
        cwd,
        shell,
        before: "ulimit -c unlimited;",
      });
      assert.equal(result.signal, signal, JSON.stringify(result));
      const said = gdb(
        cwd,
        "print $_siginfo.si_signo",
        "print/x (unsigned long) $_siginfo._sifields._sigfault.si_addr",
        "print/x $pc",
        "frame 0",
      );
      assert.match(said, new RegExp(`terminated with signal ${signal}`));
      const place = `crash_fixture\\.c:${faultLine(name)}`;
      assert.match(said, new RegExp(`^#0 .*\\b${symbol} \\(.*${place}$`, "m"), said);
      const [, given] = /^\$2 = (0x[0-9a-f]+)$/m.exec(said)!;
      const [, pc] = /^\$3 = (0x[0-9a-f]+)$/m.exec(said)!;
      // Of an arithmetic or illegal instruction the kernel gives its own address.
      assert.equal(BigInt(given!), address ?? BigInt(pc!));
    } finally {
      rmSync(cwd, { recursive: true });
    }
  });
}
