/** `faultline doctor` and the command around it. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { release, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { version } from "../lib/abi.ts";
import { diagnose } from "../lib/cli/diagnosis.ts";
import { diagnosisLines } from "../lib/cli/diagnosis_text.ts";
import { selfTestInChild } from "../lib/cli/self_test_child.ts";
import { nativePath } from "../lib/native.ts";
import { executionOf } from "../lib/platforms.ts";
import { selfTestKinds } from "../lib/self_test.ts";
import { renderLines } from "../lib/styled_text.ts";
import { missingFile } from "./musl_support.ts";
import { arm64 } from "./platform_support.ts";
import { childArgs, type ChildResult, runtimeName } from "./support.ts";

const main = fileURLToPath(new URL("../lib/cli/main.ts", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "faultline-doctor-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const onlyDeno = { skip: runtimeName() === "bun" ? "Bun has no permissions" : false } as const;

function faultline(
  args: readonly string[],
  options: { readonly flags?: string[]; readonly env?: Record<string, string> } = {},
): ChildResult {
  return spawnSync(process.execPath, [...childArgs(main, options.flags), ...args], {
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    timeout: 60_000,
  });
}

test("faultline doctor --json says everything, as the system has it", () => {
  const { status, stderr, stdout } = faultline(["doctor", "--json"]);
  assert.equal(status, 0, stdout + stderr);
  const found = JSON.parse(stdout);
  assert.equal(found.version, version);
  const { versions } = process;
  const runtime = runtimeName() === "bun"
    ? { name: "Bun", version: versions["bun"] }
    : { name: "Deno", version: versions["deno"] };
  assert.deepEqual(found.runtime, runtime);
  assert.equal(found.platform.name, `${process.platform}-${process.arch}`);
  assert.equal(found.library.path, nativePath());
  assert.equal(found.library.symbolsProblem, null);
  assert.match(found.library.abiHash, /^0x[0-9a-f]+$/);
  assert.equal(found.machine.kernel, release());
  assert.equal(found.machine.ptrace.tracer, null);
  assert.equal(found.signals.SIGSEGV.owner, "runtime");
  assert.ok(found.alternateStack.byteLength >= 8192);
  assert.equal(found.permissions === null, runtimeName() === "bun");
  assert.equal(found.capabilities.catch.available, true);
  assert.deepEqual(found.selfTest.map(({ kind }: { kind: string }) => kind), selfTestKinds);
  for (const { kind, passed, what } of found.selfTest) assert.ok(passed, `${kind}: ${what}`);
  assert.deepEqual(found.problems, []);
});

test("faultline doctor finds what sysctl says of ptrace and perf", () => {
  const read = (name: string): number | null => {
    const { status, stdout } = spawnSync("cat", [`/proc/sys/kernel/${name}`], { encoding: "utf8" });
    return status === 0 ? Number(stdout) : null;
  };
  const { machine } = diagnose(null);
  assert.equal(machine!.ptrace.scope, read("yama/ptrace_scope"));
  assert.equal(machine!.perf.paranoid, read("perf_event_paranoid"));
});

test("faultline doctor shows the same to people, within the width", () => {
  const { status, stdout } = faultline(["doctor"]);
  assert.equal(status, 0, stdout);
  const [head, ...lines] = stdout.trimEnd().split("\n");
  assert.equal(head, `Faultline ${version}`);
  assert.equal(lines.at(-1), "Nothing stands in the way of catching hardware exceptions.");
  for (const label of ["runtime", "platform", "library", "symbols", "signal owners", "ptrace"]) {
    assert.ok(lines.some((line) => line.startsWith(`✓ ${label} `)), `${label}\n${stdout}`);
  }
  const kinds = arm64 ? 12 : 13; // A division by zero is no exception there.
  assert.ok(
    lines.some((line) => line.includes(`${kinds} of ${kinds} kinds of fault caught`)),
    stdout,
  );
  const tooLong = lines.filter((line) => line.length > 80 && line.trim().includes("  "));
  assert.deepEqual(tooLong, []);
});

test("faultline doctor exits with 1 and lists the places when the library is missing", () => {
  const env = { FAULTLINE_LIBRARY: "/missing/faultline.so" };
  const json = faultline(["doctor", "--json"], { env });
  assert.equal(json.status, 1);
  const found = JSON.parse(json.stdout);
  assert.equal(found.selfTest, null);
  assert.deepEqual([found.machine, found.signals, found.alternateStack], [null, null, null]);
  assert.deepEqual(found.problems, [found.library.problem]);
  const path = "/missing/faultline.so";
  const shown = `\n  ${path} (environment variable FAULTLINE_LIBRARY): ${missingFile(path)}\n`;
  assert.ok(found.library.problem.includes(shown), found.library.problem);
  const { status, stdout } = faultline(["doctor"], { env });
  assert.equal(status, 1);
  assert.match(stdout, /✗ library .*Cannot open faultline\.so/);
  assert.match(stdout, /1 problem found\.\n$/);
});

test("faultline doctor leaves the self-test out when told", () => {
  const { status, stdout } = faultline(["doctor", "--no-self-test"]);
  assert.equal(status, 0);
  assert.match(stdout, /\? self-test +not made\n/);
  assert.match(stdout, /No problem was found, but the self-test was not made\.\n$/);
});

test(
  "faultline doctor without permissions says which are missing, and asks nobody",
  onlyDeno,
  () => {
    // A child of a program without any such flag would get all permissions.
    const none = faultline(["doctor"], { flags: ["--deny-net"] });
    assert.equal(none.status, 1, none.stderr);
    assert.ok(none.stdout.includes(`--allow-ffi=${nativePath()}`), none.stdout);
    assert.match(none.stdout, /permissions +no ffi, no read, no write, no run/);
    const some = faultline(["doctor", "--json"], { flags: ["--allow-ffi"] });
    assert.equal(some.status, 0, some.stderr);
    const { permissions, selfTest } = JSON.parse(some.stdout);
    assert.deepEqual([permissions.ffi, permissions.run], [true, false]);
    assert.deepEqual(selfTest, { problem: "run the doctor with --allow-run and --allow-env too" });
  },
);

/** A program in place of the command, which does `what` for the kind "abort" and else passes. */
function actor(name: string, what: string): string {
  const file = join(folder, `${name}.ts`);
  writeFileSync(
    file,
    `import process from "node:process";
for (const kind of process.argv.slice(3)) {
  console.log(JSON.stringify({ kind, begins: true }));
  if (kind === "abort") { ${what} }
  console.log(JSON.stringify({ kind, passed: true, what: "caught" }));
}
`,
  );
  return pathToFileURL(file).href;
}

test("the self-test goes on with the next kind after a child that died", () => {
  const kill = 'const { spawnSync } = await import("node:child_process");' +
    ' spawnSync("kill", ["-KILL", String(process.pid)]);';
  // The actor may not start processes in one of the runtimes, so it ends itself another way there.
  const what = runtimeName() === "bun" ? kill : 'throw new Error("no more");';
  const outcomes = selfTestInChild(actor("dies", what));
  assert.deepEqual(outcomes.map(({ kind }) => kind), selfTestKinds);
  const failed = outcomes.filter(({ passed }) => !passed);
  assert.equal(failed.length, 1);
  assert.equal(failed[0]!.kind, "abort");
  const how = runtimeName() === "bun"
    ? /^the process died of SIGKILL/
    : /^the process ended with 1/;
  assert.match(failed[0]!.what, how);
});

test("the self-test of a program that says nothing ends", () => {
  const file = join(folder, "silent.ts");
  writeFileSync(file, "export {};\n");
  const outcomes = selfTestInChild(pathToFileURL(file).href);
  assert.deepEqual(outcomes.map(({ kind }) => kind), selfTestKinds);
  for (const { passed, what } of outcomes) {
    assert.deepEqual([passed, what], [false, "the process ended with 0"]);
  }
});

test("diagnosisLines() marks what is limited and what is wrong", () => {
  const found = diagnose(null);
  const refused = { works: false, reason: "EPERM" };
  const text = renderLines(
    diagnosisLines({
      ...found,
      platform: { name: "linux-riscv64", tested: null },
      machine: {
        kernel: "5.10.0",
        glibc: null,
        ptrace: { scope: 3, tracer: 7 },
        perf: { paranoid: null, breakpoint: refused },
        userfaultfd: { full: refused, userModeOnly: { works: true, reason: null } },
        memoryFile: refused,
      },
      alternateStack: null,
      selfTest: [{ kind: "abort", passed: false, what: "nothing was thrown" }],
      problems: ["one", "two"],
    }),
    { color: false, width: 200 },
  );
  for (
    const line of [
      "! platform        linux-riscv64, kernel 5.10.0, no glibc; the tests of this project never " +
      "ran on it",
      "! alternate stack none: a stack overflow cannot be caught on this thread",
      "! ptrace          may trace nothing (ptrace_scope 3); process 7 traces this one",
      "! perf            hardware watchpoint refused (EPERM)",
      "! userfaultfd     refused (EPERM); for user mode only: works",
      "! memory file     memfd refused (EPERM)",
      "✗ self-test       0 of 1 kinds of fault caught",
      "2 problems found.",
    ]
  ) {
    assert.ok(text.split("\n").includes(line), `${line}\n${text}`);
  }
});

test("executionOf() knows where the tests ran, and nothing of other platforms", () => {
  assert.equal(executionOf("linux-x64", runtimeName(), "glibc"), "natively");
  assert.equal(executionOf("linux-riscv64", runtimeName(), "glibc"), null);
});

test("faultline refuses a wrong command line with exit code 2, and shows what is right", () => {
  const wrong: readonly (readonly [string[], RegExp])[] = [
    [[], /it names no command/],
    [["docter"], /there is no command "docter"/],
    [["doctor", "now"], /"now" is one word too many/],
    [["doctor", "--jsno"], /Unknown option '--jsno'/],
    [["demo", "--json"], /are options of doctor/],
  ];
  for (const [args, message] of wrong) {
    const { status, stderr, stdout } = faultline(args);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, message);
    assert.match(stderr, /Usage: faultline COMMAND/);
  }
});

test("faultline --help and --version exit with 0", () => {
  assert.match(faultline(["--help"]).stdout, /^Usage: faultline COMMAND/);
  assert.deepEqual(faultline(["--version"]).stdout, `${version}\n`);
  assert.equal(faultline(["--help"]).status, 0);
});

test("faultline self-test makes the faults that it is told", () => {
  const { status, stdout } = faultline(["self-test", "null_read"]);
  assert.equal(status, 0);
  const lines = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines, [
    { kind: "null_read", begins: true },
    { kind: "null_read", passed: true, what: "SIGSEGV SEGV_MAPERR" },
  ]);
  assert.equal(faultline(["self-test", "null_raed"]).status, 2);
});
