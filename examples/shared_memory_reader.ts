/**
 * A reader of memory that it shares with another process through a file. In the middle of its work
 * the other one truncates the file, by which a reader usually dies of SIGBUS. This one finishes,
 * and knows that it must not believe what it read.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HardwareException, mapFile } from "../mod.ts";

const samples = 100_000;
const folder = mkdtempSync(join(tmpdir(), "faultline_shared_"));
const path = join(folder, "samples");
writeFileSync(path, new Float64Array(samples).fill(1.5));

/** The peer: another process, which starts the file anew. */
function peerTruncates(): void {
  const { status } = spawnSync("sh", ["-c", ': > "$1"', "sh", path], { stdio: "inherit" });
  if (status !== 0) throw new Error(`the peer ended with ${status}`);
}

/** The mean of all samples; `half` is called in the middle. */
function mean(values: Float64Array, half: () => void): number {
  let total = 0;
  for (let index = 0; index < values.length; index++) {
    if (index === values.length / 2) half();
    total += values[index]!;
  }
  return total / values.length;
}

/** Reads, and believes what it read only if nothing was lost meanwhile. */
function read(half: () => void): void {
  using file = mapFile(path);
  const values = new Float64Array(file.bytes.buffer, file.bytes.byteOffset, samples);
  const result = mean(values, half);
  try {
    file.verify();
    console.log(`mean ${result}`);
  } catch (error) {
    if (!(error instanceof HardwareException)) throw error;
    const lost = file.lost().map(({ offset, byteLength }) => `${byteLength} bytes from ${offset}`);
    console.log(`not ${result}: ${error.code}, ${lost.join(" and ")} were lost`);
    return;
  }
}

try {
  read(() => {}); // mean 1.5
  read(peerTruncates); // not 0.75...: BUS_ADRERR, 800000 bytes from 0 were lost
  console.log("still running");
} finally {
  rmSync(folder, { recursive: true });
}
