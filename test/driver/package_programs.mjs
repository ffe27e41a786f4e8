/**
 * Programs that use the installed package by its name. They are text because here, in its own
 * repository, that name means nothing.
 */

/** What every program does: a fault in the C library, caught. Prints "caught SEGV_MAPERR". */
const body = `
using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
const say = () => {
  try {
    libc.symbols.strlen(16n);
  } catch (error) {
    if (!(error instanceof HardwareException)) throw error;
    if (!/^strlen\\(\\) of libc\\.so\\.6 read address 0x10/.test(error.message)) throw error;
    const [frame] = error.info.backtrace();
    if (!/strlen/.test(frame?.symbol ?? "")) throw new Error("the symbols library does not work");
    return "caught " + error.code;
  }
  throw new Error("nothing was thrown");
};
`;

/** A module that imports the package by `specifier`. */
export const program = (specifier) => `
import { dlopen, HardwareException } from ${JSON.stringify(specifier)};
${body}
console.log(say());
`;

/** The same through require(), which a top-level await in the package would break. */
export const commonProgram = `
const faultline = require("faultline");
const { dlopen, HardwareException } = faultline;
if (typeof faultline.catch !== "function") throw new Error("there is no catch");
${body.replaceAll("using ", "const ")}
console.log(say());
`;

/**
 * On the main thread and in a Worker, and then prints how many copies of the native library there
 * are in the process.
 */
export const workerProgram = (specifier) => `
import { readFileSync } from "node:fs";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { dlopen, HardwareException } from ${JSON.stringify(specifier)};
${body}
if (isMainThread) {
  console.log(say());
  const worker = new Worker(new URL(import.meta.url));
  const answer = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
  });
  const lines = readFileSync("/proc/self/maps", "utf8").split("\\n");
  const inodes = lines.filter((line) => /r-xp .*faultline[^/_]*\\.so/.test(line))
    .map((line) => line.split(/ +/)[4]);
  console.log("in a Worker: " + answer + ", copies: " + new Set(inodes).size);
  await worker.terminate();
} else {
  parentPort.postMessage(say());
}
`;

/** Without any library but the package's own. */
export const memoryProgram = (specifier) => `
import { catchException, readMemory } from ${JSON.stringify(specifier)};
const result = catchException(() => readMemory(16n, new Uint8Array(1)));
console.log(result.ok ? "nothing was thrown" : "caught " + result.error.code);
`;

/** What must type-check, and what must not. */
export const typedProgram = `
import { capabilities, dlopen, HardwareException, type ForeignLibrary, install } from "faultline";

const definitions = { strlen: { parameters: ["cstring"], result: "usize" } } as const;
using libc: ForeignLibrary<typeof definitions> = dlopen("libc.so.6", definitions);
export const length: bigint = libc.symbols.strlen("abc");
// @ts-expect-error The result is a bigint: a declaration that says any would not notice.
export const wrong: string = libc.symbols.strlen("abc");
// @ts-expect-error There is no such function.
libc.symbols.strlne("abc");
// @ts-expect-error A number is no text.
libc.symbols.strlen(1);
using _handlers = install({ signals: ["SIGSEGV"], libraryPath: new URL("file:///faultline.so") });
export const available: boolean = capabilities.catch.available;
export const code = (error: unknown): string | null =>
  error instanceof HardwareException ? error.code : null;
`;
