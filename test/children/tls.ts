/** Guarded calls after other libraries have used up the loader's surplus of static TLS. */
import { strict as assert } from "node:assert";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";
import { processStatusLayout } from "../../lib/abi.ts";
import { native } from "../../lib/native.ts";
import { dlopen } from "../../mod.ts";
import { isMusl } from "../musl_support.ts";
import { exceptionOf, fixtureFile, fixturePath } from "../support.ts";
import { openFixture, rawSymbols, runCase, runWorker } from "../support.ts";

const url = new URL(import.meta.url);

/** Loads copies of a library until the loader refuses one; how many it took. */
function eat(name: string): number {
  const folder = mkdtempSync(join(tmpdir(), "faultline-"));
  try {
    for (let count = 0; count < 2_000; count++) {
      const path = join(folder, `${count}.so`);
      copyFileSync(fixtureFile(name), path);
      try {
        rawSymbols(path, { fx_eat: { parameters: [], result: "void" } });
      } catch (error) {
        // Bun does not repeat the loader's words.
        assert.match(String(error), /static TLS|Failed to open library/);
        return count;
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.fail(`2,000 copies of ${name} did not use the surplus up`);
}

function eatAll(): void {
  // musl has no surplus: what is opened later is always dynamic, and static TLS is refused.
  if (isMusl) return assert.equal(eat("tls_eater_16.so"), 0);
  assert.ok(eat("tls_eater_448.so") > 0);
  eat("tls_eater_16.so");
  assert.equal(eat("tls_eater_16.so"), 0);
}

function isStatic(): boolean {
  const bytes = new Uint8Array(processStatusLayout.byteLength);
  assert.equal(native().functions.fl_status!(bytes, bytes.byteLength), 0);
  return new DataView(bytes.buffer).getUint32(processStatusLayout.static_tls.offset, true) !== 0;
}

const mix = {
  fx_mix: {
    parameters: [
      ...["i8", "u16", "i32", "u32", "i64", "u64"] as const,
      ...["f32", "f64", "f64", "f32", "f64", "f64", "f64", "f64"] as const,
    ],
    result: "f64",
  },
} as const;

/** The first call of a thread has 14 arguments. */
function inMix(): void {
  using library = dlopen(fixturePath, mix);
  const { fx_mix } = library.symbols;
  for (let round = 0; round < 3; round++) {
    assert.equal(fx_mix(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1), 239);
    assert.equal(fx_mix(0, 0, 0, 0, 0, 0, 0.5, 1.5, 2.5, 0, 0, 0, 0, 4.5), 264);
  }
  assert.equal(isStatic(), false);
}

/** The first call of a thread faults. */
function inFault(): void {
  const { symbols } = openFixture();
  for (let round = 0; round < 50; round++) {
    assert.equal(exceptionOf(() => symbols.fx_read(BigInt(round))).info.address, BigInt(round));
    assert.equal(symbols.fx_echo_f64(0.5 + round), 0.5 + round);
  }
  assert.equal(isStatic(), false);
}

function withoutSurplus(): void {
  eatAll();
  inMix();
  inFault();
}

async function freshWorkers(): Promise<void> {
  withoutSurplus();
  for (let round = 0; round < 2; round++) {
    await Promise.all([runWorker(url, "inMix"), runWorker(url, "inFault")]);
  }
  inFault();
}

async function overflows(): Promise<void> {
  if (isMainThread) eatAll();
  const { symbols } = openFixture();
  for (let round = 0; round < 5; round++) {
    assert.equal(exceptionOf(() => symbols.fx_overflow(0)).info.type, "stack-overflow");
  }
  assert.equal(isStatic(), false);
  if (isMainThread) await runWorker(url, "overflows");
}

await runCase(import.meta.url, { inMix, inFault, withoutSurplus, freshWorkers, overflows });
