/** What an address is, in a sentence: by made-up mappings, and by real ones that make it true. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import {
  explain,
  type ExplainedException,
  type ExplainedMapping,
  type MappingsAround,
  poisonOf,
} from "../lib/explanation.ts";
import { mappingsAround } from "../lib/exception_details.ts";
import { dlopen, mappingOf } from "../mod.ts";
import { compile } from "./compile_support.ts";
import { notOnMusl } from "./musl_support.ts";
import { emulated, x64Only } from "./platform_support.ts";
import { exceptionOf, openFixture } from "./support.ts";

const base = 0x7f00_0000_0000n;

function mapping(start: bigint, end: bigint, protection = "rw-", path: string | null = null) {
  return { start, end, protection, path };
}

const exampleMappings: readonly ExplainedMapping[] = [
  mapping(0x5555_0000_0000n, 0x5555_0001_0000n, "rw-", "[heap]"),
  mapping(base, base + 0x2000n, "r--", "/usr/lib/libz.so.1"),
  mapping(base + 0x2000n, base + 0x4000n, "r-x", "/usr/lib/libz.so.1"),
  mapping(base + 0x4000n, base + 0x5000n, "rw-", "/usr/lib/libz.so.1"),
  mapping(base + 0x10_0000n, base + 0x10_1000n, "---"),
  mapping(base + 0x10_1000n, base + 0x18_1000n, "rw-"),
  mapping(base + 0x20_0000n, base + 0x20_2000n, "rw-", "/tmp/data file (deleted)"),
  mapping(base + 0x30_0000n, base + 0x30_1000n, "---"),
  mapping(base + 0x40_0000n, base + 0x40_1000n, "--x"),
];

/** What the native side gives for a list of mappings. */
function around(address: bigint): MappingsAround {
  return {
    below: exampleMappings.findLast(({ end }) => end <= address) ?? null,
    at: exampleMappings.find(({ start, end }) => start <= address && address < end) ?? null,
    above: exampleMappings.find(({ start }) => start > address) ?? null,
  };
}

const nothing: ExplainedException = {
  type: "access-violation",
  code: "SEGV_MAPERR",
  address: null,
  access: "read",
  instructionPointer: base + 0x2100n,
  registers: {},
  stack: null,
  addressLsb: null,
  bounds: null,
  protectionKey: null,
  bytes: null,
};

function sentence(exception: Partial<ExplainedException>): string {
  return explain({ ...nothing, ...exception }, around);
}

const forbidden = { code: "SEGV_ACCERR" } as const;
const kernel = { type: "general-protection", code: "SI_KERNEL" } as const;

/** A name, an exception, and what its sentence must contain. */
const cases: readonly (readonly [string, Partial<ExplainedException>, string])[] = [
  ["the null pointer", { address: 0n }, "offset 0x0 from the null page: a null pointer"],
  ["a field of a null pointer", { address: 0x10n }, "offset 0x10 from the null page"],
  ["the last null page", { address: 0xffffn }, "offset 0xffff from the null page"],
  ["a null pointer less 8", { address: 2n ** 64n - 8n }, "offset -0x8 from the null page"],
  ["one past a mapping", { address: base + 0x5000n }, "one past the end of mapping libz.so.1 rw-"],
  ["3 bytes past", { address: base + 0x5003n }, "3 bytes past mapping libz.so.1 rw-"],
  ["1 byte past", { address: base + 0x5001n }, "1 byte past mapping libz.so.1 rw-"],
  ["8 bytes before", { address: base - 8n }, "8 bytes before mapping libz.so.1 r--"],
  ["past the heap", { address: 0x5555_0001_0010n }, "16 bytes past [heap] rw-"],
  ["near a module", { address: base + 0x8000n }, "unmapped, near mapping libz.so.1 rw-"],
  ["near nothing", { address: 0x1234_5678_9abcn }, "unmapped, far from everything"],
  ["next to anonymous memory", { address: base + 0x19_0000n }, "unmapped, next to the anonymous"],
  ["mapped meanwhile", { address: base + 0x4010n }, "unmapped when it was accessed; mapping libz"],
  ["the kernel's half", { address: 0xffff_8000_0000_1000n }, "an address of the kernel"],
  [
    "a write to constants",
    { ...forbidden, access: "write", address: base + 8n },
    "read-only: in mapping libz.so.1 r--",
  ],
  [
    "a write to code",
    { ...forbidden, access: "write", address: base + 0x2008n },
    "read-only: in mapping libz.so.1 r-x",
  ],
  [
    "a jump into data",
    { ...forbidden, access: "execute", address: base + 0x4008n },
    "not executable: in mapping libz.so.1 rw-",
  ],
  [
    "a guard page",
    { ...forbidden, address: base + 0x10_0ff0n },
    "in a guard of 0x1000 bytes, 16 bytes before the anonymous mapping rw-",
  ],
  ["a page without rights", { ...forbidden, address: base + 0x30_0000n }, "not accessible: in"],
  ["a page to execute only", { ...forbidden, address: base + 0x40_0000n }, "not readable: in"],
  ["a page that changed", { ...forbidden, address: base + 8n }, "refused by the system when"],
  ["a page that went away", { ...forbidden, address: base + 0x5003n }, "3 bytes past mapping"],
  [
    "past the end of a file",
    { type: "bus-error", code: "BUS_ADRERR", address: base + 0x20_1004n },
    "past the end of file: 0x1004 bytes into mapping data file (deleted) rw-",
  ],
  ["0xdeadbeef", { address: 0xdead_beefn }, "poisoned memory: 0xdeadbeef is"],
  ["0xdeadbeef + 8", { address: 0xdead_bef7n }, "poisoned memory: 0xdeadbeef + 0x8 is"],
  ["0x5a5a..", { address: 0x5a5a_5a5a_5a5an }, "poisoned memory: 0x5a5a5a5a5a5a is jemalloc"],
  ["0xaaaa..", { address: 0xaaaa_aaaan }, "poisoned memory: 0xaaaaaaaa is the fill"],
  ["0xcdcd..", { address: 0xcdcd_cdcdn }, "poisoned memory: 0xcdcdcdcd is a debug heap"],
  ["0xfefe..", { address: 0xfefe_fefen }, "poisoned memory: 0xfefefefe is a fill"],
  [
    "a poisoned register",
    { ...kernel, registers: { rdi: 8n, rax: 0xaaaa_aaaa_aaaa_aaaan } },
    "non-canonical pointer 0xaaaaaaaaaaaaaaaa in rax, poisoned memory",
  ],
  [
    "a non-canonical register",
    { ...kernel, registers: { rdi: 8n, rsi: 0x1234_5678_9abc_def0n } },
    "non-canonical pointer 0x123456789abcdef0 in rsi",
  ],
  [
    "a non-canonical jump",
    { ...kernel, instructionPointer: 2n ** 63n },
    "non-canonical pointer 0x8000000000000000 was jumped to",
  ],
  ["hlt", { ...kernel, bytes: Uint8Array.of(0xf4) }, "a privileged instruction"],
  [
    "movaps",
    { ...kernel, bytes: Uint8Array.of(0x0f, 0x29, 0x07), registers: { rdi: 0x1001n } },
    "misaligned for this instruction, which needs 16 bytes",
  ],
  [
    "movaps while another register holds a hash",
    {
      ...kernel,
      bytes: Uint8Array.of(0x0f, 0x29, 0x07),
      registers: { rdi: 0x1001n, rax: 0x1234_5678_9abc_def0n },
    },
    "the address 0x1001 is misaligned for this instruction, which needs 16 bytes",
  ],
  [
    "vmovaps of 32 bytes",
    { ...kernel, bytes: Uint8Array.of(0xc5, 0xfc, 0x28, 0x47, 0x10), registers: { rdi: 0x1000n } },
    "the address 0x1010 is misaligned for this instruction, which needs 32 bytes",
  ],
  [
    "paddd of a misaligned address, with an index",
    {
      ...kernel,
      bytes: Uint8Array.of(0x66, 0x42, 0x0f, 0xfe, 0x04, 0x88),
      registers: { rax: 0x1000n, r9: 1n },
    },
    "the address 0x1004 is misaligned",
  ],
  [
    "a load by the second of two odd registers",
    {
      ...kernel,
      bytes: Uint8Array.of(0x48, 0x8b, 0x06),
      registers: { rdi: 0x1234_5678_9abc_def0n, rsi: 0xaaaa_aaaa_aaaa_aaaan },
    },
    "non-canonical pointer 0xaaaaaaaaaaaaaaaa in rsi, poisoned memory",
  ],
  [
    "a sum of two innocent registers",
    {
      ...kernel,
      bytes: Uint8Array.of(0x48, 0x8b, 0x44, 0x37, 0x08),
      registers: { rdi: 0x7fff_ffff_f000n, rsi: 0x1000n, rax: 2n ** 63n },
    },
    "non-canonical pointer 0x800000000008, computed from rdi and rsi",
  ],
  [
    "a string instruction",
    { ...kernel, bytes: Uint8Array.of(0xf3, 0xa4), registers: { rdi: 2n ** 62n } },
    "non-canonical pointer 0x4000000000000000 in rdi",
  ],
  [
    "no huge page left",
    { type: "bus-error", code: "BUS_ADRERR", address: base + 0x10_1000n },
    "the system has no page left for this address: in the anonymous mapping rw-",
  ],
  [
    "a device's error",
    { type: "bus-error", code: "BUS_OBJERR", address: base + 0x20_0000n },
    "the device failed to give the memory: in mapping data file (deleted) rw-",
  ],
  ["nothing to go by", kernel, "no register says which"],
  ["a misaligned access", { type: "misaligned-access", code: "BUS_ADRALN" }, "misaligned for this"],
  [
    "a stack overflow",
    { type: "stack-overflow", address: base - 16n, stack: { low: base, guard: 4096n } },
    "in the stack guard, 16 bytes below the thread's stack",
  ],
  [
    "lost memory",
    { type: "machine-check", code: "BUS_MCEERR_AR", address: base, addressLsb: 12 },
    "the hardware lost 0x1000 bytes at 0x7f0000000000",
  ],
  [
    "bounds",
    { code: "SEGV_BNDERR", address: 5n, bounds: { lower: 16n, upper: 32n } },
    "outside the bounds 0x10 to 0x20",
  ],
  ["a key", { code: "SEGV_PKUERR", address: base, protectionKey: 3 }, "protection key 3"],
  ["a division", { type: "arithmetic", code: "FPE_INTDIV" }, "a division by zero"],
];

const protection = x64Only("the CPU keeps addresses to itself");

for (const [name, exception, expected] of cases) {
  test(`explain() of ${name}`, exception.type === "general-protection" ? protection : {}, () => {
    const text = sentence(exception);
    assert.ok(text.includes(expected), `"${expected}" in "${text}"`);
    assert.ok(!text.includes("\n") && !text.endsWith("."), text);
  });
}

test("explain() asks for mappings only where they decide, and once", () => {
  let asked = 0;
  const count = (address: bigint): MappingsAround => {
    asked++;
    return around(address);
  };
  explain({ ...nothing, type: "arithmetic", code: "FPE_INTDIV", address: 5n }, count);
  explain({ ...nothing, ...kernel }, count);
  assert.equal(asked, 0);
  explain({ ...nothing, address: base + 0x9_0000n }, count);
  assert.equal(asked, 1);
});

test("poisonOf() takes neither small numbers nor usual addresses for a pattern", () => {
  for (const address of [0n, 1n, 0x10n, 0x1000n, 0x5555_5555_4000n, 0x7fff_ffff_e000n, base]) {
    assert.equal(poisonOf(address), null, address.toString(16));
  }
});

const { symbols } = openFixture();

/** Mappings of the fixture in the middle of nowhere, with gaps that stay: they are never freed. */
function pages(count: bigint): bigint {
  const start = symbols.fx_map((count + 64n) * 4096n, 0) + 32n * 4096n;
  symbols.fx_protect(start, count * 4096n, 3);
  return start;
}

function explanationOf(body: () => unknown): string {
  return exceptionOf(body).info.explanation;
}

test("ExceptionInfo.explanation of the null page", () => {
  for (const offset of [0n, 0x10n, 0xfffn]) {
    const text = explanationOf(() => symbols.fx_read(offset));
    assert.ok(text.startsWith(`offset 0x${offset.toString(16)} from the null page`), text);
  }
});

test("ExceptionInfo.explanation of a page that was unmapped", () => {
  const page = pages(2n);
  symbols.fx_unmap(page + 4096n, 4096);
  assert.equal(mappingOf(page + 4096n), null);
  assert.match(
    explanationOf(() => symbols.fx_read(page + 4096n)),
    /^one past the end of the anony/,
  );
  assert.match(explanationOf(() => symbols.fx_read(page + 4099n)), /^3 bytes past the anonymous/);
});

test("ExceptionInfo.explanation of a guard, and of read-only and other memory", () => {
  const page = pages(2n);
  const before = explanationOf(() => symbols.fx_read(page - 8n));
  // An emulator may count pages beside it in.
  const length = emulated ? "0x[0-9a-f]+" : "0x20000";
  const guard = `^in a guard of ${length} bytes, 8 bytes before the anonymous mapping rw-`;
  assert.match(before, new RegExp(guard));
  const behind = explanationOf(() => symbols.fx_read(page + 8192n));
  assert.match(behind, /^(?:not accessible: in the anonymous mapping ---|in a guard)/);
  symbols.fx_protect(page, 4096, 1);
  assert.match(explanationOf(() => symbols.fx_write(page, 1)), /^read-only: in the anonymous/);
  assert.match(explanationOf(() => symbols.fx_jump(page)), /^not executable: in the anonymous/);
});

test("ExceptionInfo.explanation of a write to the library's own code names it", () => {
  const { instructionPointer } = exceptionOf(() => symbols.fx_read(0n)).info;
  const text = explanationOf(() => symbols.fx_write(instructionPointer, 1));
  assert.equal(text, "read-only: in mapping fixture.so r-x");
});

test("ExceptionInfo.explanation of memory past the end of its file", () => {
  const start = symbols.fx_map_short_file(100);
  const text = explanationOf(() => symbols.fx_read(start + 4100n));
  assert.match(text, /^past the end of file: 0x1004 bytes into mapping memfd:/);
});

test("ExceptionInfo.explanation of addresses that are not reported", protection, () => {
  const pointer = 0x5a5a_5a5a_5a5a_5a5an;
  const text = explanationOf(() => symbols.fx_read(pointer));
  assert.match(text, /^non-canonical pointer 0x5a5a5a5a5a5a5a5a in rdi, poisoned memory: jemalloc/);
  assert.match(explanationOf(() => symbols.fx_jump(2n ** 63n)), /^non-canonical pointer 0x80{15}/);
  assert.equal(
    explanationOf(() => symbols.fx_hlt()),
    "a privileged instruction, which only the kernel may execute",
  );
});

test("ExceptionInfo.explanation of vectors and of sums names the operand", protection, () => {
  using library = dlopen(compile("explained", "header_fixture.c", ["-O1"]), {
    hd_store_vector: { parameters: ["address"] },
    hd_read_sum: { parameters: ["address", "u64"], result: "i32" },
  });
  const page = pages(1n);
  const { hd_store_vector, hd_read_sum } = library.symbols;
  assert.equal(hd_store_vector(page), undefined);
  for (const offset of [1n, 4n, 8n, 15n]) {
    const text = explanationOf(() => hd_store_vector(page + offset));
    const address = `0x${(page + offset).toString(16)}`;
    assert.equal(
      text,
      `the address ${address} is misaligned for this instruction, which needs 16 bytes`,
    );
  }
  const sum = explanationOf(() => hd_read_sum(2n ** 46n, 2n ** 45n));
  assert.match(sum, /^non-canonical pointer 0xc00000000008, computed from r\w+ and r\w+$/);
  assert.match(explanationOf(() => hd_read_sum(2n ** 63n + 16n, 0n)), /0x8000000000000010 in rdi/);
});

test("ExceptionInfo.explanation of poisoned memory", () => {
  assert.match(
    explanationOf(() => symbols.fx_read(0xdead_beefn)),
    /^poisoned memory: 0xdeadbeef is a mark for memory that is gone/,
  );
});

test("ExceptionInfo.explanation of a module that is near", {
  ...notOnMusl("the mappings of musl's loader leave no gaps"),
}, () => {
  // Behind the last mapping of some file, further than a page and nearer than the next mapping.
  let { above } = mappingsAround(0n);
  while (above !== null) {
    const next = mappingsAround(above.start).above;
    if (above.path?.startsWith("/") && next !== null && next.start - above.end > 0x8000n) break;
    above = next;
  }
  assert.ok(above !== null && above.path !== null);
  const { end, path } = above;
  const name = path.slice(path.lastIndexOf("/") + 1);
  assert.equal(mappingOf(end + 0x2000n), null);
  const text = explanationOf(() => symbols.fx_read(end + 0x2000n));
  assert.ok(text.startsWith(`unmapped, near mapping ${name} `), `${text}: ${path}`);
  assert.match(text, /\(0x2000 bytes after it\)/);
});

test("ExceptionInfo.explanation of a stack overflow", () => {
  const text = explanationOf(() => symbols.fx_overflow(1n << 40n));
  assert.match(text, /^in the stack guard, .* the thread's stack: the recursion is too deep/);
});

test("mappingsAround() gives three mappings in order that agree with mappingOf()", () => {
  const page = pages(1n);
  const { below, at, above } = mappingsAround(page);
  assert.ok(below !== null && at !== null && above !== null);
  assert.ok(below.end <= page && at.start <= page && page < at.end && above.start >= at.end);
  assert.equal(mappingOf(page)?.range.address, at.start);
  assert.deepEqual(mappingsAround(0n).below, null);
  assert.equal(mappingsAround(2n ** 64n - 1n).above, null);
});

test("ExceptionInfo.explanation stays what it was when it was first looked at", () => {
  const page = pages(1n);
  symbols.fx_protect(page, 4096, 0);
  const { info } = exceptionOf(() => symbols.fx_read(page));
  const before = info.explanation;
  symbols.fx_protect(page, 4096, 3);
  assert.equal(info.explanation, before);
});
