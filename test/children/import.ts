/** What importing the module does: nothing. It is imported here only after a first look. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker } from "node:worker_threads";

interface Host {
  readonly Deno?: { dlopen(path: string, symbols: unknown): Library };
  readonly process: { getBuiltinModule(name: string): unknown };
}
/** What a look found. */
interface Look {
  readonly dispositions: readonly bigint[][];
  readonly mapped: readonly string[];
  readonly open: readonly string[];
  readonly listeners: number;
}
interface Library {
  symbols: { fx_disposition(signal: number, into: BigUint64Array): number };
}

// Not through support.ts, which imports the module.
const folder = process.env.FAULTLINE_BUILD ??
  fileURLToPath(new URL("../../.build/out", import.meta.url));
const path = `${folder}/fixture/fixture.so`;

function open(): Library {
  const host = globalThis as unknown as Host;
  if (host.Deno !== undefined) {
    const fx_disposition = { parameters: ["u32", "buffer"], result: "i32" };
    return host.Deno.dlopen(path, { fx_disposition });
  }
  const ffi = host.process.getBuiltinModule("bun:ffi") as NonNullable<Host["Deno"]>;
  return ffi.dlopen(path, { fx_disposition: { args: ["u32", "ptr"], returns: "i32" } });
}

/** The files that descriptors are of, without those that the runtime opens as it likes. */
function openFiles(): string[] {
  return readdirSync("/proc/self/fd").flatMap((descriptor) => {
    try {
      const file = readlinkSync(`/proc/self/fd/${descriptor}`);
      return /^\/(?!proc\/|dev\/)/.test(file) ? [file] : [];
    } catch {
      // The descriptor of the folder that was just read.
      return [];
    }
  }).sort();
}

/** All dispositions, the mapped and open files, and who listens for uncaught exceptions. */
function look(): Look {
  const { symbols } = open();
  const dispositions = Array.from({ length: 64 }, (_, index) => {
    const into = new BigUint64Array(4);
    symbols.fx_disposition(index + 1, into);
    return [...into];
  });
  const maps = readFileSync("/proc/self/maps", "utf8");
  const mapped = maps.split("\n").filter((line) => /\.so\b|memfd/.test(line))
    .map((line) => line.replace(/^.* (?=\/)/, ""));
  return {
    dispositions,
    mapped: [...new Set(mapped)].sort(),
    open: openFiles(),
    listeners: process.listenerCount("uncaughtExceptionMonitor"),
  };
}

async function all(): Promise<void> {
  const before = look();
  const module = await import("../../mod.ts");
  assert.equal(typeof module.dlopen, "function");
  assert.equal(module.capabilities.catch.available, true);
  assert.equal(module.decodeSignal(11, 1).code, "SEGV_MAPERR");
  assert.throws(() => module.dlopen(path, { fx_ud2: { result: "nothing" as never } }), TypeError);
  assert.deepEqual(look(), before);
  // The look itself can see a difference.
  module.install();
  const after = look();
  for (const key of ["dispositions", "mapped", "listeners"] as const) {
    assert.notDeepEqual(after[key], before[key], key);
  }
}

if (!isMainThread) {
  await all();
  parentPort!.postMessage("passed");
} else if (process.argv[3] === "worker") {
  const worker = new Worker(new URL(import.meta.url));
  console.log(
    await new Promise((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
    }),
  );
  process.exit(0);
} else {
  await all();
  console.log("passed");
}
