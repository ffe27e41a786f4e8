/**
 * Protections of pages as text.
 *
 * @module
 */
import { protectionBits } from "./abi.ts";

/** Three letters or dashes, as in /proc/self/maps. */
export function protectionText(bits: number): string {
  const { read, write, execute } = protectionBits;
  return `${bits & read ? "r" : "-"}${bits & write ? "w" : "-"}${bits & execute ? "x" : "-"}`;
}
