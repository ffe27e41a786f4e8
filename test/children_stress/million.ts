/** A million caught faults (H41); reports what the process held after a tenth and at the end. */
import process from "node:process";

import { exceptionOf, openFixture } from "../support.ts";
import { collectGarbage, holdings, report } from "./holdings.ts";

const count = Number(process.argv[2]);
const { symbols } = openFixture();

function run(faults: number): void {
  for (let index = 0; index < faults; index++) {
    const address = BigInt(index % 4096);
    const error = exceptionOf(() => symbols.fx_read(address));
    // Decoding is dear; every fault is looked at, and one in a hundred completely.
    if (error.code !== "SEGV_MAPERR") throw error;
    if (index % 100 === 0 && error.info.address !== address) throw error;
  }
}

run(count / 10);
collectGarbage();
const before = holdings();
run(count - count / 10);
collectGarbage();
const after = holdings();
report({ before, after });
