/**
 * A caught fault, sent to Sentry by @sentry/bun with its minidump. SENTRY_DSN says where to;
 * without it a collector on the loopback address plays Sentry.
 */
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import * as Sentry from "@sentry/bun";
import { dlopen, HardwareException } from "../mod.ts";

const received: Uint8Array[] = [];
const collector = createServer((request, response) => {
  request.on("data", (chunk: Uint8Array) => received.push(chunk));
  request.on("end", () => response.end("{}"));
});
await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
const { port } = collector.address() as AddressInfo;

const dsn = process.env.SENTRY_DSN ?? `http://public@127.0.0.1:${port}/1`;
Sentry.init({ dsn, tracesSampleRate: 0 });

using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
try {
  libc.symbols.strlen(16n);
} catch (error) {
  if (!(error instanceof HardwareException)) throw error;
  const report = error.toReport();
  Sentry.captureException(error, (scope) => {
    scope.setFingerprint([report.signature]);
    scope.setContext("fault", { code: error.code, explanation: error.info.explanation });
    scope.addAttachment({
      filename: `${report.id}.dmp`,
      data: report.toMinidump(),
      contentType: "application/octet-stream",
      attachmentType: "event.minidump",
    });
    return scope;
  });
}
const isSent = await Sentry.close(10_000);
collector.close();

if (process.env.SENTRY_DSN === undefined) {
  const text = Buffer.concat(received).toString("latin1");
  for (const part of ["HardwareException", "event.minidump", "MDMP"]) {
    if (!text.includes(part)) throw new Error(`the collector did not get ${part}`);
  }
}
console.log(isSent ? "sent" : "not sent in time");
