/** A failed assert() as a value. The C library prints its own line to standard error first. */
import { catchException, dlopen } from "../mod.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(`${value}\0`);

using libc = dlopen("libc.so.6", {
  __assert_fail: {
    parameters: ["buffer", "buffer", "u32", "buffer"],
    signals: ["SIGABRT"], // abort() sends a signal: it is caught only where it is asked for.
  },
});
const result = catchException(() => {
  libc.symbols.__assert_fail(text("width > 0"), text("image.c"), 42, text("scale"));
});
if (result.ok) throw new Error("a failed assert() has returned");
console.log(result.error.info.type, result.error.info.signal); // abort SIGABRT
