/**
 * What a process holds that could leak, read from /proc; and garbage collection on demand.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

interface Host {
  readonly gc?: () => void;
  readonly Bun?: { gc(force: boolean): void };
}

/** Collects garbage now, where the runtime lets a program say so. */
export function collectGarbage(): void {
  const host = globalThis as unknown as Host;
  if (host.Bun !== undefined) host.Bun.gc(true);
  else host.gc?.();
}

/** What this process holds. */
export interface Holdings {
  readonly residentKib: number;
  /** What JavaScript itself has in use. */
  readonly heapKib: number;
  readonly descriptors: number;
  readonly threads: number;
  /** Threads of Workers: the runtimes name them so. */
  readonly workerThreads: number;
  readonly maps: number;
  readonly alternateStacks: number;
}

interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly access: string;
  readonly name: string;
}

const mappingPattern = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$/;

function mappings(): Mapping[] {
  const lines = readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n");
  return lines.map((line) => {
    const [, start, end, access = "", name = ""] = mappingPattern.exec(line)!;
    return { start: BigInt(`0x${start}`), end: BigInt(`0x${end}`), access, name };
  });
}

/** Whether the native library is loaded into this process. */
export function isFaultlineLoaded(): boolean {
  return mappings().some(({ name }) => name.endsWith("/faultline.so"));
}

const alternateStackLength = 64n * 1024n;
const pageLength = 4096n;

/**
 * Counts mappings of the shape that an alternate stack of ours has: 64 KiB of nameless memory right
 * above an inaccessible page. The kernel joins neighbours of equal access, so one of ours next to
 * foreign memory may be missed, but never all of them, and after the threads' end none may be left.
 */
export function alternateStacks(): number {
  const all = mappings();
  return all.filter(({ start, end, access, name }, index) => {
    const below = all[index - 1];
    return end - start === alternateStackLength && access === "rw-p" && name === "" &&
      below !== undefined && below.end === start && below.access === "---p" &&
      below.end - below.start === pageLength;
  }).length;
}

function threadNames(): string[] {
  return readdirSync("/proc/self/task").flatMap((id) => {
    try {
      return [readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim()];
    } catch {
      return []; // It ended since the folder was read.
    }
  });
}

/** What this process holds now. */
export function holdings(): Holdings {
  const status = readFileSync("/proc/self/status", "utf8");
  const names = threadNames();
  return {
    residentKib: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]),
    heapKib: Math.round(process.memoryUsage().heapUsed / 1024),
    descriptors: readdirSync("/proc/self/fd").length,
    threads: names.length,
    workerThreads: names.filter((name) => /^(?:Worker|worker-\d+)$/.test(name)).length,
    maps: mappings().length,
    alternateStacks: alternateStacks(),
  };
}

/** Collects garbage until `condition` holds, at most `rounds` times. Gives whether it holds. */
export async function eventually(condition: () => boolean, rounds: number): Promise<boolean> {
  for (let round = 0; round < rounds && !condition(); round++) {
    collectGarbage();
    await delay(20);
  }
  return condition();
}

/** Prints what the test reads. */
export function report(value: unknown): void {
  console.log(JSON.stringify(value));
}
