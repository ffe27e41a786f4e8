/**
 * What mapped files must do, as cases that run on any thread: `mapped_file_test.ts` runs them on
 * the main thread, and in Workers through `children/memory_cases.ts`.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { markAsUntransferable } from "node:worker_threads";
import {
  addressOf,
  HardwareException,
  mapFile,
  type MappedFile,
  mappingOf,
  readMemory,
} from "../mod.ts";
import { failsWith, holders, openMemoryFixture, page, sum, withFile } from "./memory_support.ts";
import { type Cases, exceptionOf } from "./support.ts";

const { symbols } = openMemoryFixture();
const code = "BUS_ADRERR";

/** Truncates a file as another program does. */
function truncateElsewhere(path: string): void {
  const { status } = spawnSync("sh", ["-c", ': > "$1"', "sh", path]);
  assert.equal(status, 0);
}

/** Overwrites a file's bytes in place, which makes it longer where it is shorter. */
function overwrite(path: string, byteLength: number, fill: number): void {
  const descriptor = openSync(path, "r+");
  writeSync(descriptor, new Uint8Array(byteLength).fill(fill), 0, byteLength, 0);
  closeSync(descriptor);
}

const reading: Cases = {
  "reads a file by path and by URL": () =>
    withFile(3 * page + 10, 7, (path) => {
      for (const name of [path, pathToFileURL(path)]) {
        using file = mapFile(name);
        assert.equal(file.bytes.length, 3 * page + 10);
        assert.equal(sum(file.bytes), 7 * (3 * page + 10));
        assert.deepEqual(file.lost(), []);
        file.verify();
        file.flush();
      }
    }),

  "maps any range": () =>
    withFile(4 * page, 0, (path) => {
      const content = new Uint8Array(4 * page).map((_, index) => (index * 31) ^ (index >> 8));
      writeFileSync(path, content);
      for (const [offset, length] of [[1, 1], [4095, 2], [4096, 4096], [5000, 9000], [16383, 1]]) {
        using file = mapFile(path, { offset: BigInt(offset!), byteLength: length! });
        assert.deepEqual([...file.bytes], [...content.subarray(offset, offset! + length!)]);
      }
      using rest = mapFile(path, { offset: 16000n });
      assert.deepEqual([...rest.bytes], [...content.subarray(16000)]);
    }),

  "gives no bytes of an empty file, and at the end of one": () =>
    withFile(0, 0, (path) => {
      for (const size of [0, 100]) {
        truncateSync(path, size);
        using file = mapFile(path, { offset: BigInt(size) });
        assert.equal(file.bytes.length, 0);
        assert.deepEqual(file.lost(), []);
        file.verify();
        file.flush();
        using none = mapFile(path, { byteLength: 0, write: true });
        assert.equal(none.bytes.length, 0);
      }
    }),

  "never changes the file without write": () =>
    withFile(2 * page, 7, (path) => {
      using file = mapFile(path);
      file.bytes.fill(9);
      file.flush();
      assert.equal(sum(file.bytes), 9 * 2 * page);
      assert.equal(sum(readFileSync(path)), 7 * 2 * page);
    }),

  "changes the file with write": () =>
    withFile(2 * page, 7, (path) => {
      using file = mapFile(path, { write: true, offset: 10n });
      file.bytes[0] = 1;
      file.bytes[5000] = 2;
      file.flush();
      const content = readFileSync(path);
      assert.deepEqual([content[9], content[10], content[5010]], [7, 1, 2]);
      overwrite(path, 20, 5);
      assert.equal(file.bytes[0], 5);
    }),
};

const losing: Cases = {
  "reads zeroes past a truncation in compiled JavaScript, and says what was lost": () =>
    withFile(64 * page, 7, (path) => {
      for (const write of [false, true]) {
        overwrite(path, 64 * page, 7);
        using file = mapFile(path, { write });
        for (let round = 0; round < 50; round++) assert.equal(sum(file.bytes), 7 * 64 * page);
        truncateSync(path, 20 * page);
        for (let round = 0; round < 50; round++) assert.equal(sum(file.bytes), 7 * 20 * page);
        assert.deepEqual(file.lost(), [
          { offset: BigInt(20 * page), byteLength: 44 * page, code },
        ]);
      }
    }),

  "goes on in the middle of a loop": () =>
    withFile(16 * page, 7, (path) => {
      using file = mapFile(path);
      let total = 0;
      for (let index = 0; index < 16 * page; index++) {
        if (index === 3 * page) truncateSync(path, 5 * page);
        total += file.bytes[index]!;
      }
      assert.equal(total, 7 * 5 * page);
      assert.equal(exceptionOf(() => file.verify()).code, code);
    }),

  "reads zeroes in native code, guarded or called by the memory functions": () =>
    withFile(16 * page, 7, (path) => {
      using file = mapFile(path);
      const descriptor = openSync(path, "r+");
      const address = addressOf(file.bytes);
      assert.equal(symbols.fm_truncate_and_sum(descriptor, BigInt(page), address, 16n), 8n * 7n);
      closeSync(descriptor);
      // It had read half of the file when it was cut to one page: the rest is zero from there on.
      assert.equal(symbols.fm_sum_pages(address, 16n), 7n);
      const copy = new Uint8Array(16 * page);
      readMemory(address, copy);
      assert.equal(sum(copy), 7 * page);
      assert.deepEqual(file.lost(), [{ offset: BigInt(page), byteLength: 15 * page, code }]);
    }),

  "survives a truncation by another program": () =>
    withFile(8 * page, 7, (path) => {
      using file = mapFile(path, { write: true });
      assert.equal(sum(file.bytes), 7 * 8 * page);
      truncateElsewhere(path);
      assert.equal(sum(file.bytes), 0);
      assert.deepEqual(file.lost(), [{ offset: 0n, byteLength: 8 * page, code }]);
      file.flush();
      assert.equal(readFileSync(path).length, 0);
    }),

  "keeps what was touched zero when the file grows again": () =>
    withFile(8 * page, 7, (path) => {
      using file = mapFile(path, { write: true });
      truncateSync(path, 2 * page);
      assert.equal(file.bytes[6 * page], 0);
      overwrite(path, 8 * page, 9);
      assert.deepEqual([file.bytes[page], file.bytes[6 * page], file.bytes[7 * page]], [9, 0, 0]);
      // The file was shorter: nobody can tell what is old of what it has there now.
      const lost = [{ offset: BigInt(2 * page), byteLength: 6 * page, code }];
      assert.deepEqual(file.lost(), lost);
      assert.equal(sum(file.bytes), 9 * 2 * page);
      assert.deepEqual(file.lost(), lost);
    }),

  "keeps what lost() found zero when the file grows again": () =>
    withFile(8 * page, 7, (path) => {
      using file = mapFile(path);
      truncateSync(path, 2 * page + 100);
      const lost = [{ offset: BigInt(2 * page + 100), byteLength: 6 * page - 100, code }];
      assert.deepEqual(file.lost(), lost);
      overwrite(path, 8 * page, 9);
      assert.equal(sum(file.bytes.subarray(3 * page)), 0);
      assert.deepEqual(file.lost(), lost);
      truncateSync(path, page);
      assert.deepEqual(file.lost(), [{ offset: BigInt(page), byteLength: 7 * page, code }]);
    }),

  "shows what was written to a page that replaced a lost one": () =>
    withFile(4 * page, 7, (path) => {
      for (const write of [false, true]) {
        overwrite(path, 4 * page, 7);
        using file = mapFile(path, { write });
        file.bytes[3 * page] = 5;
        truncateSync(path, page);
        file.bytes[2 * page] = 3;
        assert.deepEqual([file.bytes[2 * page], file.bytes[3 * page]], [3, 0]);
        file.lost();
        assert.equal(file.bytes[2 * page], 3);
        assert.equal(readFileSync(path).length, page);
      }
    }),

  "gives offsets in the file, cut to the range": () =>
    withFile(8 * page, 7, (path) => {
      using file = mapFile(path, { offset: BigInt(page + 10), byteLength: 5 * page });
      truncateSync(path, page + 20);
      const { info } = exceptionOf(() => file.verify());
      assert.equal(info.address, addressOf(file.bytes) + 10n);
      const lost = [{ offset: BigInt(page + 20), byteLength: 5 * page - 10, code }];
      assert.deepEqual(file.lost(), lost);
      truncateSync(path, 3);
      assert.deepEqual(file.lost(), [{ offset: BigInt(page + 10), byteLength: 5 * page, code }]);
    }),

  "loses the same in every mapping of a file": () =>
    withFile(4 * page, 7, (path) => {
      using whole = mapFile(path);
      using half = mapFile(path, { offset: BigInt(2 * page), write: true });
      truncateSync(path, 0);
      assert.deepEqual([sum(whole.bytes), sum(half.bytes)], [0, 0]);
      assert.deepEqual(whole.lost(), [{ offset: 0n, byteLength: 4 * page, code }]);
      const lost = [{ offset: BigInt(2 * page), byteLength: 2 * page, code }];
      assert.deepEqual(half.lost(), lost);
    }),

  "verify() throws a bus error like one of the CPU": () =>
    withFile(2 * page, 7, (path) => {
      using file = mapFile(path);
      file.verify();
      truncateSync(path, page);
      const error = exceptionOf(() => file.verify());
      const { type, zxType, signal, signalNumber, codeNumber, address, addressLsb } = error.info;
      assert.deepEqual(
        { type, zxType, signal, signalNumber, codeNumber, address, addressLsb },
        {
          type: "bus-error",
          zxType: 0x108,
          signal: "SIGBUS",
          signalNumber: 7,
          codeNumber: 2,
          address: addressOf(file.bytes) + BigInt(page),
          addressLsb: null,
        },
      );
      assert.match(error.message, /4096 bytes .* from offset 4096 on, were lost/);
      assert.match(error.toReport().toText(), /BUS_ADRERR/);
      assert.equal(HardwareException.fromJSON(JSON.parse(JSON.stringify(error))).code, code);
    }),
};

const closing: Cases = {
  "close() empties every view, and gives the memory back": () =>
    withFile(2 * page, 7, (path) => {
      const file = mapFile(path);
      const { bytes } = file;
      const part = bytes.subarray(10, 20);
      const address = addressOf(bytes);
      assert.equal(mappingOf(address)?.path, path);
      file.close();
      assert.deepEqual([bytes.length, part.length, part[0]], [0, 0, undefined]);
      assert.notEqual(mappingOf(address)?.path, path);
      file.close();
      file[Symbol.dispose]();
      for (const use of [() => file.lost(), () => file.verify(), () => file.flush()]) {
        failsWith(use, Error, "CLOSED", /closed/);
      }
    }),

  "close() leaves zeroes to whoever was given the buffer": () =>
    withFile(2 * page, 7, (path) => {
      const file = mapFile(path);
      const { bytes } = file;
      const buffer = bytes.buffer as ArrayBuffer;
      const taken = new Uint8Array(structuredClone(buffer, { transfer: [buffer] }));
      assert.deepEqual([bytes.length, taken[0]], [0, 7]);
      file.close();
      assert.equal(sum(taken), 0);
      taken[0] = 1;
      assert.equal(taken[0], 1);
    }),

  "close() leaves zeroes where a buffer cannot be emptied": () =>
    withFile(2 * page, 7, (path) => {
      const file = mapFile(path);
      const { bytes } = file;
      markAsUntransferable(bytes.buffer);
      file.close();
      for (let index = 0; index < bytes.length; index++) assert.equal(bytes[index], 0);
    }),

  "gives a place back with each close()": () =>
    withFile(page, 7, (path) => {
      for (let round = 0; round < 3000; round++) {
        using file = mapFile(path);
        assert.equal(file.bytes[0], 7);
      }
      assert.equal(holders(path), 0);
    }),

  "refuses the one that is too many, and says what to do": () =>
    withFile(page, 7, (path) => {
      const files: MappedFile[] = [];
      try {
        failsWith(
          () => {
            for (let round = 0; round < 1025; round++) files.push(mapFile(path));
          },
          Error,
          undefined,
          /there are 1,024 .*: close some$/,
        );
      } finally {
        for (const file of files) file.close();
      }
      using file = mapFile(path);
      assert.equal(file.bytes[0], 7);
    }),
};

const refusing: Cases = {
  "says why a file cannot be mapped": () =>
    withFile(100, 7, (path) => {
      failsWith(() => mapFile(`${path}.missing`), Error, "ENOENT", /ENOENT/);
      failsWith(() => mapFile(`${path}/below`), Error, "ENOTDIR", /ENOTDIR/);
      failsWith(() => mapFile(dirname(path)), Error, "EISDIR", /directory/);
      failsWith(() => mapFile(dirname(path), { write: true }), Error, "EISDIR", /directory/);
      failsWith(() => mapFile("/dev/null"), Error, "ENODEV", /no regular file/);
    }),

  "refuses ranges that are not in the file": () =>
    withFile(100, 7, (path) => {
      const refused = [
        { offset: 101n },
        { byteLength: 101 },
        { offset: 50n, byteLength: 51 },
        { offset: -1n },
        { offset: 2n ** 64n },
        { byteLength: -1 },
        { byteLength: 1.5 },
        { byteLength: NaN },
        { byteLength: 2 ** 53 },
      ];
      for (const options of refused) assert.throws(() => mapFile(path, options), RangeError);
    }),

  "refuses more than arrays or addresses there are": () =>
    withFile(0, 0, (path) => {
      truncateSync(path, 2 ** 43);
      using tail = mapFile(path, { offset: BigInt(2 ** 43 - 10) });
      assert.equal(tail.bytes.length, 10);
      // One of the two runtimes has arrays as long as that, where the system has the addresses.
      try {
        using file = mapFile(path);
        assert.equal(file.bytes.length, 2 ** 43);
        truncateSync(path, page);
        assert.equal(file.bytes[2 ** 42], 0);
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),

  "refuses arguments of another kind": () =>
    withFile(100, 7, (path) => {
      // deno-lint-ignore no-explicit-any
      const any = (value: unknown): any => value;
      for (const value of [5, null, undefined, {}, new Uint8Array(3)].map(any)) {
        assert.throws(() => mapFile(value), TypeError);
      }
      const options = [
        null,
        5,
        { offset: 5 },
        { offset: "5" },
        { byteLength: 5n },
        { byteLength: null },
        { write: 1 },
      ];
      for (const value of options.map(any)) assert.throws(() => mapFile(path, value), TypeError);
      assert.throws(() => mapFile(new URL("https://example.com/file")), TypeError);
    }),
};

/** All of them. */
export const mappedFileCases: Cases = {
  ...reading,
  ...losing,
  ...closing,
  ...refusing,
};
