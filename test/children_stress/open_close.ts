/** Opens and closes the fixture often; reports what was held after a tenth and at the end. */
import process from "node:process";

import { status } from "../../mod.ts";
import { exceptionOf, openFixture } from "../support.ts";
import { collectGarbage, eventually, holdings, report } from "./holdings.ts";

const count = Number(process.argv[2]);

async function run(cycles: number): Promise<void> {
  for (let index = 0; index < cycles; index++) {
    using library = openFixture();
    if (library.symbols.fx_echo_i32(index) !== index) throw new Error("wrong result");
    if (index % 8 === 0) exceptionOf(() => library.symbols.fx_read(8n));
    if (index % 256 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
}

await run(count / 10);
collectGarbage();
const slotsBefore = status().openSymbols;
const before = holdings();
await run(count - count / 10);
await eventually(() => false, 5);
const after = holdings();
report({ before, after, slotsBefore, slotsAfter: status().openSymbols });
