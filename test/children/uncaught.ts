/** An exception that nobody catches, that ends a Worker, or that is only printed. */
import process from "node:process";
import { isMainThread, Worker } from "node:worker_threads";
import { exceptionOf, openFixture } from "../support.ts";

const { symbols } = openFixture();
if (isMainThread && process.argv[2] === "log") {
  const error = exceptionOf(() => symbols.fx_read(0x10n));
  console.log(error);
} else if (isMainThread && process.argv[2] === "worker") {
  const worker = new Worker(new URL(import.meta.url));
  const error = await new Promise((resolve) => worker.on("error", resolve));
  console.log(`heard: ${(error as Error).message}`);
  process.exit(0);
} else {
  symbols.fx_read(0x10n);
}
