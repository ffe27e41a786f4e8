/**
 * The names of guarded calls where the crash reporter finds them: of the call that runs, and of the
 * last ones of each thread.
 *
 * @module
 */
import type { Native } from "./native.ts";

const ringLength = 16;

/** How a wrapper notes its call: `ring[ring[16] = (ring[16] + 1) & 15] = crumb`. */
export interface Breadcrumb {
  readonly ring: Uint32Array;
  readonly crumb: number;
}

const encoder = new TextEncoder();
const names = new Map<string, number>();
let ring: Uint32Array | undefined;

/** The number of a name in native memory; null when there is no room for more. */
function nameNumber({ functions }: Native, library: string, symbol: string): number | null {
  const key = `${library}\0${symbol}`;
  const known = names.get(key);
  if (known !== undefined) return known < 0 ? null : known;
  // A view of nothing has no address in one of the runtimes.
  const [path, name] = [library, symbol].map((text) => encoder.encode(`${text}\0`));
  const number = functions.fl_name_add!(
    ...[path, path!.byteLength - 1],
    ...[name, name!.byteLength - 1],
  ) as number;
  names.set(key, number);
  return number < 0 ? null : number;
}

/** Says by which name calls through a slot are known. */
export function nameCallsOf(native: Native, slot: number, library: string, symbol: string): void {
  const number = nameNumber(native, library, symbol);
  if (number !== null) native.functions.fl_slot_name!(slot, number);
}

/** How a call block says by which name it is known; 0 for none. */
export function blockName(native: Native, library: string, symbol: string): number {
  const number = nameNumber(native, library, symbol);
  return number === null ? 0 : number + 1;
}

/** Notes a call. */
export function leaveCrumb({ ring, crumb }: Breadcrumb): void {
  ring[ring[16] = (ring[16]! + 1) & 15] = crumb;
}

/**
 * What the wrapper of a function notes at each call; null without a crash reporter: noting takes
 * time. Functions that were opened before it was installed note nothing.
 */
export function breadcrumbOf(native: Native, library: string, symbol: string): Breadcrumb | null {
  if (native.functions.fl_crash_active!() === 0) return null;
  const number = nameNumber(native, library, symbol);
  if (number === null) return null;
  if (ring === undefined) {
    // Shared memory never moves: native code keeps its address until the thread ends.
    ring = new Uint32Array(new SharedArrayBuffer((ringLength + 1) * 4));
    native.functions.fl_crumbs!(ring, ring.byteLength);
  }
  return { ring, crumb: number + 1 };
}
