/**
 * A file that is loaded into a process.
 *
 * @module
 */

/** A file that code of this process comes from. */
export interface LoadedModule {
  readonly path: string;
  readonly base: bigint;
  readonly byteLength: bigint;
  /** Lower-case hexadecimal text; null when the file has none. */
  readonly buildId: string | null;
}
