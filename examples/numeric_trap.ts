/**
 * A kernel that divides two arrays and does not test for what cannot be divided: the processor
 * does, at no cost. A hook supplies the results of the few divisions that trap.
 */
import { addHook, callable, dlopen, protect, writeMemory } from "../mod.ts";

// void divide(const int32_t *a, const int32_t *b, int32_t *quotients, uint32_t count)
const code = Uint8Array.of(
  ...[0x49, 0x89, 0xd0], //       mov  r8, rdx
  ...[0x41, 0x89, 0xc9], //       mov  r9d, ecx
  ...[0x31, 0xc9], //             xor  ecx, ecx
  ...[0x8b, 0x04, 0x8f], //    1: mov  eax, [rdi + 4 * rcx]
  ...[0x99], //                   cdq
  ...[0xf7, 0x3c, 0x8e], //       idiv dword ptr [rsi + 4 * rcx]
  ...[0x41, 0x89, 0x04, 0x88], // mov  [r8 + 4 * rcx], eax
  ...[0xff, 0xc1], //             inc  ecx
  ...[0x44, 0x39, 0xc9], //       cmp  ecx, r9d
  ...[0x75, 0xee], //             jne  1b
  ...[0xc3], //                   ret
);
const divisionEnds = 15n;
const divisionLength = 3n;

using libc = dlopen("libc.so.6", {
  mmap: { parameters: ["address", "usize", "i32", "i32", "i32", "i64"], result: "address" },
});
const byteLength = 4096;
const readWrite = 3; // PROT_READ | PROT_WRITE
const privateAnonymous = 0x22; // MAP_PRIVATE | MAP_ANONYMOUS
const address = libc.symbols.mmap(0n, BigInt(byteLength), readWrite, privateAnonymous, -1, 0n);
const range = { address, byteLength };
writeMemory(address, code);
protect(range, "r-x");
const divide = callable(address, { parameters: ["buffer", "buffer", "buffer", "u32"] });

const dividends = Int32Array.of(7, 7, -7, 0, -(2 ** 31), 9);
const divisors = Int32Array.of(2, 0, 0, 0, -1, 3);
const quotients = new Int32Array(dividends.length);

{
  // In the signal handler: what cannot be divided is 0.
  using hook = addHook({ signals: ["SIGFPE"], range }, {
    action: "set-registers",
    registers: { rax: 0n, rip: address + divisionEnds },
  });
  divide(dividends, divisors, quotients, quotients.length);
  console.log([...quotients], hook.hits, "traps"); // 3, 0, 0, 0, 0, 3; 4 traps
  if (quotients.join() !== "3,0,0,0,0,3") throw new Error("wrong quotients");
}
{
  // In JavaScript, which may look closer: the nearest number that there is.
  using hook = addHook({ signals: ["SIGFPE"], range }, ({ registers }) => {
    const index = Number(registers["rcx"]);
    const limit = dividends[index]! / divisors[index]! || 0;
    const nearest = Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, limit));
    registers["rax"] = BigInt(nearest);
    registers.instructionPointer += divisionLength;
    return "handled";
  });
  divide(dividends, divisors, quotients, quotients.length);
  console.log([...quotients], hook.hits, "traps");
  if (quotients.join() !== "3,2147483647,-2147483648,0,2147483647,3") throw new Error("wrong");
}
