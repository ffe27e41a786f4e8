/**
 * What tests have to know about musl.
 *
 * @module
 */
import { readFileSync } from "node:fs";

/** Whether this runtime's C library is musl, whose loader is in every such process. */
export const isMusl: boolean = /\/ld-musl-[^/]*\.so\.1$/m.test(
  readFileSync("/proc/self/maps", "utf8"),
);

/** Options of a test that musl cannot pass, and why. */
export function notOnMusl(reason: string): { skip: string | false } {
  return { skip: isMusl ? reason : false };
}

/** What the loader says of a file that is not there. */
export function missingFile(path: string): string {
  return isMusl
    ? `Error loading shared library ${path}: No such file or directory`
    : "cannot open shared object file: No such file or directory";
}

/** What the loader says of a file that is a few bytes of text. */
export function shortFile(path: string): string {
  return isMusl ? `Error loading shared library ${path}: Exec format error` : "file too short";
}

/** Why musl's functions are not known to be running where glibc's are. */
export const muslHasNoUnwindTables =
  "musl is built without unwind tables, so its callers are not found for certain";
