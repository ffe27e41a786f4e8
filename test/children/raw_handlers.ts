/** Foreign signal handlers, and faults that no guarded call makes, by the runtime's own FFI. */
import { strict as assert } from "node:assert";
import { arm64 } from "../platform_support.ts";
import { type Disposition, dispositionReader, fixturePath, numbers } from "../support.ts";
import { type RawFunction, rawSymbols } from "../support.ts";

/** Functions of the fixture, without recovery points. */
export const raw: Readonly<Record<string, RawFunction>> = rawSymbols(fixturePath, {
  fx_read: { parameters: ["u64"], result: "u64" },
  fx_divide: { parameters: ["i32", "i32"], result: "i32" },
  fx_int3: { parameters: [], result: "i32" },
  fx_kill_self: { parameters: ["u32"], result: "i32" },
  fx_protect: { parameters: ["u64", "u64", "u32"], result: "i32" },
  fx_mend: { parameters: ["u64"], result: "void" },
  fx_seen: { parameters: ["buffer"], result: "void" },
  fx_set_disposition: { parameters: ["u32", "buffer"], result: "i32" },
  fx_install_handler: { parameters: ["u32", "u32", "u64", "u64", "u64"], result: "i32" },
});

/** Reads one disposition. */
export const read: (signal: number) => Disposition = dispositionReader();

/**
 * Installs the fixture's handler, plain or with siginfo, and forgets what it saw. `advance`: the
 * bytes of the instruction to skip, on x64; all have 4 on arm64.
 */
export function setHandler(
  signal: keyof typeof numbers,
  withInfo: 0 | 1,
  flags: bigint,
  mask: bigint,
  advance: bigint,
): void {
  const length = arm64 && advance !== 0n ? 4n : advance;
  assert.equal(raw.fx_install_handler!(numbers[signal], withInfo, flags, mask, length), 0);
}

/** What the fixture's handlers saw last, and how often they were called. */
export interface Seen {
  readonly count: bigint;
  readonly signal: bigint;
  readonly code: bigint;
  readonly address: bigint;
  readonly ip: bigint;
  readonly mask: bigint;
}

/** Asks the fixture's handlers. */
export function seen(): Seen {
  const words = new BigInt64Array(6);
  raw.fx_seen!(words);
  const [count, signal, code, address, ip, mask] = words as unknown as bigint[];
  return { count, signal, code, address, ip, mask } as Seen;
}
