/**
 * `faultline report list|show|send`: the crash reports that a crash reporter left in a folder.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { FaultlineError } from "../faultline_error.ts";
import { folderPath, readReportFile, type SpooledReport, spooledReports } from "../report_spool.ts";
import { checkSend, sendAll, type SendOptions } from "../send_reports.ts";
import { readStoredReport, type StoredReport, storedSvg, storedText } from "../stored_report.ts";
import { harmless, line, renderLines, type StyledLine } from "../styled_text.ts";
import { textOptions } from "../terminal.ts";

/** What the command `faultline` says about it. */
export const reportUsage = `Usage: faultline report COMMAND DIRECTORY

  faultline report list DIRECTORY [--json]
      The reports of a crash reporter's directory, the oldest first.
  faultline report show DIRECTORY [ID] [--json | --svg]
      One report, by the beginning of its name; the newest without one. --json prints the stored
      object, --svg a picture of the address space.
  faultline report send DIRECTORY --to URL [--annotation NAME=VALUE]... [--max-per-signature N]
      Sends what was not sent yet to a collector that takes minidumps (Sentry, Crashpad's).
`;

const usageCode = 2;
const what = "use crash reports";

/** The command line makes no sense. */
class UsageError extends Error {
  override readonly name = "UsageError";
}

function parseWords(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        json: { type: "boolean" },
        svg: { type: "boolean" },
        to: { type: "string" },
        annotation: { type: "string", multiple: true },
        "max-per-signature": { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message);
    throw error;
  }
}

type Words = ReturnType<typeof parseWords>;
type OptionName = keyof Words["values"];

/** Options belong to some commands only. */
function allow({ values }: Words, command: string, ...names: readonly OptionName[]): void {
  for (const name of Object.keys(values) as OptionName[]) {
    if (!names.includes(name)) throw new UsageError(`--${name} is no option of ${command}`);
  }
}

/** What the API refuses, the command line was wrong about. */
function checkSending(to: URL, options: SendOptions): void {
  try {
    checkSend(to, options);
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new UsageError(error.message);
    }
    throw error;
  }
}

/** The folder, and what may follow it. */
function places({ positionals }: Words, most: number): readonly [string, ...string[]] {
  const [, folder, ...rest] = positionals;
  if (folder === undefined) throw new UsageError("it names no directory");
  if (rest.length > most) throw new UsageError(`"${rest[most]}" is one word too many`);
  return [folderPath(what, folder), ...rest];
}

/** What a list says about one report. */
interface Listed {
  readonly id: string;
  readonly time: string | null;
  readonly signature: string | null;
  readonly reason: string | null;
  readonly sent: boolean;
  readonly files: readonly string[];
  /** Why ID.json cannot be read; null when it can. */
  readonly problem: string | null;
}

async function listed(report: SpooledReport): Promise<Listed> {
  const { id, json, dump, text, isSent: sent } = report;
  const files = [json, dump, text].filter((path) => path !== null);
  const unknown = { id, time: null, signature: null, reason: null, sent, files };
  if (json === null) return { ...unknown, problem: "it has no JSON" };
  try {
    const bytes = await readReportFile(what, json);
    const { time, signature, reason } = readStoredReport(new TextDecoder().decode(bytes));
    return { ...unknown, time, signature, reason, problem: null };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return { ...unknown, problem: error.message };
  }
}

function listLine({ id, time, signature, sent, problem }: Listed): StyledLine {
  const when = time === null ? "" : `${time.slice(0, 19).replace("T", " ")}  `;
  const mark = sent ? "sent  " : "      ";
  const said = signature === null ? ["yellow", problem ?? ""] as const : harmless(signature);
  return line(4, ["dim", mark], when, ["bold", id], "  ", said);
}

async function list(words: Words): Promise<number> {
  allow(words, "report list", "json");
  const [folder] = places(words, 0);
  const reports = await Promise.all((await spooledReports(what, folder)).map(listed));
  if (words.values.json === true) {
    console.log(JSON.stringify(reports, null, 2));
  } else if (reports.length === 0) {
    console.log(`There are no crash reports in ${folder}`);
  } else {
    console.log(renderLines(reports.map(listLine), textOptions()));
  }
  return 0;
}

/** The report that `wanted` begins the name of; the newest without one. */
function choose(
  reports: readonly SpooledReport[],
  folder: string,
  wanted: string | undefined,
): SpooledReport {
  const found = wanted === undefined
    ? reports.slice(-1)
    : reports.filter(({ id }) => id === wanted || id.startsWith(wanted));
  const exact = found.find(({ id }) => id === wanted) ?? (found.length === 1 ? found[0] : null);
  if (exact !== undefined && exact !== null) return exact;
  const name = wanted === undefined ? "a crash report" : `the crash report ${wanted}`;
  const reason = found.length === 0 ? "there is none" : `${found.length} names begin like that`;
  throw new FaultlineError(
    "REPORTS_UNUSABLE",
    `Cannot show ${name} of ${folder} as ${reason}: see "faultline report list ${folder}"`,
  );
}

async function textOf(path: string): Promise<string> {
  return new TextDecoder().decode(await readReportFile(what, path));
}

/** The report that a file holds; one of another shape is something that users may meet. */
function parseReport(text: string, path: string): StoredReport {
  try {
    return readStoredReport(text);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new FaultlineError("REPORTS_UNUSABLE", `${path}: ${error.message}`, { cause: error });
  }
}

async function show(words: Words): Promise<number> {
  allow(words, "report show", "json", "svg");
  const { json: wantsJson = false, svg: wantsSvg = false } = words.values;
  if (wantsJson && wantsSvg) throw new UsageError("--json and --svg exclude each other");
  const [folder, wanted] = places(words, 1);
  const report = choose(await spooledReports(what, folder), folder, wanted);
  if (report.json !== null) {
    const text = await textOf(report.json);
    const stored = parseReport(text, report.json);
    if (wantsJson) console.log(text.trimEnd());
    else if (wantsSvg) console.log(storedSvg(stored).trimEnd());
    else console.log(storedText(stored, textOptions()));
    return 0;
  }
  if (report.text === null || wantsJson || wantsSvg) {
    throw new FaultlineError(
      "REPORTS_UNUSABLE",
      `Cannot show the crash report ${report.id} as it has no JSON: give its minidump ` +
        "to minidump-stackwalk or lldb",
    );
  }
  console.log((await textOf(report.text)).trimEnd());
  return 0;
}

function annotationsOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new UsageError(`--annotation must be NAME=VALUE, not "${text}"`);
    return [text.slice(0, at), text.slice(at + 1)];
  }));
}

async function send(words: Words): Promise<number> {
  allow(words, "report send", "to", "annotation", "max-per-signature");
  const { to, annotation = [], "max-per-signature": limit } = words.values;
  const [folder] = places(words, 0);
  if (to === undefined || !URL.canParse(to)) {
    throw new UsageError(`--to must be the collector's URL${to === undefined ? "" : `: ${to}`}`);
  }
  const target = new URL(to);
  const options = {
    annotations: annotationsOf(annotation),
    ...(limit === undefined ? {} : { maxPerSignature: Number(limit) }),
  };
  checkSending(target, options);
  const outcome = await sendAll(folder, target, options);
  const parts = [
    [outcome.sent, "sent"],
    [outcome.heldBack, "held back, as many of their signature were sent within the hour"],
    [outcome.withoutDump, "without a minidump"],
    [outcome.elsewhere, "being sent by another program"],
  ] as const;
  const shown = parts.filter(([count, name]) => count > 0 || name === "sent");
  console.log(shown.map(([count, name]) => `${count} ${name}`).join("; "));
  return 0;
}

async function run(args: string[]): Promise<number> {
  const words = parseWords(args);
  const [command] = words.positionals;
  if (words.values.help === true) {
    console.log(reportUsage);
    return 0;
  }
  if (command === "list") return await list(words);
  if (command === "show") return await show(words);
  if (command === "send") return await send(words);
  const why = command === undefined ? "it names no command" : `there is no command "${command}"`;
  throw new UsageError(why);
}

/**
 * Runs the command that `args`, the words behind `report`, name; gives the exit code: 0, 1 for what
 * could not be done, 2 for a command line that makes no sense.
 */
export async function report(args: string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(
        `Cannot run faultline report as the command line is wrong: ${error.message}\n\n` +
          reportUsage,
      );
      return usageCode;
    }
    if (!(error instanceof FaultlineError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}
