/**
 * A folder of crash reports: ID.json, ID.dmp and ID.txt as the crash reporter writes them, and
 * ID.sent, which marks what a collector has accepted.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import { FaultlineError } from "./faultline_error.ts";

/** The files of one report. */
export interface SpooledReport {
  readonly id: string;
  readonly json: string | null;
  readonly dump: string | null;
  readonly text: string | null;
  /** Where the mark is, or would be. */
  readonly mark: string;
  readonly isSent: boolean;
}

/** What a mark holds. */
export interface SentMark {
  readonly version: 1;
  /** When it was accepted: ISO 8601, in UTC. */
  readonly time: string;
  /** The collector, without the query, which may hold a key. */
  readonly to: string;
  readonly status: number;
  /** What the collector answered: with many of them, the name that it gave the report. */
  readonly answer: string;
  readonly signature: string;
}

function files(): typeof import("node:fs/promises") {
  return builtin("node:fs/promises");
}

function joined(folder: string, name: string): string {
  return builtin("node:path").join(folder, name);
}

const fileName = /^([0-9A-Za-z][0-9A-Za-z._-]*)\.(json|dmp|txt|sent)$/;

/** The path of a folder that was given as a path or a file URL. */
export function folderPath(what: string, directory: unknown): string {
  if (directory instanceof URL && directory.protocol === "file:") {
    return builtin("node:url").fileURLToPath(directory);
  }
  if (typeof directory === "string" && directory !== "") return directory;
  const found = directory instanceof URL ? directory.href : describeValue(directory);
  throw new TypeError(
    `Cannot ${what} as the directory must be a path or a file URL: current value is ${found}`,
  );
}

/** What a failed file operation is told as: by what stood in the way, and what to do. */
function fileError(
  error: unknown,
  what: string,
  path: string,
  right: "read" | "write",
): FaultlineError {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  if (name === "NotCapable") {
    return new FaultlineError(
      "PERMISSION_DENIED",
      `Cannot ${what} as this program may not ${right} ${path}: run it with ` +
        `--allow-${right}=${path}`,
      { cause: error },
    );
  }
  const reason = code === "ENOENT" ? "does not exist" : `cannot be used (${code ?? message})`;
  return new FaultlineError(
    "REPORTS_UNUSABLE",
    `Cannot ${what} as ${path} ${reason}: give the directory of a crash reporter, which this ` +
      "program may read and write",
    { cause: error },
  );
}

/** The result of a file operation; its failure says what was asked. */
async function attempt<T>(
  what: string,
  path: string,
  right: "read" | "write",
  body: () => Promise<T>,
): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw fileError(error, what, path, right);
  }
}

/**
 * The reports of a folder, oldest first: their names begin with the time.
 *
 * @throws {FaultlineError} PERMISSION_DENIED or REPORTS_UNUSABLE.
 */
export async function spooledReports(
  what: string,
  folder: string,
): Promise<readonly SpooledReport[]> {
  const names = await attempt(what, folder, "read", () => files().readdir(folder));
  const found = new Map<string, Set<string>>();
  for (const name of names) {
    const [, id, ending] = fileName.exec(name) ?? [];
    if (id === undefined || ending === undefined) continue;
    found.set(id, (found.get(id) ?? new Set()).add(ending));
  }
  return [...found].sort(([a], [b]) => a < b ? -1 : 1).flatMap(([id, endings]) => {
    const file = (ending: string): string => joined(folder, `${id}.${ending}`);
    const path = (ending: string): string | null => endings.has(ending) ? file(ending) : null;
    const [json, dump, text] = [path("json"), path("dmp"), path("txt")];
    // A mark alone is left of a report that was removed; `dropOldMarks` takes care of it.
    if (json === null && dump === null && text === null) return [];
    return [{ id, json, dump, text, mark: file("sent"), isSent: endings.has("sent") }];
  });
}

/** The bytes of a report's file. */
export function readReportFile(what: string, path: string): Promise<Uint8Array<ArrayBuffer>> {
  return attempt(what, path, "read", async () => new Uint8Array(await files().readFile(path)));
}

/** What is known of the marks of a folder. One that cannot be read tells nothing. */
export async function readMarks(what: string, folder: string): Promise<readonly SentMark[]> {
  const names = await attempt(what, folder, "read", () => files().readdir(folder));
  const marks: SentMark[] = [];
  for (const name of names) {
    if (fileName.exec(name)?.[2] !== "sent") continue;
    const path = joined(folder, name);
    const text = await attempt(what, path, "read", () => files().readFile(path, "utf8"));
    const mark = parseMark(text);
    if (mark !== null) marks.push(mark);
  }
  return marks;
}

function parseMark(text: string): SentMark | null {
  try {
    const mark = JSON.parse(text) as Partial<SentMark> | null;
    const isMark = typeof mark?.signature === "string" && typeof mark.time === "string";
    return isMark ? mark as SentMark : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null; // Cut off when a disk was full.
    throw error;
  }
}

/** Whether a mark belongs to no report any more and tells nothing about the rate. */
export async function dropOldMarks(
  what: string,
  folder: string,
  olderThanMs: number,
): Promise<void> {
  const known = new Set((await spooledReports(what, folder)).map(({ mark }) => mark));
  for (const name of await attempt(what, folder, "read", () => files().readdir(folder))) {
    const path = joined(folder, name);
    if (fileName.exec(name)?.[2] !== "sent" || known.has(path)) continue;
    const found = await ageMs(path);
    if (found !== null && found > olderThanMs) await removeFile(path);
  }
}

/** How old a file is; null when it is gone. */
async function ageMs(path: string): Promise<number | null> {
  try {
    return Date.now() - (await files().stat(path)).mtimeMs;
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
}

async function removeFile(path: string): Promise<void> {
  try {
    await files().unlink(path);
  } catch (error) {
    // Another program that sends the same reports was faster.
    if ((error as { code?: string }).code !== "ENOENT") throw error;
  }
}

/** A report that this program alone sends now. */
export interface ClaimedReport {
  /** Marks it as sent. */
  accepted(mark: SentMark): Promise<void>;
  /** Lets the next run send it. */
  release(): Promise<void>;
}

/** A claim is given up by a program that died; no upload takes as long. */
const claimMaxMs = 10 * 60_000;

/**
 * Claims a report, so that no other program sends it at the same time; null when another does. That
 * a mark can be written is known before anything is sent.
 *
 * @throws {FaultlineError} PERMISSION_DENIED or REPORTS_UNUSABLE.
 */
export async function claimReport(
  what: string,
  folder: string,
  { mark }: SpooledReport,
): Promise<ClaimedReport | null> {
  const path = `${mark}.part`;
  const create = async (): Promise<boolean> => {
    try {
      await (await files().open(path, "wx")).close();
      return true;
    } catch (error) {
      if ((error as { code?: string }).code === "EEXIST") return false;
      throw fileError(error, what, folder, "write");
    }
  };
  if (!await create()) {
    const age = await ageMs(path);
    if (age !== null && age < claimMaxMs) return null;
    await removeFile(path);
    if (!await create()) return null;
  }
  // Since the folder was listed, another program may have sent it.
  if (await ageMs(mark) !== null) {
    await removeFile(path);
    return null;
  }
  return {
    accepted: (sent) =>
      attempt(what, folder, "write", async () => {
        const file = await files().open(path, "w");
        await file.writeFile(`${JSON.stringify(sent)}\n`);
        await file.close();
        await files().rename(path, mark);
      }),
    release: () => removeFile(path),
  };
}
