/**
 * Files in the system's folder for temporary files, for native libraries that no file system has
 * and where the system allows no files in memory.
 *
 * @module
 */
import type { Stats } from "node:fs";
import { builtin } from "./builtin.ts";

const onlyOwner = 0o700;
const othersMask = 0o077;

/** What lies at `path`, links not followed; null when nothing does. */
function look(path: string): Stats | null {
  return builtin("node:fs").lstatSync(path, { throwIfNoEntry: false }) ?? null;
}

function isSame(path: string, bytes: Uint8Array): boolean {
  const found = look(path);
  if (found === null || !found.isFile() || found.size !== bytes.byteLength) return false;
  const content = builtin("node:fs").readFileSync(path);
  return content.every((byte, index) => byte === bytes[index]);
}

/**
 * The path of a file with these bytes, in a folder that nobody else may write to. All threads and
 * processes of a user get the same one: what is there already is compared byte by byte.
 *
 * @param folder Where temporary files go.
 * @param name Unique to these bytes.
 * @throws {Error} If the file cannot be made, or somebody else could change it.
 */
export function temporaryFile(folder: string, name: string, bytes: Uint8Array): string {
  const { mkdirSync, renameSync, statSync, unlinkSync, writeFileSync } = builtin("node:fs");
  const own = `${folder}/faultline-${name}`;
  try {
    mkdirSync(own, { mode: onlyOwner });
  } catch (error) {
    if (look(own) === null) throw error;
  }
  const fresh = `${own}/${globalThis.crypto.randomUUID()}`;
  writeFileSync(fresh, bytes, { flag: "wx", mode: onlyOwner });
  try {
    // Whoever owns the folder can replace what is in it. Who we are, the new file says.
    const { uid } = statSync(fresh);
    const found = look(own)!;
    if (!found.isDirectory() || found.uid !== uid || (found.mode & othersMask) !== 0) {
      throw new Error(`${own} belongs to another user, or others may write to it: remove it`);
    }
    const path = `${own}/${name}`;
    // A file that is right stays: the loader knows it by its inode.
    if (!isSame(path, bytes)) renameSync(fresh, path);
    return path;
  } finally {
    if (look(fresh) !== null) unlinkSync(fresh);
  }
}
