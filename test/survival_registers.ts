/**
 * What `survival.ts` needs to know about the registers of an architecture. How the area that
 * fh_survive loads them from and writes them to is laid out stands there.
 *
 * @module
 */

/** A set of registers. */
export interface Level {
  readonly name: string;
  /** What fh_survive knows it by. */
  readonly number: number;
  /** Why it cannot be tested here, or false. Children with few permissions do not ask. */
  readonly lacking: () => string | false;
  /** Compares what was found in the registers with what was loaded. */
  readonly check: (before: Uint8Array, after: Uint8Array) => void;
}

/** Control words and flags. */
export interface Control {
  readonly name: string;
  /** Puts them, and whatever must not be just anything, into an area. `page` is fh_survive's. */
  readonly fill: (area: Uint8Array, page: bigint) => void;
  /** Checks the flags that were found. */
  readonly check: (after: Uint8Array) => void;
}

/** All of an architecture. */
export interface AllRegisters {
  /** The length of the area in pages. */
  readonly pageCount: number;
  readonly levels: readonly Level[];
  readonly controls: readonly Control[];
}

/** A view of an area. */
export function viewOfArea({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
