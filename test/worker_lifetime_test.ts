/** Threads: what Workers share, and what is left when they end. */
import { test } from "node:test";
import { childPasses } from "./support.ts";

test("ExceptionInfo.threadId of a Worker differs from the main thread's", () => {
  childPasses("worker", "threadIds");
});

test("dlopen() gives back the slots of a Worker that ended without close()", () => {
  childPasses("worker", "slots");
});

test("dlopen() used in Workers alone leaves a process that ends well", () => {
  for (let round = 0; round < 4; round++) childPasses("worker", "workersAlone");
});

test("dlopen() used in a Worker first leaves handlers that work after the Worker's end", () => {
  childPasses("worker", "handlersAfterWorker");
});

test("dlopen() works in 30 Workers one after another", () => childPasses("worker", "many"));

test("dlopen() works in a Worker that is terminated amid its calls", () => {
  childPasses("worker", "terminated");
});
