/**
 * Native libraries inside modules, for packages whose modules are no files. Here there are none:
 * the files are next to the modules. test/jsr.mjs replaces this file where they are not.
 *
 * @module
 */

/** Libraries by their file's name: gzip in base64. */
export type EmbeddedLibraries = Readonly<Record<string, string>>;

/** By platform. */
export const embedded: Readonly<Record<string, EmbeddedLibraries>> = {};
