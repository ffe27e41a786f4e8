/** A null pointer in the C library, caught. The README shows the same lines. */
import { dlopen, HardwareException } from "../mod.ts";

using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
try {
  libc.symbols.strlen(null);
} catch (error) {
  if (!(error instanceof HardwareException)) throw error;
  console.log(error.message);
  console.log(error.code, error.info.address, error.info.registers.instructionPointer);
}
console.log("still running");
