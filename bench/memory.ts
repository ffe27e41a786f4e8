/**
 * The memory functions against what a program would use without them, through the runtime's own
 * FFI: `readMemory` and `writeMemory` over libc's memcpy, `isReadable` over process_vm_readv.
 *
 *     bun bench/memory.ts
 *     deno run --allow-all bench/memory.ts
 */
import process from "node:process";
import { addressOf, dlopen, isReadable, readMemory, writeMemory } from "../mod.ts";
import {
  interleave,
  loop,
  median,
  nanoseconds,
  perRound,
  plainLibrary,
  printTable,
  runtimeName,
  time,
} from "./measure.ts";

const aim = 1.2;
const rounds = 41;

const libc = plainLibrary("libc.so.6", {
  memcpy: { parameters: ["buffer", "buffer", "usize"], result: "void" },
  process_vm_readv: {
    parameters: ["i32", "buffer", "u64", "buffer", "u64", "u64"],
    result: "i64",
  },
});

/** A body of a loop with what it names, as source text. */
type Candidate = readonly [values: Readonly<Record<string, unknown>>, body: string];

/** A table of median times and of ratios to the first candidate. */
function compare(title: string, count: number, candidates: Record<string, Candidate>): number[] {
  const runs = Object.entries(candidates).map(([name, [values, body]]) => {
    const run = loop(values, `for (let i = 0; i < count; i++) { ${body} }`);
    return [name, (): number => time(run, count)] as const;
  });
  const samples = interleave(Object.fromEntries(runs), rounds);
  const first = samples[runs[0]![0]]!;
  const ratios = runs.map(([name]) => perRound((one, base) => one / base, samples[name]!, first));
  const rows = runs.map(([name], index) => [
    name,
    nanoseconds(median(samples[name]!)),
    ratios[index]!.toFixed(2),
  ]);
  printTable([title, "ns", "ratio"], rows);
  console.log();
  return ratios;
}

function compareCopies(byteLength: number, count: number): number[] {
  const source = new Uint8Array(byteLength).fill(1);
  const target = new Uint8Array(byteLength).fill(2);
  const values = { source, target, from: addressOf(source), to: addressOf(target), byteLength };
  return compare(`copy of ${byteLength} bytes`, count, {
    memcpy: [{ ...values, memcpy: libc.memcpy }, "memcpy(target, source, byteLength);"],
    readMemory: [{ ...values, readMemory }, "readMemory(from, target);"],
    writeMemory: [{ ...values, writeMemory }, "writeMemory(to, source);"],
  });
}

/** Whether process_vm_readv can read the range: the kernel's own check, which copies. */
function readvAsker(byteLength: number): (address: bigint) => boolean {
  const buffer = new Uint8Array(byteLength);
  const length = BigInt(byteLength);
  const local = BigUint64Array.of(addressOf(buffer), length);
  const remote = BigUint64Array.of(0n, length);
  const { pid } = process;
  return (address) => {
    remote[0] = address;
    const copied = libc.process_vm_readv(pid, local, 1, remote, 1, 0) as number | bigint;
    return buffer.byteLength !== 0 && Number(copied) === byteLength;
  };
}

function compareAsking(title: string, address: bigint, byteLength: number, good: boolean): void {
  const ask = readvAsker(byteLength);
  const range = { address, byteLength };
  if (ask(address) !== good || isReadable(range) !== good) throw new Error(`${title}: wrong`);
  const into = new Uint8Array(byteLength);
  const caught: Record<string, Candidate> = {
    "readMemory, caught": [
      { readMemory, address, into },
      "try { readMemory(address, into); } catch {}",
    ],
  };
  compare(title, good ? 5_000 : 500, {
    process_vm_readv: [{ ask, address }, "ask(address);"],
    isReadable: [{ isReadable, range }, "isReadable(range);"],
    ...(good ? {} : caught),
  });
}

/** Every second address is bad, which no memory of the last answer can foresee. */
function compareAlternating(good: bigint, bad: bigint): void {
  const ask = readvAsker(8);
  const ranges = [good, bad].map((address) => ({ address, byteLength: 8 }));
  compare("readable, unreadable in turn", 500, {
    process_vm_readv: [{ ask, addresses: [good, bad] }, "ask(addresses[i & 1]);"],
    isReadable: [{ isReadable, ranges }, "isReadable(ranges[i & 1]);"],
  });
}

console.log(`${runtimeName}: median time and ratio to the first line, ${rounds} rounds\n`);
compareCopies(8, 5_000);
compareCopies(4096, 2_000);
const [, read, write] = compareCopies(1 << 20, 20);
compareCopies(64 << 20, 1);

const memory = new Uint8Array(1 << 20).fill(1);
const good = addressOf(memory);
using system = dlopen("libc.so.6", {
  mmap: { parameters: ["address", "usize", "i32", "i32", "i32", "i64"], result: "address" },
});
const anonymousPrivate = 0x22;
const closed = system.symbols.mmap(null, 4096, 0, anonymousPrivate, -1, 0);
compareAsking("readable, 8 bytes", good, 8, true);
compareAsking("readable, 64 KiB", good, 1 << 16, true);
compareAsking("unreadable, nothing mapped", 16n, 8, false);
compareAsking("unreadable, not canonical", 1n << 63n, 8, false);
compareAsking("unreadable, page without rights", closed, 8, false);
compareAlternating(good, closed);

console.log(`aim: 1 MiB below ${aim}; read ${read!.toFixed(2)}, write ${write!.toFixed(2)}`);
