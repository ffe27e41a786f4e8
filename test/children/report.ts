/** Prints a report of a fault, or lets the fault end the program. */
import process from "node:process";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { openReportFixture, shortList } from "../report_support.ts";
import { exceptionOf } from "../support.ts";

const [what = "", path = "", width = ""] = isMainThread
  ? process.argv.slice(2)
  : (workerData as string[]);
const { library: { symbols } } = openReportFixture(path);

function callerOfNative(): void {
  symbols.list_sum(shortList);
}

if (what === "signature") {
  console.log(exceptionOf(callerOfNative).toReport().signature);
} else if (what === "text") {
  console.log(exceptionOf(callerOfNative).toReport().toText());
} else if (what === "picture") {
  const options = { color: true, width: Number(width) };
  console.log(exceptionOf(callerOfNative).toReport().toText(options));
} else if (what === "map") {
  console.log(exceptionOf(() => symbols.count_down(2 ** 30)).toReport().toSvg().trimEnd());
} else if (what === "handled") {
  process.on("uncaughtException", () => console.log("handled"));
  setTimeout(callerOfNative, 1);
} else if (what === "timer") {
  setTimeout(callerOfNative, 1);
} else if (what === "async") {
  await Promise.resolve();
  callerOfNative();
} else if (what === "rejection") {
  Promise.reject(exceptionOf(callerOfNative));
} else if (what === "floating") {
  (async () => {
    await Promise.resolve();
    callerOfNative();
  })();
} else if (what === "cause") {
  Promise.reject(new Error("outer", { cause: exceptionOf(callerOfNative) }));
} else if (what === "listened") {
  process.on("unhandledRejection", () => console.log("handled"));
  Promise.reject(exceptionOf(callerOfNative));
} else if (what === "looked") {
  const error = exceptionOf(callerOfNative);
  Promise.resolve(error).then(String).then((text) => console.log(text.split(":")[0]));
  setTimeout(() => console.log(error.cause, Object.keys(error)), 1);
} else if (what === "worker" && isMainThread) {
  new Worker(new URL(import.meta.url), { workerData: [what, path] });
} else {
  callerOfNative();
}
