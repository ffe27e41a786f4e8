/** Writes a minidump to a file and prints its path. Further arguments: library and secret. */
import { Buffer } from "node:buffer";
import { writeFileSync } from "node:fs";
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { addressOf } from "../../mod.ts";
import { compiledFile } from "../compile_support.ts";
import { openReportFixture, shortList } from "../report_support.ts";
import { exceptionOf } from "../support.ts";

const [what = "", path = "", secret = ""] = isMainThread
  ? process.argv.slice(2)
  : (workerData as string[]);

function writeDump(): void {
  const { library: { symbols } } = openReportFixture(path);
  const error = exceptionOf(() => symbols.list_sum(shortList));
  const file = compiledFile("child.dmp");
  writeFileSync(file, error.toMinidump());
  console.log(file, error.info.threadId);
}

if (what === "worker" && isMainThread) {
  new Worker(new URL(import.meta.url), { workerData: [what, path] });
} else if (what === "canary") {
  process.env.FAULTLINE_CANARY = secret;
  const heap = Buffer.from(secret.repeat(64));
  const { library: { symbols } } = openReportFixture(path);
  // Registers and stack point at the secret; the dump follows neither.
  const error = exceptionOf(() => symbols.store(addressOf(heap) & 7n));
  const file = compiledFile("canary.dmp");
  writeFileSync(file, error.toMinidump());
  console.log(file);
} else {
  writeDump();
}
