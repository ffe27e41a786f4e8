/** Libraries that are dropped without `close()`: their slots must come back. */
import process from "node:process";

import { dlopen, status } from "../../mod.ts";
import { exceptionOf, fixturePath } from "../support.ts";
import { eventually, report } from "./holdings.ts";

const definitions = {
  fx_echo_i32: { parameters: ["i32"], result: "i32" },
  fx_read: { parameters: ["address"], result: "u64" },
} as const;
const count = Number(process.argv[2]);
const kept = dlopen(fixturePath, definitions);
const start = status().openSymbols;

/** A function of its own, so that no register keeps the last library alive. */
function openSome(libraries: number): number {
  for (let index = 0; index < libraries; index++) {
    const { symbols } = dlopen(fixturePath, definitions);
    exceptionOf(() => symbols.fx_read(8n));
  }
  return status().openSymbols;
}

let peak = 0;
let freed = true;
for (let round = 0; round < count; round++) {
  const now = openSome(100);
  peak = Math.max(peak, now);
  freed &&= await eventually(() => status().openSymbols < now, 100);
}
// Collectors that scan the stack may keep a few: what matters is that the table never fills up.
await eventually(() => status().openSymbols <= start, 100);
exceptionOf(() => kept.symbols.fx_read(8n));
report({ start, peak, freed, end: status().openSymbols });
