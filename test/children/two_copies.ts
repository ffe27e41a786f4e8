/** Two copies of the package in one process: two sets of classes, and two native libraries. */
import { strict as assert } from "node:assert";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as ours from "../../mod.ts";
import {
  aboutToDie,
  allDispositions,
  exceptionOf,
  fixturePath,
  rawSymbols,
  runCase,
} from "../support.ts";

type Package = typeof ours;

const definitions = {
  fx_read: { parameters: ["address"], result: "u64" },
  fx_echo_f64: { parameters: ["f64"], result: "f64" },
} as const;

/** Another copy, which is on disk only until it is loaded. */
async function copy(): Promise<Package> {
  const folder = mkdtempSync(join(tmpdir(), "faultline-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["mod.ts", "lib"]) {
    const from = fileURLToPath(new URL(`../../${name}`, import.meta.url));
    cpSync(from, join(folder, name), { recursive: true });
  }
  return await import(pathToFileURL(join(folder, "mod.ts")).href) as Package;
}

async function instances(): Promise<void> {
  const theirs = await copy();
  assert.notEqual(theirs.HardwareException, ours.HardwareException);
  for (const { dlopen } of [ours, theirs]) {
    using library = dlopen(fixturePath, definitions);
    const error = exceptionOf(() => library.symbols.fx_read(5n));
    assert.ok(error instanceof ours.HardwareException);
    assert.ok(error instanceof theirs.HardwareException);
    assert.equal(error.code, "SEGV_MAPERR");
    assert.equal(error.info.address, 5n);
    assert.match(error.message, /fx_read/);
    for (const { catchException } of [ours, theirs]) {
      const result = catchException(() => library.symbols.fx_read(6n));
      assert.equal(result.ok, false);
    }
  }
}

async function faults(): Promise<void> {
  const packages = [ours, await copy()];
  const libraries = packages.map(({ dlopen }) => dlopen(fixturePath, definitions));
  for (let round = 0; round < 500; round++) {
    const { symbols } = libraries[round % 2]!;
    assert.equal(exceptionOf(() => symbols.fx_read(BigInt(round))).info.address, BigInt(round));
    assert.equal(symbols.fx_echo_f64(round / 4), round / 4);
  }
  assert.deepEqual(libraries.map(({ exceptionCount }) => exceptionCount), [250, 250]);
  for (const { status } of packages) assert.equal(status().caught, 250n);
}

async function handlers(): Promise<void> {
  const before = allDispositions();
  const theirs = await copy();
  using mine = ours.dlopen(fixturePath, definitions);
  using other = theirs.dlopen(fixturePath, definitions);
  const first = ours.install();
  const second = theirs.install();
  assert.equal(theirs.status().signals.SIGSEGV.owner, "faultline");
  assert.equal(ours.status().signals.SIGSEGV.owner, "other");
  assert.throws(() => first[Symbol.dispose](), /SIG[A-Z]+ .*was installed over ours/);
  for (const { symbols } of [mine, other]) exceptionOf(() => symbols.fx_read(0n));
  second[Symbol.dispose]();
  assert.equal(ours.status().signals.SIGSEGV.owner, "faultline");
  exceptionOf(() => mine.symbols.fx_read(0n));
  first[Symbol.dispose]();
  assert.deepEqual(allDispositions(), before);
  for (const { symbols } of [other, mine]) exceptionOf(() => symbols.fx_read(0n));
}

async function unguarded(): Promise<void> {
  const theirs = await copy();
  ours.install();
  theirs.install();
  const raw = rawSymbols(fixturePath, {
    fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  });
  aboutToDie();
  raw.fx_divide!(1, 0);
}

await runCase(import.meta.url, { instances, faults, handlers, unguarded });
