/** Crashes where and how the arguments say, through the runtime's own FFI. */
import { rmdirSync } from "node:fs";
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { installCrashReporter, status } from "../../mod.ts";
import { native } from "../../lib/native.ts";
import { rawSymbols } from "../support.ts";

/** What the child is to do. */
export interface CrashJob {
  readonly library: string;
  readonly function: string;
  readonly where: "main" | "worker" | "thread";
  readonly options: Parameters<typeof installCrashReporter>[0];
  /** No file may grow. */
  readonly fileLimit?: boolean;
  readonly removeDirectory?: boolean;
  /** A stage of the report that fails, and how. */
  readonly sabotage?: readonly [number, number];
  /** A handler that was there before notes here what it got, and waits. */
  readonly note?: string;
}

/** On the heap of JavaScript: a report must not hold it. */
const secrets = ["canary", "of", "the"].map((text) => text);
const secret = [...secrets, "heap"].join("-") + (process.env.FAULTLINE_CANARY ?? "");

function crash(job: CrashJob): void {
  const { library, where, function: name, fileLimit, removeDirectory, options } = job;
  const symbols = rawSymbols(library, {
    [name]: { parameters: [], result: "i32" },
    cf_on_thread: { parameters: ["u64"], result: "i32" },
    cf_no_files: { parameters: [], result: "i32" },
    cf_sleep: { parameters: ["i32"], result: "i32" },
  });
  if (fileLimit) symbols.cf_no_files!();
  if (removeDirectory) rmdirSync(options.directory);
  if (where === "thread") {
    const { runtime, functions } = native();
    const address = runtime.openLibrary(library, functions).symbolAddresses([name])[0]!;
    symbols.cf_on_thread!(address);
  } else if (name === "cf_sleep") {
    symbols.cf_sleep!(2);
  } else {
    symbols[name]!();
  }
}

if (isMainThread) {
  const job = JSON.parse(process.argv[2]!) as CrashJob;
  if (job.note !== undefined) {
    const waiting = { cf_wait_in_handler: { parameters: ["buffer"], result: "i32" } } as const;
    const path = new TextEncoder().encode(`${job.note}\0`);
    rawSymbols(job.library, waiting).cf_wait_in_handler!(path);
  }
  installCrashReporter(job.options);
  if (job.sabotage !== undefined) native().functions.fl_crash_sabotage!(...job.sabotage);
  console.log("about to die");
  if (job.where === "worker") {
    new Worker(new URL(import.meta.url), { workerData: job });
  } else {
    crash(job);
    console.log("survived", secret.length);
  }
} else {
  status(); // Prepares this thread, which has no alternate stack yet.
  crash(workerData as CrashJob);
}
