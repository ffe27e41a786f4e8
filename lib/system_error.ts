/**
 * Errors of system calls, as `node:fs` makes them.
 *
 * @module
 */
import { constants } from "node:os";
import { getSystemErrorName } from "node:util";

/** An Error with the errno's name as its code; `errno` is the number or the name. */
export function systemError(syscall: string, errno: number | string, message: string): Error {
  const number = typeof errno === "number"
    ? errno
    : (constants.errno as Readonly<Record<string, number>>)[errno]!;
  const code = typeof errno === "string" ? errno : getSystemErrorName(-errno);
  return Object.assign(new Error(`${message} (${code})`), { code, errno: -number, syscall });
}
