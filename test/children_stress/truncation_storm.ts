/**
 * A file is truncated and extended 10,000 times while JavaScript and a native thread read it
 * through mappings: by this program, so that what must be reported is known to the byte, or by
 * another.
 */
import { spawn } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { addressOf, mapFile, type MappedFile } from "../../mod.ts";
import { openMemoryFixture, page, withFile } from "../memory_support.ts";
import { childArgs } from "../support.ts";
import { report } from "./holdings.ts";

const [role = "here", given = ""] = process.argv.slice(2);
const pages = 16;
const full = pages * page;
const content = new Uint8Array(full).fill(7);
const truncationsMax = 10_000;
const perMapping = 10;

const { symbols } = openMemoryFixture();
let seed = 12345;
/** A whole number below `limit`. */
function random(limit: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12345) & 0x7fff_ffff;
  return seed % limit;
}

const counts = { truncations: 0, unreported: 0, wrong: 0, lostPages: 0, nativeRounds: 0 };

/** The pages whose first byte is zero. */
function zeroPages(bytes: Uint8Array): number[] {
  const found: number[] = [];
  for (let index = 0; index * page < bytes.length; index++) {
    const byte = bytes[index * page];
    if (byte === 0) found.push(index);
    else if (byte !== 7) counts.wrong += 1;
  }
  return found;
}

/** Runs `body` while a native thread reads the mapping. */
function whileRead<T>(file: MappedFile, body: () => T): T {
  if (file.bytes.length === 0) return body();
  const mapped = BigInt(Math.ceil(file.bytes.length / page));
  symbols.fm_reader_start(0, addressOf(file.bytes), mapped, 7);
  try {
    return body();
  } finally {
    counts.nativeRounds += Number(symbols.fm_reader_rounds(0));
    counts.wrong += Number(symbols.fm_reader_stop(0));
  }
}

/** How many of the pages that read as zero are in no range that was lost. */
function unreported(file: MappedFile, seen: Iterable<number>): number {
  const lost = file.lost();
  const isLost = (index: number): boolean =>
    lost.some(({ offset, byteLength }) => {
      const start = Number(offset);
      return index * page >= start && index * page < start + byteLength;
    });
  return [...seen].filter((index) => !isLost(index)).length;
}

/** One mapping's part of the storm; `asks` calls lost() while the file is short. */
function storm(path: string, descriptor: number, write: boolean, asks: boolean): void {
  using file = mapFile(path, { write });
  let smallest = full;
  const seen = new Set<number>();
  whileRead(file, () => {
    for (let index = 0; index < perMapping; index++) {
      const size = random(2) === 0 ? random(full) : random(pages) * page;
      ftruncateSync(descriptor, size);
      counts.truncations += 1;
      smallest = Math.min(smallest, size);
      if (asks) file.lost();
      for (const found of zeroPages(file.bytes)) seen.add(found);
      writeSync(descriptor, content, 0, full, 0);
      for (const found of zeroPages(file.bytes)) seen.add(found);
    }
  });
  counts.unreported += unreported(file, seen);
  const [first, ...others] = file.lost();
  const start = Number(first?.offset ?? full);
  // Without a look at the size, a page that was cut in the middle is not known to be.
  const latest = asks ? smallest : Math.ceil(smallest / page) * page;
  const ends = first === undefined || start + first.byteLength === full;
  if (others.length !== 0 || !ends || start < smallest || start > latest) counts.unreported += 1;
  counts.lostPages += seen.size;
}

function here(path: string): void {
  const descriptor = openSync(path, "r+");
  for (let round = 0; counts.truncations < truncationsMax; round++) {
    storm(path, descriptor, round % 2 === 1, round % 3 === 0);
  }
  closeSync(descriptor);
}

/** Truncates and extends the file by itself, in whole pages so that no zero is the file's own. */
function peer(path: string): void {
  const descriptor = openSync(path, "r+");
  for (let index = 0; index < truncationsMax; index++) {
    ftruncateSync(descriptor, random(pages) * page);
    writeSync(descriptor, content, 0, full, 0);
  }
  closeSync(descriptor);
}

async function elsewhere(path: string): Promise<void> {
  const file = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...childArgs(file), "peer", path], { stdio: "inherit" });
  let code: number | null | undefined;
  child.on("exit", (status) => code = status);
  for (let round = 0; code === undefined; round++) {
    using mapping = mapFile(path, { write: round % 2 === 1 });
    const seen = new Set<number>();
    whileRead(mapping, () => {
      for (let pass = 0; pass < 20; pass++) {
        for (const found of zeroPages(mapping.bytes)) seen.add(found);
      }
    });
    counts.unreported += unreported(mapping, seen);
    counts.lostPages += seen.size;
    await delay(0);
  }
  if (code === 0) counts.truncations = truncationsMax;
}

if (role === "peer") {
  peer(given);
} else {
  await withFile(full, 7, async (path) => {
    if (role === "here") here(path);
    else await elsewhere(path);
  });
  report(counts);
}
