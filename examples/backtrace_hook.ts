/**
 * hw-exception's example: a hook sees a segmentation fault where it happens, takes a backtrace, and
 * throws it to the catch.
 */
import { addHook, catchException, dlopen, type StackFrame, throwException } from "../mod.ts";

using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
using hook = addHook(
  { signals: ["SIGSEGV"] },
  (exception) => throwException(exception.backtrace()),
);

const result = catchException(() => libc.symbols.strlen(0n));
if (result.ok) throw new Error("address 0 was read");

const { info, additional } = result.error;
const backtrace = additional as readonly StackFrame[];
console.log(`caught ${info.signal} (${info.code}) at address ${info.address}`);
for (const frame of backtrace) {
  console.log(`  0x${frame.address.toString(16)} ${frame.symbol ?? "?"} in ${frame.module ?? "?"}`);
}
if (backtrace.length === 0 || hook.hits !== 1) throw new Error("the hook threw no backtrace");
