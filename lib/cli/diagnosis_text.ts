/**
 * The diagnosis of `faultline doctor` as lines of text.
 *
 * @module
 */
import { line, type Span, type StyledLine } from "../styled_text.ts";
import type { Attempt, Diagnosis, MachineFacts } from "./diagnosis.ts";
import type { SelfTestOutcome } from "./self_test_child.ts";

/** Works; works with a limit that is worth knowing; does not; was not found out. */
type Mark = "good" | "limited" | "bad" | "unknown";

const marks: Readonly<Record<Mark, Span>> = {
  good: ["success", "✓"],
  limited: ["yellow", "!"],
  bad: ["alarm", "✗"],
  unknown: ["dim", "?"],
};

const labelWidth = 16;

function entry(mark: Mark, label: string, text: string): StyledLine[] {
  const hang = labelWidth + 2;
  const [first = "", ...rest] = text.split("\n");
  return [
    line(hang, marks[mark], " ", ["bold", label.padEnd(labelWidth)], first),
    ...rest.map((one) => line(hang + 2, " ".repeat(hang), one.trimStart())),
  ];
}

function platformEntry({ machine, platform }: Diagnosis): StyledLine[] {
  const { name, tested } = platform;
  const libc = machine === null
    ? ""
    : `, ${machine.glibc === null ? "no glibc" : `glibc ${machine.glibc}`}`;
  const kernel = machine === null ? "" : `, kernel ${machine.kernel}`;
  const how = tested === null
    ? "the tests of this project never ran on it"
    : `the tests of this project ran on it ${tested}`;
  const mark = tested === null ? "limited" : "good";
  return entry(mark, "platform", `${name}${kernel}${libc}; ${how}`);
}

function libraryEntries({ library }: Diagnosis): StyledLine[] {
  if ("problem" in library) return entry("bad", "library", library.problem);
  const { abiHash, origin, path, symbolsProblem } = library;
  const how = {
    option: "option libraryPath",
    environment: "environment variable FAULTLINE_LIBRARY",
    package: "file of the package",
    bundle: "copy in this program",
    embedded: "copy in the package's modules",
  }[origin];
  return [
    ...entry("good", "library", `${path} (${how}), ABI 0x${abiHash.toString(16)}`),
    ...symbolsProblem === null
      ? entry("good", "symbols", "functions, files and lines of native code can be named")
      : entry("limited", "symbols", symbolsProblem),
  ];
}

function signalEntries({ alternateStack, signals }: Diagnosis): StyledLine[] {
  if (signals === null) return [];
  const owners = Object.entries(signals).map(([name, { owner }]) => `${name} ${owner}`);
  const foreign = Object.values(signals).some(({ owner }) => owner === "other");
  const stack = alternateStack === null
    ? entry("limited", "alternate stack", "none: a stack overflow cannot be caught on this thread")
    : entry(
      "good",
      "alternate stack",
      `${alternateStack.byteLength / 1024} KiB at 0x${alternateStack.base.toString(16)}`,
    );
  return [...entry(foreign ? "bad" : "good", "signal owners", owners.join(", ")), ...stack];
}

const scopes: Readonly<Record<number, string>> = {
  0: "any process of the same user (ptrace_scope 0)",
  1: "own children only, unless the target allows it (ptrace_scope 1)",
  2: "with CAP_SYS_PTRACE only (ptrace_scope 2)",
  3: "nothing (ptrace_scope 3)",
};

function tried({ reason, works }: Attempt): string {
  return works ? "works" : `refused (${reason})`;
}

function machineEntries(machine: MachineFacts | null): StyledLine[] {
  if (machine === null) return [];
  const { memoryFile, perf, ptrace, userfaultfd } = machine;
  const scope = ptrace.scope === null
    ? "any process of the same user (no Yama)"
    : scopes[ptrace.scope] ?? `ptrace_scope ${ptrace.scope}`;
  const traced = ptrace.tracer === null ? "" : `; process ${ptrace.tracer} traces this one`;
  const paranoid = perf.paranoid === null ? "" : `, perf_event_paranoid ${perf.paranoid}`;
  const scopeIsWide = (ptrace.scope ?? 0) < 2 && ptrace.tracer === null;
  const { full, userModeOnly } = userfaultfd;
  return [
    ...entry(scopeIsWide ? "good" : "limited", "ptrace", `may trace ${scope}${traced}`),
    ...entry(
      perf.breakpoint.works ? "good" : "limited",
      "perf",
      `hardware watchpoint ${tried(perf.breakpoint)}${paranoid}`,
    ),
    ...entry(
      full.works ? "good" : "limited",
      "userfaultfd",
      `${tried(full)}; for user mode only: ${tried(userModeOnly)}`,
    ),
    ...entry(memoryFile.works ? "good" : "limited", "memory file", `memfd ${tried(memoryFile)}`),
  ];
}

function permissionEntry({ permissions }: Diagnosis): StyledLine[] {
  if (permissions === null) return entry("good", "permissions", "this runtime has none");
  const parts = Object.entries(permissions).map(([name, granted]) => granted ? name : `no ${name}`);
  const mark = permissions.ffi ? "good" : "limited";
  const limit = permissions.ffi ? "" : "; callbacks need --allow-ffi without a list of paths";
  return entry(mark, "permissions", `${parts.join(", ")}${limit}`);
}

function selfTestEntries({ selfTest }: Diagnosis): StyledLine[] {
  if (selfTest === null) return entry("unknown", "self-test", "not made");
  if ("problem" in selfTest) {
    return entry("unknown", "self-test", `no child process could be started: ${selfTest.problem}`);
  }
  const outcomes: readonly SelfTestOutcome[] = selfTest;
  const failed = outcomes.filter(({ passed }) => !passed);
  const count = `${outcomes.length - failed.length} of ${outcomes.length} kinds of fault caught`;
  const lines = outcomes.map(({ kind, passed, what }) =>
    line(
      labelWidth + 4,
      " ".repeat(labelWidth + 2),
      marks[passed ? "good" : "bad"],
      ` ${kind.replaceAll("_", " ").padEnd(24)}`,
      ["dim", what],
    )
  );
  return [...entry(failed.length === 0 ? "good" : "bad", "self-test", count), ...lines];
}

function capabilityEntries({ capabilities }: Diagnosis): StyledLine[] {
  const all = Object.entries(capabilities);
  const names = (wanted: boolean): string =>
    all.filter(([, { available }]) => available === wanted).map(([name]) => name).join(", ");
  const missing = names(false);
  return [
    ...entry("good", "can", names(true) || "nothing"),
    ...missing === "" ? [] : entry("limited", "cannot", missing),
  ];
}

function summary({ problems, selfTest }: Diagnosis): Span {
  if (problems.length > 0) {
    return ["alarm", `${problems.length} ${problems.length === 1 ? "problem" : "problems"} found.`];
  }
  if (selfTest === null || "problem" in selfTest) {
    return ["yellow", "No problem was found, but the self-test was not made."];
  }
  return ["success", "Nothing stands in the way of catching hardware exceptions."];
}

/** The lines of a diagnosis. */
export function diagnosisLines(diagnosis: Diagnosis): StyledLine[] {
  const { machine, runtime, version } = diagnosis;
  return [
    line(0, ["bold", `Faultline ${version}`]),
    line(0),
    ...entry("good", "runtime", `${runtime.name} ${runtime.version}`),
    ...platformEntry(diagnosis),
    ...libraryEntries(diagnosis),
    ...signalEntries(diagnosis),
    ...machineEntries(machine),
    ...permissionEntry(diagnosis),
    ...capabilityEntries(diagnosis),
    ...selfTestEntries(diagnosis),
    line(0),
    line(0, summary(diagnosis)),
  ];
}
