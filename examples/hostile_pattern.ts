/**
 * Patterns from strangers. The C library's regcomp() recurses once for each parenthesis, so that a
 * long row of them overflows the stack: one pattern is refused, and the program goes on.
 */
import { dlopen, HardwareException } from "../mod.ts";

const extendedSyntax = 1;
const patternByteLength = 64; // sizeof(regex_t) in glibc on 64-bit machines
const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

using libc = dlopen("libc.so.6", {
  regcomp: { parameters: ["buffer", "buffer", "i32"], result: "i32" },
  regexec: { parameters: ["buffer", "buffer", "usize", "address", "i32"], result: "i32" },
  regfree: { parameters: ["buffer"] },
});

/** Whether `subject` matches; null when the pattern cannot be used. */
function matches(pattern: string, subject: string): boolean | null {
  const compiled = new Uint8Array(patternByteLength);
  try {
    if (libc.symbols.regcomp(compiled, text(pattern), extendedSyntax) !== 0) return null;
  } catch (error) {
    if (!(error instanceof HardwareException)) throw error;
    console.log(error.message);
    return null; // What regcomp() had allocated is lost, and `compiled` is not fit for regfree().
  }
  const matched = libc.symbols.regexec(compiled, text(subject), 0n, null, 0) === 0;
  libc.symbols.regfree(compiled);
  return matched;
}

const patterns = ["^fault", "(".repeat(200_000), "(line|lane)$"];
const results = patterns.map((pattern) => matches(pattern, "faultline"));
console.log(results); // true, null, true
if (results.join() !== "true,,true") throw new Error(`wrong results: ${results}`);
