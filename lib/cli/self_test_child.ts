/**
 * The self-test in a process of its own, since a fault that is not caught ends it: the side of the
 * child, which tells what it does line by line, and the side of the parent.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { runtime } from "../native.ts";
import { selfTest, type SelfTestKind, selfTestKinds } from "../self_test.ts";

/** What a kind of fault gave in the child. */
export interface SelfTestOutcome {
  readonly kind: SelfTestKind;
  readonly passed: boolean;
  /** What was caught, or what happened instead. */
  readonly what: string;
}

const timeoutMs = 30_000;

function isKind(word: string): word is SelfTestKind {
  return (selfTestKinds as readonly string[]).includes(word);
}

/** The child's side: makes the faults and prints two lines for each. Gives the exit code. */
export function reportSelfTest(words: readonly string[]): number {
  const wrong = words.find((word) => !isKind(word));
  if (wrong !== undefined) {
    console.error(`Cannot make the fault "${wrong}": known are ${selfTestKinds.join(", ")}`);
    return 2;
  }
  let code = 0;
  for (const kind of words.filter(isKind)) {
    console.log(JSON.stringify({ kind, begins: true }));
    const [{ passed, expected, error }] = selfTest([kind]) as [ReturnType<typeof selfTest>[0]];
    const what = error === null
      ? "nothing was thrown"
      : `${error.info.signal} ${error.code}${passed ? "" : `, but ${expected} was expected`}`;
    if (!passed) code = 1;
    console.log(JSON.stringify({ kind, passed, what }));
  }
  return code;
}

interface Line {
  readonly kind: SelfTestKind;
  readonly begins?: boolean;
  readonly passed?: boolean;
  readonly what?: string;
}

/** What the child printed; a line that is cut, as by its death, is left out. */
function parseLines(output: string): Line[] {
  return output.split("\n").flatMap((text) => {
    if (!text.startsWith("{") || !text.endsWith("}")) return [];
    return [JSON.parse(text) as Line];
  });
}

/** Runs one child; gives the outcomes of the kinds that it came to. */
function runChild(program: string, kinds: readonly SelfTestKind[]): SelfTestOutcome[] {
  const { moduleArguments, permission } = runtime();
  const args = [...moduleArguments(program), "self-test", ...kinds];
  // The runtime's own report of a crash is not to be sent anywhere.
  const own = { BUN_ENABLE_CRASH_REPORTING: "0", DO_NOT_TRACK: "1", NO_COLOR: "1" };
  const env = permission("env") === false ? own : { ...process.env, ...own };
  const result = spawnSync(process.execPath, args, { encoding: "utf8", env, timeout: timeoutMs });
  if (result.error !== undefined && result.pid === 0) throw result.error;
  const lines = parseLines(result.stdout);
  const outcomes = lines.flatMap(({ kind, passed, what }) =>
    passed === undefined ? [] : [{ kind, passed, what: what! }]
  );
  const open = lines.findLast(({ begins }) => begins === true)?.kind ?? kinds[0]!;
  if (outcomes.some(({ kind }) => kind === open)) return outcomes;
  const said = result.stderr.trim().split("\n").at(-1) ?? "";
  const how = result.signal === null ? `ended with ${result.status}` : `died of ${result.signal}`;
  const what = `the process ${how}${said === "" ? "" : `: ${said}`}`;
  return [...outcomes, { kind: open, passed: false, what }];
}

/**
 * The parent's side: makes every kind of fault in children, a new one after each that dies.
 *
 * @param program The URL of the command's module.
 * @throws {Error} If no child can be started.
 */
export function selfTestInChild(program: string): SelfTestOutcome[] {
  const outcomes: SelfTestOutcome[] = [];
  let rest = selfTestKinds;
  while (rest.length > 0) {
    outcomes.push(...runChild(program, rest));
    rest = selfTestKinds.slice(outcomes.length);
  }
  return outcomes;
}
