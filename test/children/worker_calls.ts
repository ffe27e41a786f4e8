/** A Worker that faults once for every message. */
import { parentPort } from "node:worker_threads";
import { exceptionOf, openFixture } from "../support.ts";

const { symbols } = openFixture();
const fault = (): void => parentPort!.postMessage(exceptionOf(() => symbols.fx_read(0n)).code);
parentPort!.on("message", fault);
fault();
