/**
 * Sends stored crash reports to a collector.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import { FaultlineError } from "./faultline_error.ts";
import {
  claimReport,
  dropOldMarks,
  folderPath,
  readMarks,
  readReportFile,
  type SentMark,
  type SpooledReport,
  spooledReports,
} from "./report_spool.ts";
import { addressText, type Answer, fileFields, uploadReport } from "./report_upload.ts";
import { readStoredReport, type StoredReport } from "./stored_report.ts";

/** How reports are sent. */
export interface SendOptions {
  /** Ends it: what was accepted until then is marked. */
  readonly signal?: AbortSignal;
  /** Reports of one signature that are sent within an hour; the others wait. Default 10. */
  readonly maxPerSignature?: number;
  /** Fields for the collector beside the report's own, such as `{ prod: "myapp", ver: "1.2" }`. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What became of the reports of a folder. */
export interface SendOutcome {
  readonly sent: number;
  /** Those that wait because too many of their signature were sent. */
  readonly heldBack: number;
  /** Those without a minidump, which no collector takes. */
  readonly withoutDump: number;
  /** Those that another program sends at the same time. */
  readonly elsewhere: number;
}

const what = "send crash reports";
const windowMs = 60 * 60_000;
const perSignature = 10;
const unknownSignature = "unknown";
const annotationName = /^[\w.:[\]-]{1,64}$/;

function checkTarget(to: unknown): asserts to is URL {
  const isUrl = to instanceof URL && /^https?:$/.test(to.protocol);
  if (isUrl && to.username === "" && to.password === "") return;
  // A password must not get into a log.
  const found = to instanceof URL ? `${to.protocol}//${to.host}${to.pathname}` : describeValue(to);
  throw new TypeError(
    `Cannot ${what} as the collector must be an http or https URL without a password: current ` +
      `value is ${found}`,
  );
}

function checkOptions({ maxPerSignature, annotations, signal }: SendOptions): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TypeError(
      `Cannot ${what} as signal must be an AbortSignal: current value is ${describeValue(signal)}`,
    );
  }
  const isCount = maxPerSignature === undefined ||
    (Number.isSafeInteger(maxPerSignature) && maxPerSignature >= 1);
  if (!isCount) {
    throw new RangeError(
      `Cannot ${what} as maxPerSignature must be an integer of at least 1: current value is ` +
        describeValue(maxPerSignature),
    );
  }
  const files: readonly string[] = Object.values(fileFields);
  for (const [name, value] of Object.entries(annotations ?? {})) {
    if (annotationName.test(name) && !files.includes(name) && typeof value === "string") continue;
    throw new TypeError(
      `Cannot ${what} as annotations must be text by names of letters, digits and _.:[]-: ` +
        `current value is ${describeValue(value)} by the name ${describeValue(name)}`,
    );
  }
}

/** Refuses what cannot be sent to, or with. */
export function checkSend(to: unknown, options: SendOptions): asserts to is URL {
  checkTarget(to);
  checkOptions(options);
}

/** What ID.json says; null when it is missing or damaged: the dump is sent all the same. */
async function storedOf(report: SpooledReport): Promise<StoredReport | null> {
  if (report.json === null) return null;
  const bytes = await readReportFile(what, report.json);
  try {
    return readStoredReport(new TextDecoder().decode(bytes));
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}

const tagMax = 200;

/** The form's fields: Crashpad's by their names, and Sentry's event attributes as JSON. */
function annotationsOf(
  id: string,
  stored: StoredReport | null,
  own: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  if (stored === null) return { guid: id, ...own };
  const { signature, time, reason, info: { type, signal, code } } = stored;
  const known = { type, signal: signal ?? "", code, reason };
  const tags = Object.fromEntries(
    Object.entries({ ...known, ...own }).filter(([name, value]) =>
      /^[\w.:-]{1,32}$/.test(name) && value !== "" && value.length <= tagMax
    ),
  );
  const level = reason === "crash" ? "fatal" : "info";
  const sentry = JSON.stringify({ level, fingerprint: [signature], tags });
  return { guid: id, signature, time, ...known, sentry, ...own };
}

/** How many reports of each signature were accepted within the window. */
function countRecent(marks: readonly SentMark[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { signature, time } of marks) {
    const age = Date.now() - Date.parse(time);
    if (!(age < windowMs)) continue;
    counts.set(signature, (counts.get(signature) ?? 0) + 1);
  }
  return counts;
}

/** What stops the whole run; null for an answer about one report. */
function stopOf({ status, retryAfter }: Answer, to: URL, sent: number): FaultlineError | null {
  const where = addressText(to);
  const done = `${sent} were accepted before`;
  if (status === 429 || status >= 500) {
    const when = retryAfter === null ? "" : `, Retry-After ${retryAfter}`;
    return new FaultlineError(
      "COLLECTOR_BUSY",
      `Cannot ${what} as ${where} answered ${status}${when}; ${done}: try again later`,
    );
  }
  if ([401, 403, 404, 405].includes(status) || (status >= 300 && status < 400)) {
    return new FaultlineError(
      "COLLECTOR_REFUSED",
      `Cannot ${what} as ${where} answered ${status}; ${done}: check the address and its key`,
    );
  }
  return null;
}

/** Sends one report. */
async function upload(
  report: SpooledReport & { readonly dump: string },
  stored: StoredReport | null,
  to: URL,
  { annotations = {}, signal }: SendOptions,
): Promise<Answer> {
  const read = (path: string | null) => path === null ? null : readReportFile(what, path);
  return await uploadReport(
    {
      id: report.id,
      dump: await readReportFile(what, report.dump),
      json: await read(report.json),
      text: await read(report.text),
      annotations: annotationsOf(report.id, stored, annotations),
    },
    to,
    signal,
  );
}

/** One run over a folder. */
class Run {
  sent = 0;
  heldBack = 0;
  withoutDump = 0;
  elsewhere = 0;
  readonly refused: string[] = [];
  readonly #folder: string;
  readonly #to: URL;
  readonly #options: SendOptions;
  readonly #recent: Map<string, number>;

  constructor(folder: string, to: URL, options: SendOptions, marks: readonly SentMark[]) {
    this.#folder = folder;
    this.#to = to;
    this.#options = options;
    this.#recent = countRecent(marks);
  }

  async take(report: SpooledReport): Promise<void> {
    const { dump } = report;
    if (dump === null) {
      this.withoutDump += 1;
      return;
    }
    const stored = await storedOf(report);
    const signature = stored?.signature ?? unknownSignature;
    const recent = this.#recent.get(signature) ?? 0;
    if (recent >= (this.#options.maxPerSignature ?? perSignature)) {
      this.heldBack += 1;
      return;
    }
    if (await this.#send({ ...report, dump }, stored, signature)) {
      this.#recent.set(signature, recent + 1);
      this.sent += 1;
    }
  }

  /** Whether the collector accepted it. */
  async #send(
    report: SpooledReport & { readonly dump: string },
    stored: StoredReport | null,
    signature: string,
  ): Promise<boolean> {
    this.#options.signal?.throwIfAborted();
    const claim = await claimReport(what, this.#folder, report);
    if (claim === null) {
      this.elsewhere += 1;
      return false;
    }
    let isMarked = false;
    try {
      const answer = await upload(report, stored, this.#to, this.#options);
      const { status, text } = answer;
      if (status < 200 || status > 299) {
        const stop = stopOf(answer, this.#to, this.sent);
        if (stop !== null) throw stop;
        this.refused.push(`${report.id} (${status})`);
        return false;
      }
      const time = new Date().toISOString();
      const to = addressText(this.#to);
      await claim.accepted({ version: 1, time, to, status, answer: text, signature });
      isMarked = true;
      return true;
    } finally {
      if (!isMarked) await claim.release();
    }
  }
}

/** Sends what was not sent yet, and tells what became of it. */
export async function sendAll(
  directory: string | URL,
  to: URL,
  options: SendOptions = {},
): Promise<SendOutcome> {
  const folder = folderPath(what, directory);
  checkSend(to, options);
  options.signal?.throwIfAborted();
  const reports = await spooledReports(what, folder);
  const run = new Run(folder, to, options, await readMarks(what, folder));
  for (const report of reports.filter(({ isSent }) => !isSent)) await run.take(report);
  if (run.sent > 0) await dropOldMarks(what, folder, windowMs);
  const { sent, heldBack, withoutDump, elsewhere, refused } = run;
  if (refused.length > 0) {
    throw new FaultlineError(
      "COLLECTOR_REFUSED",
      `Cannot ${what} as ${addressText(to)} refused ${refused.join(", ")}; ${sent} others were ` +
        "accepted: remove what it will never take",
    );
  }
  return { sent, heldBack, withoutDump, elsewhere };
}

/**
 * Sends the crash reports of a folder to a collector: the minidump of each, with its JSON and its
 * text, as Sentry's minidump endpoint and Crashpad's collectors take them. What the collector
 * accepts is marked by a file ID.sent and never sent again, also by programs that run at the same
 * time.
 *
 * Of one signature no more than ten are sent within an hour; the others wait for a later call.
 * Redirections are not followed. Deno needs `--allow-read` and `--allow-write` for the folder and
 * `--allow-net` for the collector.
 *
 * @param directory The folder that `installCrashReporter` was given.
 * @param to Such as `https://HOST/api/PROJECT/minidump/?sentry_key=KEY`.
 * @returns How many reports the collector accepted.
 * @throws {FaultlineError} PERMISSION_DENIED, REPORTS_UNUSABLE, COLLECTOR_UNREACHABLE,
 * COLLECTOR_REFUSED or COLLECTOR_BUSY. What was accepted before is marked.
 * @throws {TypeError} If `to` is no http or https URL.
 *
 * @example Usage
 * ```ts
 * import { mkdtempSync, writeFileSync } from "node:fs";
 * import { createServer } from "node:http";
 * import type { AddressInfo } from "node:net";
 * import { tmpdir } from "node:os";
 * import { catchException, dlopen, sendReports } from "faultline";
 *
 * const directory = mkdtempSync(`${tmpdir()}/crashes-`);
 * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
 * const result = catchException(() => libc.symbols.strlen(16n));
 * if (!result.ok) writeFileSync(`${directory}/first.dmp`, result.error.toMinidump());
 *
 * const collector = createServer((request, response) => {
 *   request.resume().on("end", () => response.end("accepted"));
 * });
 * await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
 * const { port } = collector.address() as AddressInfo;
 * const to = new URL(`http://127.0.0.1:${port}/api/1/minidump/`);
 * console.log(await sendReports(directory, to)); // 1
 * console.log(await sendReports(directory, to)); // 0
 * collector.close();
 * ```
 */
export async function sendReports(
  directory: string | URL,
  to: URL,
  options: SendOptions = {},
): Promise<number> {
  return (await sendAll(directory, to, options)).sent;
}
