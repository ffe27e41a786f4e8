/** Memory fails that nobody looks after: with Faultline ("untouched", "beside") and without. */
import process from "node:process";
import { addressOf, mapFile } from "../../mod.ts";
import { openMemoryFixture, page, withFile } from "../memory_support.ts";
import { fixtureFile, rawSymbols } from "../support.ts";

const optional = 5; // BUS_MCEERR_AO
const anywhere = 0x10_0000n;

const cases: Readonly<Record<string, () => void>> = {
  raw: () => {
    const raw = rawSymbols(fixtureFile("memory_fixture.so"), {
      fm_fail: { parameters: ["i32", "u64", "i32"], result: "i32" },
    });
    raw["fm_fail"]!(optional, anywhere, 12);
  },
  untouched: () => void openMemoryFixture().symbols.fm_fail(optional, anywhere, 12),
  beside: () =>
    withFile(2 * page, 7, (path) => {
      using file = mapFile(path);
      const end = addressOf(file.bytes) + BigInt(2 * page);
      openMemoryFixture().symbols.fm_fail(optional, end, 12);
      if (file.lost().length !== 0) throw new Error("it was taken for the mapping's own");
    }),
};

console.log("about to fail");
cases[process.argv[2]!]!();
console.log("went on");
