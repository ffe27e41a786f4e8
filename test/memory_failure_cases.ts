/**
 * What happens when the machine's memory fails, as cases that run on any thread. The kernel tells
 * by a SIGBUS with a code, an address and the size of what was lost; here the program sends itself
 * the same.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { addHook, addressOf, type LiveException, mapFile, protect } from "../mod.ts";
import { openMemoryFixture, page, sum, withFile } from "./memory_support.ts";
import { type Cases, exceptionOf, fixtureFile, rawSymbols } from "./support.ts";

const { symbols } = openMemoryFixture();
const raw = rawSymbols(fixtureFile("memory_fixture.so"), {
  fm_fail: { parameters: ["i32", "u64", "i32"], result: "i32" },
});

/** BUS_MCEERR_AR: action required, the thread has touched it. */
const touched = 4;
/** BUS_MCEERR_AO: action optional, found by whoever looks for it. */
const found = 5;

/** A page of memory that belongs to nobody else, inside of `bytes`. */
function pageIn(bytes: Uint8Array): bigint {
  return (addressOf(bytes) + BigInt(page - 1)) & ~BigInt(page - 1);
}

const thrown: Cases = {
  "memory that failed is a machine check with its range": () => {
    const bytes = new Uint8Array(3 * page);
    const address = pageIn(bytes);
    for (const bits of [12, 21]) {
      const error = exceptionOf(() => symbols.fm_fail(touched, address, bits));
      const { type, zxType, code, addressLsb, call } = error.info;
      assert.deepEqual(
        { type, zxType, code, addressLsb, address: error.info.address, symbol: call?.symbol },
        {
          type: "machine-check",
          zxType: 0x008,
          code: "BUS_MCEERR_AR",
          addressLsb: bits,
          address,
          symbol: "fm_fail",
        },
      );
      assert.match(error.message, /BUS_MCEERR_AR/);
    }
    assert.equal(bytes.length, 3 * page);
  },
};

const mapped: Cases = {
  "a mapped file loses the page that failed, and goes on": () =>
    withFile(8 * page, 7, (path) => {
      for (
        const [number, code] of [[touched, "BUS_MCEERR_AR"], [found, "BUS_MCEERR_AO"]] as const
      ) {
        for (const write of [false, true]) {
          using file = mapFile(path, { write });
          assert.equal(sum(file.bytes), 7 * 8 * page);
          const address = addressOf(file.bytes) + BigInt(3 * page + 8);
          assert.equal(symbols.fm_fail_and_read(number, address, 12), 0n);
          assert.equal(sum(file.bytes), 7 * 7 * page);
          assert.deepEqual(file.lost(), [{ offset: BigInt(3 * page), byteLength: page, code }]);
          const { info } = exceptionOf(() => file.verify());
          const { type, zxType, addressLsb } = info;
          assert.deepEqual([type, zxType, info.code], ["machine-check", 0x008, code]);
          assert.deepEqual([info.address, addressLsb], [address - 8n, 12]);
        }
      }
      assert.equal(sum(readFileSync(path)), 7 * 8 * page);
    }),

  "a mapped file loses the whole range that failed, as far as it is its own": () =>
    withFile(64 * page, 7, (path) => {
      for (const [bits, count] of [[14, 4], [16, 16], [40, 64]] as const) {
        using file = mapFile(path);
        const start = addressOf(file.bytes);
        const length = 2n ** BigInt(bits);
        // In the middle of the mapping, where a range of that size begins.
        const address = bits === 40 ? start : (start + length - 1n) & ~(length - 1n);
        assert.equal(
          symbols.fm_fail(found, address + length / 2n * (bits === 40 ? 0n : 1n), bits),
          0,
        );
        const byteLength = count * page;
        const lost = [{ offset: address - start, byteLength, code: "BUS_MCEERR_AO" }];
        assert.deepEqual(file.lost(), lost);
        assert.equal(sum(file.bytes), 7 * (64 - count) * page);
      }
    }),

  "memory can fail again where it was replaced": () =>
    withFile(4 * page, 7, (path) => {
      using file = mapFile(path);
      const address = addressOf(file.bytes) + BigInt(page);
      assert.equal(symbols.fm_fail(found, address, 12), 0);
      file.bytes[page] = 5;
      assert.equal(symbols.fm_fail(touched, address, 12), 0);
      assert.equal(file.bytes[page], 0);
      const lost = [{ offset: BigInt(page), byteLength: page, code: "BUS_MCEERR_AR" }];
      assert.deepEqual(file.lost(), lost);
    }),

  "a mapped file goes on outside of guarded calls too": () =>
    withFile(4 * page, 7, (path) => {
      using file = mapFile(path);
      const address = addressOf(file.bytes);
      for (const number of [touched, found]) {
        assert.equal(raw.fm_fail!(number, address + BigInt(number * page - 4 * page), 12), 0);
      }
      assert.deepEqual(file.lost().map(({ offset, code }) => [offset, code]), [
        [0n, "BUS_MCEERR_AR"],
        [BigInt(page), "BUS_MCEERR_AO"],
      ]);
    }),
};

const hooked: Cases = {
  "a hook replaces memory that failed, touched or not": () => {
    const bytes = new Uint8Array(4 * page).fill(7);
    const address = pageIn(bytes);
    const range = { address, byteLength: page };
    using hook = addHook({ signals: ["SIGBUS"], range }, {
      action: "map",
      protection: "rw-",
      fill: Uint8Array.of(1, 2),
    });
    const offset = Number(address - addressOf(bytes));
    for (const [index, number] of [touched, found].entries()) {
      bytes[offset] = 7;
      assert.equal(symbols.fm_fail(number, address, 12), 0);
      assert.deepEqual([...bytes.subarray(offset, offset + 3)], [1, 2, 1]);
      assert.equal(hook.hits, index + 1);
    }
    assert.equal(bytes[offset + page], 7);
  },

  "a JavaScript hook sees the range that failed, and lets the call go on": () => {
    const bytes = new Uint8Array(3 * page);
    const address = pageIn(bytes);
    const seen: unknown[] = [];
    const look = ({ code, addressLsb, address: at, type }: LiveException): "handled" => {
      seen.push([type, code, addressLsb, at]);
      protect({ address, byteLength: page }, "rw-");
      return "handled";
    };
    using hook = addHook({ signals: ["SIGBUS"] }, look);
    assert.equal(symbols.fm_fail(touched, address, 12), 0);
    assert.deepEqual(seen, [["machine-check", "BUS_MCEERR_AR", 12, address]]);
    assert.equal(hook.hits, 1);
    assert.equal(bytes.length, 3 * page);
  },
};

/** All of them. */
export const memoryFailureCases: Cases = { ...thrown, ...mapped, ...hooked };
