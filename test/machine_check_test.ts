/**
 * Memory that the hardware lost. Marking a page as broken takes it out of use until the kernel
 * restarts, so `npm run test:platforms` runs this file in a virtual machine.
 */
import { strict as assert } from "node:assert";
import process from "node:process";
import { test } from "node:test";
import { catchException, dlopen, isReadable, readMemory } from "../mod.ts";
import { exceptionOf, openFixture } from "./support.ts";

const skip = process.env.FAULTLINE_MACHINE_CHECK === "1"
  ? false
  : "it takes memory out of use: npm run test:platforms runs it in a virtual machine";

const pageByteLength = 4096n;
const readAndWrite = 3;
const hardwarePoison = 100; // MADV_HWPOISON of include/uapi/asm-generic/mman-common.h

/** A page that the kernel takes for broken. */
function brokenPage(): bigint {
  const { symbols } = openFixture();
  const page = symbols.fx_map(pageByteLength, readAndWrite);
  symbols.fx_write(page, 1n);
  using libc = dlopen("libc.so.6", {
    madvise: { parameters: ["address", "usize", "i32"], result: "i32" },
  });
  // The kernel tells the thread that it lost a page of it, which ends the call.
  const result = catchException(() => libc.symbols.madvise(page, pageByteLength, hardwarePoison));
  assert.ok(!result.ok, "madvise() gave no signal");
  assert.equal(result.error.info.type, "machine-check");
  return page;
}

test("dlopen() catches a machine check, with the byte and the range", { skip }, () => {
  const page = brokenPage();
  const { symbols } = openFixture();
  for (let round = 0; round < 3; round++) {
    const { info } = exceptionOf(() => symbols.fx_read(page + 0x120n));
    assert.deepEqual([info.type, info.signal], ["machine-check", "SIGBUS"]);
    assert.deepEqual([info.code, info.addressLsb], ["BUS_MCEERR_AR", 12]);
    assert.ok(info.address === page + 0x120n);
    assert.equal(
      info.explanation,
      `the hardware lost 0x1000 bytes at 0x${info.address.toString(16)}`,
    );
  }
  assert.equal(symbols.fx_echo_i32(7), 7);
});

test("isReadable() and readMemory() survive a machine check", { skip }, () => {
  const page = brokenPage();
  assert.equal(isReadable({ address: page, byteLength: 8 }), false);
  assert.throws(() => readMemory(page, new Uint8Array(8)), { name: "HardwareException" });
});
