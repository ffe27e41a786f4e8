/** Signatures at random: arguments, results and faults, by every way that a call can take. */
import process from "node:process";
import { after, test } from "node:test";
import { callsPass } from "./calls_support.ts";
import { checkSignatures } from "./signature_check.ts";
import {
  buildLibrary,
  compilerMissing,
  generateSignatures,
  randomFrom,
} from "./signature_generator.ts";
import { rmSync } from "node:fs";

const seed = Number(process.env.FAULTLINE_SEED ?? Date.now() % 2 ** 31);
const count = 200;
const skip = compilerMissing();
const signatures = generateSignatures(randomFrom(seed), count);
const path = skip === false ? buildLibrary(signatures) : "";

after(() => {
  if (skip !== false) return;
  for (const file of [path, path.replace(/so$/, "c")]) rmSync(file, { force: true });
});

for (const kind of ["synchronous", "nonblocking"] as const) {
  test(`dlopen() calls ${count} signatures of FAULTLINE_SEED=${seed}, ${kind}`, { skip }, () => {
    return checkSignatures(path, signatures, randomFrom(seed + 1), kind);
  });
}

test(`dlopen() calls ${count} signatures of FAULTLINE_SEED=${seed} without a thunk`, {
  skip,
}, () => {
  callsPass("signatures", "withoutThunks", "main", path, String(seed), String(count));
});
