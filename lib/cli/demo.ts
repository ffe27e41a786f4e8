/**
 * The demonstration: five crashes in native code, caught, shown, and survived.
 *
 * The faults are real. Four are in the system's C library, where a wrong argument is enough; one is
 * an instruction of our own library that no CPU runs. Where no C library is found, the self-test
 * makes all of them.
 *
 * @module
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { selfTestKind } from "../abi.ts";
import { dlopen } from "../dlopen.ts";
import { FaultlineError } from "../faultline_error.ts";
import { HardwareException } from "../hardware_exception.ts";
import { machine } from "../machine.ts";
import { native } from "../native.ts";
import type { SelfTestKind } from "../self_test.ts";
import type { SignalName } from "../signal_table.ts";
import { line, renderLines, type Span, type StyledLine } from "../styled_text.ts";
import { textOptions } from "../terminal.ts";
import { crashBlock, heading } from "./crash_block.ts";

const file = import.meta.url.startsWith("file:") ? fileURLToPath(import.meta.url) : import.meta.url;
const widthMax = 100;
let color = false;
let width = widthMax;

function print(...lines: readonly StyledLine[]): void {
  console.log(renderLines(lines, { color, width }));
}

const cpu = machine.architecture === "x64" ? "x86_64" : "aarch64";
const cLibraryNames: readonly string[] = ["libc.so.6", `libc.musl-${cpu}.so.1`];
const extendedSyntax = 1;
const roundsMax = 10_000;

/** Catches abort() besides what is caught anyway. */
const signals: readonly SignalName[] = [
  "SIGSEGV",
  "SIGBUS",
  "SIGFPE",
  "SIGILL",
  "SIGTRAP",
  "SIGABRT",
];

function openCLibrary(name: string) {
  return dlopen(name, {
    strlen: { parameters: ["buffer"], result: "usize" },
    div: { parameters: ["i32", "i32"], result: "i64" },
    assert: { name: "__assert_fail", parameters: ["buffer", "buffer", "u32", "buffer"] },
    regcomp: { parameters: ["buffer", "buffer", "i32"], result: "i32" },
    regexec: { parameters: ["buffer", "buffer", "usize", "address", "i32"], result: "i32" },
  }, { signals });
}

function openFaultline() {
  const test = { name: "fl_self_test", parameters: ["u32"], result: "i32" } as const;
  return dlopen(native().path, { selfTest: test }, { signals });
}

type CLibrary = ReturnType<typeof openCLibrary>["symbols"];
type Faultline = ReturnType<typeof openFaultline>["symbols"];

/** A crash: what makes it, and what the self-test makes where that is not there. */
interface Scene {
  readonly title: string;
  readonly crash: (libc: CLibrary, faultline: Faultline) => void;
  readonly selfTest: SelfTestKind;
  /** Why it may return without a crash; null when it cannot. */
  readonly mayReturn: string | null;
  readonly note: string | null;
}

type Outcome = "caught" | "missed" | "skipped";

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

// Bodies are statements, not expressions: a call in return position would replace its own frame in
// one of the runtimes, and the line would be missing from the stack.
const scenes: readonly Scene[] = [
  {
    title: "null pointer",
    crash: (libc) => {
      libc.strlen(null);
    },
    selfTest: "null_read",
    mayReturn: null,
    note: null,
  },
  {
    title: "division by zero",
    crash: (libc) => {
      libc.div(1, 0);
    },
    selfTest: "integer_division",
    mayReturn: machine.divisionTraps ? null : "div() returned: on arm64 it gives 0, and no trap",
    note: null,
  },
  {
    title: "illegal instruction",
    crash: (_libc, faultline) => {
      faultline.selfTest(selfTestKind.illegal_instruction);
    },
    selfTest: "illegal_instruction",
    mayReturn: null,
    note: null,
  },
  {
    title: "failed assert()",
    crash: (libc) => {
      libc.assert(text("width > 0"), text("image.c"), 42, text("scale"));
    },
    selfTest: "abort",
    mayReturn: null,
    note: "the C library wrote its own message to stderr first",
  },
  {
    title: "stack overflow",
    crash: (libc) => {
      libc.regcomp(new Uint8Array(256), text("(".repeat(200_000)), extendedSyntax);
    },
    selfTest: "stack_overflow",
    mayReturn: "regcomp() returned: the stack of this process has no limit, or a vast one",
    note: null,
  },
];

/** Runs `crash` and gives what it threw; null when it returned. */
function caught(crash: () => void): HardwareException | null {
  try {
    crash();
  } catch (error) {
    if (error instanceof HardwareException) return error;
    throw error;
  }
  return null;
}

/** Makes one crash and prints its block. */
function play(scene: Scene, index: number, libc: CLibrary | null, faultline: Faultline): Outcome {
  const error = caught(() => {
    if (libc !== null) scene.crash(libc, faultline);
    else faultline.selfTest(selfTestKind[scene.selfTest]);
  });
  // What the C library wrote about it stands apart from what follows.
  if (error?.info.type === "abort" && process.stderr.isTTY) console.error();
  if (error === null) {
    const skipped = scene.mayReturn !== null &&
      (libc !== null || scene.selfTest !== "stack_overflow");
    const outcome = skipped ? "skipped" : "NOT CAUGHT";
    const why = skipped ? scene.mayReturn : "it returned as if nothing had happened";
    print(heading(` ${index + 1} `, scene.title, [outcome], width), line(4, `    ${why}`), line(0));
    return skipped ? "skipped" : "missed";
  }
  const lines = crashBlock({
    number: index + 1,
    title: scene.title,
    error,
    file,
    note: libc === null ? "made by the self-test: no C library was found" : scene.note,
  }, width);
  print(...lines, line(0));
  return "caught";
}

/** Calls the crashed functions again. Gives a line and whether the results were right. */
function callAgain(libc: CLibrary): readonly [string, boolean] {
  const length = libc.strlen(text("Faultline"));
  const quotient = libc.div(7, 2);
  const pattern = new Uint8Array(256);
  const compiled = libc.regcomp(pattern, text("(se)+gfault"), extendedSyntax);
  const matched = libc.regexec(pattern, text("a sesegfault"), 0n, null, 0);
  const right = length === 9n && quotient === (1n << 32n | 3n) && compiled === 0 && matched === 0;
  const parts = [
    `strlen("Faultline") = ${length}`,
    `div(7, 2) = ${BigInt.asIntN(32, quotient)} rem ${quotient >> 32n}`,
    `regexec ${matched === 0 ? "matches" : "does not match"}`,
  ];
  return [parts.join("   "), right];
}

/** Crashes many times in a row. Gives a line and whether every one was caught. */
function crashAgain(crash: () => void, what: string): readonly [string, boolean] {
  let count = 0;
  const start = performance.now();
  for (let round = 0; round < roundsMax; round++) {
    try {
      crash();
    } catch (error) {
      if (error instanceof HardwareException) count += 1;
    }
  }
  const each = (performance.now() - start) * 1000 / roundsMax;
  const all = count === roundsMax;
  const number = roundsMax.toLocaleString("en");
  const caughtText = all ? "all" : `only ${count}`;
  return [`${number} more ${what}: ${caughtText} caught, ${each.toFixed(1)} µs each`, all];
}

/** Shows that the same libraries still work. */
function goOn(libc: CLibrary | null, faultline: Faultline): boolean {
  const status = faultline.selfTest(selfTestKind.none);
  const checks = libc === null
    ? [crashAgain(() => {
      faultline.selfTest(selfTestKind.null_read);
    }, "null reads")]
    : [
      callAgain(libc),
      crashAgain(() => {
        libc.strlen(null);
      }, "strlen(NULL)"),
    ];
  const right = status === 0 && checks.every(([, passed]) => passed);
  const mark: Span = right ? ["goodMark", " ✓ "] : ["badMark", " ✗ "];
  const lines = checks.map(([text]) => line(4, `    ${text}`));
  print(heading(mark, "still running", [`process ${process.pid}`], width), ...lines, line(0));
  return right;
}

/** The first C library that there is, or null. */
function findCLibrary(): ReturnType<typeof openCLibrary> | null {
  for (const name of cLibraryNames) {
    try {
      return openCLibrary(name);
    } catch (error) {
      if (!(error instanceof FaultlineError)) throw error;
    }
  }
  return null;
}

/** Plays the demonstration; gives the exit code. */
export function demo(): number {
  const options = textOptions();
  color = options.color;
  width = Math.min(options.width, widthMax);
  using libc = findCLibrary();
  using faultline = openFaultline();
  const symbols = libc === null ? null : libc.symbols;
  console.log("Five crashes, each of which ends a program. Here try and catch caught them.\n");
  const outcomes = scenes.map((scene, index) => play(scene, index, symbols, faultline.symbols));
  const right = goOn(symbols, faultline.symbols);
  const count = outcomes.filter((outcome) => outcome === "caught").length;
  const made = outcomes.filter((outcome) => outcome !== "skipped").length;
  const passed = right && count === made;
  const summary = `${count} of ${made} crashes caught; calls after them were ` +
    (right ? "right" : "WRONG");
  print(line(0, [passed ? "success" : "alarm", summary]));
  return passed ? 0 : 1;
}
