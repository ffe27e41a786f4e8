/**
 * `readMemory`, `writeMemory` and `isReadable`, at the edges of memory that is and is not there.
 * The other memory functions are tested in mapping_test.ts.
 */
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
  addressOf,
  dlopen,
  HardwareException,
  install,
  isReadable,
  mappingOf,
  protect,
  readMemory,
  status,
  writeMemory,
} from "../mod.ts";
import { nativePath } from "../lib/native.ts";
import {
  arm64,
  emulated,
  notEmulated,
  runtimePath,
  sharedMappings,
  timeFactor,
} from "./platform_support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const fixturePath = `${process.env["FAULTLINE_BUILD"] ?? `${root}/.build/out`}/fixture/fixture.so`;
const { symbols: fixture } = dlopen(fixturePath, {
  fx_map: { parameters: ["u64", "u32"], result: "address" },
  fx_unmap: { parameters: ["address", "u64"], result: "i32" },
  fx_protect: { parameters: ["address", "u64", "u32"], result: "i32" },
  fx_map_short_file: { parameters: ["u64"], result: "address" },
});

const pageLength = 4096;
const page = BigInt(pageLength);
const nonCanonical = arm64 ? 0x0055_0000_0000_0000n : 1n << 63n;
const noAddress = arm64 ? ["SEGV_MAPERR", nonCanonical] as const : ["SI_KERNEL", null] as const;
const highAddresses = notEmulated("addresses above the half of a process read as 0");
const shortFiles = notEmulated("it dies when a system call reads past the end of a file");
const kernelAddress = 0xffff_8000_0000_0000n;

/** Pages with the given rights (1 read, 2 write, 4 execute), null where nothing is mapped. */
function mapPages(...rights: readonly (number | null)[]): bigint {
  const address = fixture.fx_map(BigInt(rights.length) * page, 3);
  const bytes = new Uint8Array(rights.length * pageLength).map((_, index) => index * 31 + 7);
  writeMemory(address, bytes);
  rights.forEach((right, index) => {
    const at = address + BigInt(index) * page;
    const result = right === null
      ? fixture.fx_unmap(at, page)
      : fixture.fx_protect(at, page, right);
    assert.equal(result, 0);
  });
  return address;
}

/** What `mapPages` wrote. */
function expectedAt(offset: number, byteLength: number): Uint8Array {
  return new Uint8Array(byteLength).map((_, index) => (offset + index) * 31 + 7);
}

function assertBytes(actual: Uint8Array, expected: Uint8Array): void {
  // Buffers compare at once; deepEqual would take seconds for megabytes.
  assert.ok(Buffer.compare(actual, expected) === 0, "the bytes differ");
}

function exceptionOf(body: () => void): HardwareException {
  try {
    body();
  } catch (error) {
    if (error instanceof HardwareException) return error;
    throw error;
  }
  assert.fail("nothing was thrown");
}

type Expected = readonly [code: string, address: bigint | null];

/** `readMemory` must fail so, and leave the target as it was. */
function readFails(address: bigint, byteLength: number, [code, bad]: Expected): void {
  const into = new Uint8Array(byteLength).fill(0xa5);
  const { info } = exceptionOf(() => readMemory(address, into));
  assert.deepEqual([info.code, info.address], [code, bad]);
  assert.equal(info.access, code === "SI_KERNEL" ? null : "read");
  assert.deepEqual(info.call, { library: "faultline", symbol: "readMemory" });
  assertBytes(into, new Uint8Array(byteLength).fill(0xa5));
  if (byteLength > 0) assert.equal(isReadable({ address, byteLength }), false);
}

function writeFails(address: bigint, byteLength: number, [code, bad]: Expected): void {
  const { info } = exceptionOf(() => writeMemory(address, new Uint8Array(byteLength).fill(0xa5)));
  assert.deepEqual([info.code, info.address], [code, bad]);
  assert.equal(info.access, code === "SI_KERNEL" ? null : "write");
  assert.deepEqual(info.call, { library: "faultline", symbol: "writeMemory" });
}

function read(address: bigint, byteLength: number): Uint8Array {
  const into = new Uint8Array(byteLength);
  readMemory(address, into);
  return into;
}

describe("readMemory()", () => {
  test("copies every length at every alignment, and nothing beyond", () => {
    const source = mapPages(1, 1);
    for (let length = 1; length <= 300; length++) {
      const offset = (length * 7) % 64;
      const frame = new Uint8Array(length + 128).fill(0xa5);
      readMemory(source + BigInt(offset), frame.subarray(64, 64 + length));
      assertBytes(frame.subarray(64, 64 + length), expectedAt(offset, length));
      const around = [...frame.subarray(0, 64), ...frame.subarray(64 + length)];
      assert.ok(around.every((byte) => byte === 0xa5));
    }
  });

  test("reads up to the last byte before unmapped memory, and names the first one there", () => {
    const address = mapPages(3, null);
    const end = address + page;
    for (const length of [1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 4095, 4096]) {
      const start = end - BigInt(length);
      assertBytes(read(start, length), expectedAt(pageLength - length, length));
      readFails(start, length + 1, ["SEGV_MAPERR", end]);
      readFails(start, length + 5000, ["SEGV_MAPERR", end]);
    }
  });

  test("reads from the first byte after unmapped memory, and names the first one before", () => {
    const start = mapPages(null, 3) + page;
    assertBytes(read(start, 4096), expectedAt(pageLength, 4096));
    for (const before of [1n, 8n, 100n, 4096n]) {
      readFails(start - before, Number(before) + 1, ["SEGV_MAPERR", start - before]);
    }
  });

  test("names the first of several bad bytes", () => {
    const address = mapPages(3, 3, 0, null, 0, 3);
    const holes = address + 2n * page;
    readFails(address, 6 * pageLength, ["SEGV_ACCERR", holes]);
    readFails(holes + 5n, 4 * pageLength - 5, ["SEGV_ACCERR", holes + 5n]);
    readFails(holes + page + 9n, 100, ["SEGV_MAPERR", holes + page + 9n]);
    readFails(holes + page - 1n, 2, ["SEGV_ACCERR", holes + page - 1n]);
  });

  test("names the first byte past the end of a mapped file", shortFiles, () => {
    const address = fixture.fx_map_short_file(100n);
    assertBytes(read(address, pageLength), new Uint8Array(pageLength));
    readFails(address, pageLength + 1, ["BUS_ADRERR", address + page]);
    readFails(address + page + 3n, 1, ["BUS_ADRERR", address + page + 3n]);
    writeFails(address, pageLength + 1, ["BUS_ADRERR", address + page]);
    assertBytes(read(address, pageLength), new Uint8Array(pageLength));
  });

  test("says what the CPU says at odd addresses", highAddresses, () => {
    readFails(0n, 1, ["SEGV_MAPERR", 0n]);
    readFails(1n, 5000, ["SEGV_MAPERR", 1n]);
    readFails(kernelAddress, 8, ["SEGV_MAPERR", kernelAddress]);
    readFails(2n ** 64n - 1n, 1, ["SEGV_MAPERR", 2n ** 64n - 1n]);
    readFails(2n ** 64n - 5000n, 5000, ["SEGV_MAPERR", 2n ** 64n - 5000n]);
    readFails(nonCanonical, 8, noAddress);
    readFails(0x7fff_ffff_ffffn, 2, ["SEGV_MAPERR", 0x7fff_ffff_ffffn]);
    const { info } = exceptionOf(() => readMemory(nonCanonical, new Uint8Array(1)));
    assert.equal(info.type, arm64 ? "access-violation" : "general-protection");
  });

  test("fills views of every kind of buffer, and only them", () => {
    const source = mapPages(1);
    const shared = new Uint8Array(new SharedArrayBuffer(64), 8, 16);
    readMemory(source + 3n, shared);
    assertBytes(shared, expectedAt(3, 16));
    assert.equal(new Uint8Array(shared.buffer)[24], 0);
    const buffer = Buffer.alloc(16);
    readMemory(source, buffer);
    assertBytes(buffer, expectedAt(0, 16));
  });

  const mappings = notEmulated("it has no room for memory that grows");

  test("fills resizable memory, and that of WebAssembly", mappings, () => {
    const source = mapPages(1);
    const resizable = new Uint8Array(new ArrayBuffer(16, { maxByteLength: 64 }));
    readMemory(source, resizable);
    assertBytes(resizable, expectedAt(0, 16));
    const { WebAssembly } = globalThis as unknown as {
      WebAssembly: { Memory: new (limits: { initial: number }) => { buffer: ArrayBuffer } };
    };
    const wasm = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer, 100, 16);
    readMemory(source, wasm);
    assertBytes(wasm, expectedAt(0, 16));
  });

  test("copies megabytes", () => {
    for (const length of [2 ** 20, 64 * 2 ** 20 + 13]) {
      const source = new Uint32Array(Math.ceil(length / 4)).map((_, i) => i * 0x9e37_79b1);
      const bytes = new Uint8Array(source.buffer, 0, length);
      const copy = read(addressOf(bytes), length);
      assertBytes(copy, bytes);
      copy.fill(0);
      writeMemory(addressOf(copy), bytes);
      assertBytes(copy, bytes);
    }
  });

  test("copies within one buffer as if through another", () => {
    for (const length of [1, 8, 31, 64, 100, 1000, 5000, 70_000]) {
      for (const distance of [0, 1, 7, 16, 33, 100, 4096]) {
        const total = length + distance;
        const original = new Uint8Array(total).map((_, index) => index * 13 + (index >> 8));
        const up = original.slice();
        readMemory(addressOf(up), up.subarray(distance));
        assertBytes(up, original.slice().copyWithin(distance, 0, length));
        const down = original.slice();
        readMemory(addressOf(down) + BigInt(distance), down.subarray(0, length));
        assertBytes(down, original.slice().copyWithin(0, distance));
        const written = original.slice();
        writeMemory(addressOf(written), written.subarray(distance));
        assertBytes(written, original.slice().copyWithin(0, distance));
      }
    }
  });

  test("does nothing for an empty target, wherever it is told to read", () => {
    for (const address of [0n, 1n, nonCanonical, kernelAddress, 2n ** 64n - 1n]) {
      readMemory(address, new Uint8Array(0));
      writeMemory(address, new Uint8Array(0));
      assert.equal(isReadable({ address, byteLength: 0 }), true);
    }
  });

  test("fails 10,000 times in a row, each time with an exception of its own", () => {
    const into = new Uint8Array(64);
    const { caught } = status();
    const kept: HardwareException[] = [];
    for (let i = 0; i < 10_000; i++) {
      const error = exceptionOf(() => readMemory(BigInt(i % 4096), into));
      if (i % 1000 === 0) kept.push(error);
    }
    assert.equal(status().caught - caught, 10_000n);
    const addresses = kept.map(({ info }) => info.address);
    assert.deepEqual(addresses, kept.map((_, index) => BigInt((index * 1000) % 4096)));
  });

  test("says what happened in words", () => {
    const { message } = exceptionOf(() => readMemory(16n, new Uint8Array(1)));
    assert.equal(
      message,
      "readMemory() of faultline read address 0x10, where nothing is mapped (SIGSEGV, SEGV_MAPERR)",
    );
  });
});

describe("writeMemory()", () => {
  test("writes exactly its bytes", () => {
    const address = mapPages(3, 3);
    for (const [offset, length] of [[0, 1], [4095, 2], [17, 300], [1, 8190]] as const) {
      const before = read(address, 2 * pageLength);
      writeMemory(address + BigInt(offset), new Uint8Array(length).fill(length));
      before.fill(length, offset, offset + length);
      assertBytes(read(address, 2 * pageLength), before);
    }
  });

  test("names the first byte that cannot be written, and has written nothing then", () => {
    const address = mapPages(3, 3, 1, 3, 0, null);
    const before = read(address, 4 * pageLength);
    writeFails(address + 5n, 3 * pageLength, ["SEGV_ACCERR", address + 2n * page]);
    writeFails(address + 2n * page + 7n, 1, ["SEGV_ACCERR", address + 2n * page + 7n]);
    writeFails(address + 3n * page + 7n, pageLength, ["SEGV_ACCERR", address + 4n * page]);
    writeFails(address + 5n * page + 7n, 9, ["SEGV_MAPERR", address + 5n * page + 7n]);
    assertBytes(read(address, 4 * pageLength), before);
  });

  test("says what the CPU says at odd addresses", highAddresses, () => {
    writeFails(0n, 1, ["SEGV_MAPERR", 0n]);
    writeFails(kernelAddress, 8, ["SEGV_MAPERR", kernelAddress]);
    writeFails(2n ** 64n - 5000n, 5000, ["SEGV_MAPERR", 2n ** 64n - 5000n]);
    writeFails(nonCanonical, 8, noAddress);
  });

  test("refuses to write to machine code", () => {
    const { instructionPointer } = exceptionOf(() => readMemory(0n, new Uint8Array(1))).info;
    const code = read(instructionPointer, 64);
    writeFails(instructionPointer, 64, ["SEGV_ACCERR", instructionPointer]);
    assertBytes(read(instructionPointer, 64), code);
  });

  test("fails 10,000 times in a row", () => {
    const bytes = new Uint8Array(8);
    for (let i = 0; i < 10_000; i++) exceptionOf(() => writeMemory(0n, bytes));
  });

  test("loses no other thread's write to a page that it only tries", async () => {
    const memory = new SharedArrayBuffer(4 * pageLength);
    const bytes = new Uint8Array(memory);
    const last = (addressOf(bytes) + 3n * page) & ~(page - 1n);
    const start = last - page;
    const offset = Number(start - addressOf(bytes));
    assert.equal(protect({ address: last, byteLength: 1 }, "r--"), "rw-");
    const words = new Int32Array(memory);
    const sum = offset / 4;
    const [stop, count] = [sum + 64, sum + 128];
    const done = runWorker({ name: "addOnes", words, sum, stop, count });
    const from = new Uint8Array(pageLength + 1).fill(0xa5);
    while (Atomics.load(words, sum) === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    for (let i = 0; i < 50_000; i++) exceptionOf(() => writeMemory(start, from));
    Atomics.store(words, stop, 1);
    await done;
    protect({ address: last, byteLength: 1 }, "rw-");
    assert.equal(words[sum], words[count]);
  });
});

describe("isReadable()", () => {
  test("finds the hole in a range, wherever it begins and ends", () => {
    const address = mapPages(1, 1, 0, 1, null, 1);
    const answers = (from: number, to: number): boolean =>
      isReadable({ address: address + BigInt(from), byteLength: to - from });
    assert.equal(answers(0, 2 * pageLength), true);
    assert.equal(answers(2 * pageLength - 1, 2 * pageLength), true);
    assert.equal(answers(2 * pageLength - 1, 2 * pageLength + 1), false);
    assert.equal(answers(0, 6 * pageLength), false);
    assert.equal(answers(2 * pageLength, 2 * pageLength + 1), false);
    assert.equal(answers(3 * pageLength - 1, 3 * pageLength), false);
    assert.equal(answers(3 * pageLength, 4 * pageLength), true);
    assert.equal(answers(3 * pageLength, 4 * pageLength + 1), false);
    assert.equal(answers(5 * pageLength, 6 * pageLength), true);
  });

  test("makes no exception, whatever the answer before was", () => {
    const good = { address: mapPages(1), byteLength: 8 };
    const bad = [
      { address: 0n, byteLength: 1 },
      { address: nonCanonical, byteLength: 8 },
      { address: kernelAddress, byteLength: 8 },
      { address: 2n ** 64n - 1n, byteLength: 1 },
      // The emulator dies when a system call reads past the end of a file.
      ...(emulated ? [] : [{ address: fixture.fx_map_short_file(1n) + page, byteLength: 1 }]),
      { address: mapPages(0), byteLength: 1 },
    ];
    const { caught } = status();
    for (let i = 0; i < 10_000; i++) {
      assert.equal(isReadable(bad[i % bad.length]!), false);
      assert.equal(isReadable(bad[(i * 7) % bad.length]!), false);
      assert.equal(isReadable(good), true);
      assert.equal(isReadable(good), true);
    }
    assert.equal(status().caught, caught);
  });

  test("answers for the largest range", () => {
    const address = mapPages(1);
    assert.equal(isReadable({ address, byteLength: Number.MAX_SAFE_INTEGER }), false);
  });

  test("installs the handlers again when they were taken out", () => {
    install()[Symbol.dispose]();
    assert.equal(status().installed, false);
    assert.equal(isReadable({ address: 0n, byteLength: 1 }), false);
    install()[Symbol.dispose]();
    readFails(0n, 1, ["SEGV_MAPERR", 0n]);
  });
});

describe("wrong arguments", () => {
  const bytes = new Uint8Array(8);
  const good = addressOf(bytes);
  // deno-lint-ignore no-explicit-any
  const any = (value: unknown): any => value;

  const badAddresses = [1, "1", null, undefined, {}, Symbol("address"), new Date()];

  test("addresses of another kind are TypeErrors, naming the value", () => {
    for (const value of badAddresses.map(any)) {
      assert.throws(() => readMemory(value, bytes), TypeError);
      assert.throws(() => writeMemory(value, bytes), TypeError);
      assert.throws(() => readMemory(value, new Uint8Array(0)), TypeError);
      assert.throws(() => isReadable({ address: value, byteLength: 1 }), TypeError);
      assert.throws(() => protect({ address: value, byteLength: 1 }, "r--"), TypeError);
      assert.throws(() => mappingOf(value), TypeError);
    }
    assert.throws(() => readMemory(any(1), bytes), /address must be a bigint: current value is 1$/);
  });

  test("addresses and ranges outside of 2 ** 64 are RangeErrors", () => {
    const end = 2n ** 64n;
    for (const [address, byteLength] of [[-1n, 0], [end, 0], [end - 1n, 2], [-1n, 2]] as const) {
      const range = { address, byteLength };
      assert.throws(() => readMemory(address, new Uint8Array(byteLength)), RangeError);
      assert.throws(() => writeMemory(address, new Uint8Array(byteLength)), RangeError);
      assert.throws(() => isReadable(range), RangeError);
      assert.throws(() => protect(range, "r--"), RangeError);
    }
    const range = { address: end - 2n ** 40n, byteLength: 2 ** 40 + 1 };
    assert.throws(() => isReadable(range), RangeError);
    assert.throws(() => mappingOf(-1n), RangeError);
    assert.throws(() => mappingOf(end), RangeError);
  });

  test("lengths of another kind are TypeErrors, numbers that are none RangeErrors", () => {
    for (const value of ["1", 1n, null, undefined, {}].map(any)) {
      assert.throws(() => isReadable({ address: good, byteLength: value }), TypeError);
      assert.throws(() => protect({ address: good, byteLength: value }, "r--"), TypeError);
    }
    for (const byteLength of [-1, 0.5, NaN, Infinity, 2 ** 53, -0.5]) {
      assert.throws(() => isReadable({ address: good, byteLength }), RangeError);
      assert.throws(() => protect({ address: good, byteLength }, "r--"), RangeError);
    }
    for (const value of [null, undefined, 1, good, "range", [good, 1]].map(any)) {
      assert.throws(() => isReadable(value), TypeError);
      assert.throws(() => protect(value, "r--"), TypeError);
    }
  });

  test("what is no Uint8Array, or detached, is a TypeError", () => {
    const detached = new Uint8Array(8);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const wrong = [null, undefined, 8, "bytes", [1, 2], new ArrayBuffer(8), new Uint16Array(4)];
    for (const value of [...wrong, new DataView(new ArrayBuffer(8)), detached].map(any)) {
      assert.throws(() => readMemory(good, value), TypeError);
      assert.throws(() => writeMemory(good, value), TypeError);
    }
    assert.throws(() => readMemory(good, detached), /into is detached/);
  });

  test("each part of a range is looked at once", () => {
    let looks = 0;
    const range = {
      get address(): bigint {
        looks++;
        return good;
      },
      get byteLength(): number {
        looks++;
        return 1;
      },
    };
    assert.equal(isReadable(range), true);
    assert.equal(looks, 2);
  });
});

const childFile = new URL("./children/memory.ts", import.meta.url);

async function runWorker(workerData: Readonly<Record<string, unknown>>): Promise<void> {
  const worker = new Worker(childFile, { workerData });
  const message = await new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", (code: number) => reject(new Error(`the Worker exited with ${code}`)));
  });
  assert.equal(message, "passed");
  await worker.terminate();
}

describe("the memory functions", () => {
  test("work in Workers, several at a time", sharedMappings, async () => {
    for (let round = 0; round < 3; round++) {
      const workers = Array.from({ length: 3 }, () => runWorker({ name: "everything" }));
      for (let i = 0; i < 1000; i++) exceptionOf(() => readMemory(0n, new Uint8Array(8)));
      await Promise.all(workers);
    }
  });

  const isDeno = process.versions["deno"] !== undefined;
  // In Deno under the narrowest permission there is, in Bun without any.
  const flags = isDeno ? ["run", "--no-prompt", "--no-check", `--allow-ffi=${nativePath()}`] : [];

  for (const name of ["everything", "isReadable", "readMemory", "writeMemory", "modest"]) {
    test(`pass the case ${name} as the first use of a process`, () => {
      const result = spawnSync(runtimePath, [...flags, fileURLToPath(childFile), name], {
        encoding: "utf8",
        killSignal: "SIGKILL",
        timeout: 20_000 * timeFactor,
      });
      const { status: code, signal, stdout } = result;
      assert.deepEqual(
        { code, signal, stdout },
        { code: 0, signal: null, stdout: "passed\n" },
        [
          result.stderr,
        ].join(),
      );
    });
  }
});
