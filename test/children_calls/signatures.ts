/** The generated library when every thunk is taken. */
import { strict as assert } from "node:assert";
import process from "node:process";
import { dlopen, status } from "../../mod.ts";
import { takeAllThunks } from "../calls_support.ts";
import { checkSignatures } from "../signature_check.ts";
import { generateSignatures, randomFrom } from "../signature_generator.ts";
import { fixturePath, runCase } from "../support.ts";

async function withoutThunks(): Promise<void> {
  const [path, seed, count] = process.argv.slice(4) as [string, string, string];
  takeAllThunks();
  const open = status().openSymbols;
  using more = dlopen(fixturePath, { fx_noted: { result: "u64" } });
  assert.equal(more.symbols.fx_noted(), 0n);
  assert.equal(status().openSymbols, open, "a thunk was left");
  const signatures = generateSignatures(randomFrom(Number(seed)), Number(count));
  await checkSignatures(path, signatures, randomFrom(Number(seed) + 2), "synchronous");
  assert.equal(status().openSymbols, open);
}

await runCase(import.meta.url, { withoutThunks });
