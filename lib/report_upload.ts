/**
 * Sends one crash report in the shape that Sentry's minidump endpoint and Crashpad's collectors
 * take: a POST of multipart/form-data with the minidump as `upload_file_minidump`.
 *
 * @module
 */
import { FaultlineError } from "./faultline_error.ts";

/** What is sent. */
export interface UploadedReport {
  readonly id: string;
  readonly dump: Uint8Array<ArrayBuffer>;
  /** ID.json and ID.txt; null where there is none. */
  readonly json: Uint8Array<ArrayBuffer> | null;
  readonly text: Uint8Array<ArrayBuffer> | null;
  /** Fields of the form beside the files. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** What the collector said. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | null;
}

/** The fields whose names collectors know. */
export const fileFields = {
  dump: "upload_file_minidump",
  json: "faultline_report",
  text: "faultline_text",
} as const;

function formOf({ id, dump, json, text, annotations }: UploadedReport): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(annotations)) form.append(name, value);
  const add = (
    field: string,
    bytes: Uint8Array<ArrayBuffer> | null,
    ending: string,
    type: string,
  ): void => {
    if (bytes !== null) form.append(field, new Blob([bytes], { type }), `${id}.${ending}`);
  };
  add(fileFields.dump, dump, "dmp", "application/octet-stream");
  add(fileFields.json, json, "json", "application/json");
  add(fileFields.text, text, "txt", "text/plain");
  return form;
}

/** The collector's address for people: the query may hold a key. */
export function addressText({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}

const answerMax = 200;
const timeoutMs = 60_000;

/** Why nothing was sent, as an error with a code. */
function sendError(error: unknown, to: URL, limit: AbortSignal): FaultlineError {
  const { name, message } = error as { name?: string; message?: string };
  const where = addressText(to);
  if (name === "NotCapable") {
    return new FaultlineError(
      "PERMISSION_DENIED",
      `Cannot send crash reports to ${where} as this program may not use the network: run it ` +
        `with --allow-net=${to.host}`,
      { cause: error },
    );
  }
  const reason = limit.aborted ? `it did not answer in ${timeoutMs / 1000} s` : message;
  return new FaultlineError(
    "COLLECTOR_UNREACHABLE",
    `Cannot send crash reports to ${where} as it cannot be reached (${reason}): check the ` +
      "address and the network, and try again",
    { cause: error },
  );
}

/**
 * Sends a report; gives what the collector answered, whatever that is.
 *
 * @param signal Ends the request; its reason is then thrown.
 * @throws {FaultlineError} PERMISSION_DENIED or COLLECTOR_UNREACHABLE.
 */
export async function uploadReport(
  report: UploadedReport,
  to: URL,
  signal: AbortSignal | undefined,
): Promise<Answer> {
  // AbortSignal.timeout() would keep a program alive that has nothing left to do.
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), timeoutMs);
  const signals = signal === undefined ? [limit.signal] : [signal, limit.signal];
  try {
    // As bytes: a form whose request is not allowed would keep a program in Deno alive for ever.
    const form = new Response(formOf(report));
    const response = await fetch(to, {
      method: "POST",
      headers: { "content-type": form.headers.get("content-type")! },
      body: await form.arrayBuffer(),
      // A report holds memory: it goes where it was meant to go.
      redirect: "manual",
      signal: AbortSignal.any(signals),
    });
    const text = await response.text();
    const retryAfter = response.headers.get("retry-after");
    return { status: response.status, text: text.trim().slice(0, answerMax), retryAfter };
  } catch (error) {
    signal?.throwIfAborted();
    throw sendError(error, to, limit.signal);
  } finally {
    clearTimeout(timer);
  }
}
