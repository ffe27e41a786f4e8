/** Everything that must work with few permissions. The argument is the fixture's path. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  addressOf,
  callable,
  callback,
  catchException,
  dlopen,
  type HardwareException,
  install,
  isReadable,
  mappingOf,
  protect,
  readMemory,
  status,
  writeMemory,
} from "../../mod.ts";

// Not through support.ts, which reads the environment.
const path = isMainThread ? process.argv[2]! : workerData as string;

/** The exception that `body` must end in. */
function exceptionOf(body: () => unknown): HardwareException {
  const result = catchException(body);
  if (result.ok) assert.fail("nothing was thrown");
  return result.error;
}

function all(): void {
  using library = dlopen(path, {
    fx_sum_bytes: { parameters: ["buffer", "u64"], result: "u64" },
    sumPointer: { name: "fx_sum_bytes", parameters: ["pointer", "u64"], result: "u64" },
    sumAddress: { name: "fx_sum_bytes", parameters: ["address", "u64"], result: "u64" },
    toPointer: { name: "fx_echo_u64", parameters: ["address"], result: "pointer" },
    toAddress: { name: "fx_echo_u64", parameters: ["pointer"], result: "address" },
    addressOf: { name: "fx_echo_u64", parameters: ["buffer"], result: "address" },
    fx_map: { parameters: ["u64", "u32"], result: "pointer" },
    fx_read: { parameters: ["address"], result: "u64" },
    fx_overflow: { parameters: ["u64"], result: "u64" },
    fx_raise: { parameters: ["u32"], result: "i32", signals: ["SIGABRT"] },
    fx_missing: { optional: true },
  });
  const { symbols } = library;
  const memory = Uint8Array.of(1, 2, 3);
  assert.equal(symbols.fx_sum_bytes(memory, 3), 6n);
  assert.equal(symbols.sumPointer(memory, 3), 6n);
  assert.equal(symbols.sumAddress(symbols.addressOf(memory), 3), 6n);
  const pointer = symbols.fx_map(4096, 3);
  assert.equal(symbols.sumPointer(pointer, 4096), 0n);
  const address = symbols.toAddress(pointer);
  assert.deepEqual(symbols.toPointer(address), pointer);
  assert.equal(symbols.fx_read(address), 0n);
  for (let round = 0; round < 30; round++) {
    const { info, message } = exceptionOf(() => symbols.fx_read(0n));
    assert.equal(info.code, "SEGV_MAPERR");
    assert.equal(info.processId, process.pid);
    assert.match(message, /fx_read/);
  }
  assert.equal(exceptionOf(() => symbols.fx_overflow(0)).info.type, "stack-overflow");
  assert.equal(exceptionOf(() => symbols.fx_raise(6)).info.type, "abort");
  using _handlers = install();
  assert.equal(status().installed, true);
  assert.equal(symbols.fx_missing, undefined);
}

/** Calls by address and on other threads, text, variables and memory. */
async function wider(): Promise<void> {
  using library = dlopen(path, {
    fx_map: { parameters: ["u64", "u32"], result: "address" },
    echoText: { name: "fx_echo_u64", parameters: ["cstring"], result: "cstring" },
    later: { name: "fx_read", parameters: ["address"], result: "u64", nonblocking: true },
    bun: { args: ["ptr"], returns: "u64", ptr: 1n },
    readAt: { name: "fx_read", type: "address" },
  });
  const { symbols } = library;
  assert.equal(symbols.echoText("schön"), "schön");
  const address = symbols.fx_map(4096n, 3);
  assert.equal(await symbols.later(address), 0n);
  await assert.rejects(symbols.later(0n), { code: "SEGV_MAPERR" });
  const read = callable(symbols.readAt, { parameters: ["address"], result: "u64" });
  assert.equal(read(address), 0n);
  assert.equal(exceptionOf(() => read(0n)).info.access, "read");
  assert.equal(exceptionOf(() => symbols.bun(null)).info.access, "execute");
  const bytes = Uint8Array.of(1, 2, 3);
  writeMemory(address, bytes);
  const copy = new Uint8Array(3);
  readMemory(address, copy);
  assert.deepEqual(copy, bytes);
  assert.equal(isReadable({ address: 16n, byteLength: 1 }), false);
  assert.equal(protect({ address, byteLength: 4096 }, "r--"), "rw-");
  assert.equal(mappingOf(address)?.protection, "r--");
  assert.ok(isReadable({ address: addressOf(bytes), byteLength: 3 }));
}

/** The one thing that takes more, and says so. */
function callbacks(): void {
  assert.throws(() => callback({}, () => {}), /--allow-ffi, without a list of paths/);
}

all();
await wider();
callbacks();
if (isMainThread) {
  for (let round = 0; round < 2; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: path });
    const answer = await new Promise((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
    });
    assert.equal(answer, "passed");
    await worker.terminate();
  }
  all();
  console.log("passed");
} else {
  parentPort!.postMessage("passed");
}
