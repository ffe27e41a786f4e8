/** The map of addresses: which strips are shown, what lies in them, and where labels go. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { addressStrips, type MappedException, type Strip } from "../lib/address_map.ts";
import { sizeText } from "../lib/address_svg.ts";
import type { ExplainedMapping } from "../lib/explanation.ts";
import { signatureOf } from "../lib/signature.ts";
import { placeLabels } from "../lib/svg_labels.ts";
import type { StackFrame } from "../mod.ts";

const page = 4096n;

function mapping(
  start: bigint,
  pages: bigint,
  protection: string,
  path: string | null = null,
): ExplainedMapping {
  return { start, end: start + pages * page, protection, path };
}

const module = 0x7f00_0000_0000n;
const stackLow = 0x7ffc_0000_0000n;
const stackHigh = stackLow + 0x80_0000n;
const mappings: readonly ExplainedMapping[] = [
  mapping(0x55_0000_0000n, 2n, "r-x", "/usr/bin/program"),
  mapping(0x55_0010_0000n, 33n, "rw-", "[heap]"),
  mapping(module, 1n, "r--", "/usr/lib/libz.so.1"),
  mapping(module + page, 4n, "r-x", "/usr/lib/libz.so.1"),
  mapping(module + 5n * page, 2n, "rw-", "/usr/lib/libz.so.1"),
  mapping(module + 7n * page, 3n, "rw-"),
  mapping(stackHigh - 33n * page, 33n, "rw-", "[stack]"),
];

function frame(address: bigint, symbol: string | null, more: Partial<StackFrame> = {}): StackFrame {
  const unknown = { file: null, line: null, column: null, inlined: false, offset: 0n } as const;
  return { ...unknown, address, symbol, module: "/usr/lib/libz.so.1", trust: "cfi", ...more };
}

function exception(
  address: bigint | null,
  registers: Record<string, bigint> = {},
  more: Partial<MappedException> = {},
): MappedException {
  const instructionPointer = module + page + 0x10n;
  const stackPointer = stackHigh - 0x100n;
  return {
    info: { address, access: "read", instructionPointer, stackPointer, registers },
    backtrace: [frame(instructionPointer, "inflate"), frame(module + 3n * page, null)],
    mappings,
    isComplete: true,
    stack: { low: stackLow, high: stackHigh, guard: 0n },
    ...more,
  };
}

function stripOf(made: MappedException, title: string): Strip {
  const strip = addressStrips(made).find((one) => one.title === title);
  assert.ok(strip !== undefined, title);
  return strip;
}

function assertSeamless({ start, end, regions }: Strip): void {
  assert.ok(regions[0]!.start <= start && regions.at(-1)!.end >= end);
  for (let index = 1; index < regions.length; index += 1) {
    assert.equal(regions[index]!.start, regions[index - 1]!.end);
  }
}

test("addressStrips() shows the null page for a null pointer", () => {
  const strip = stripOf(
    exception(0x8n, { rdi: 0n, rax: 0n, rbx: 0x10000n }),
    "Next to the address",
  );
  assert.deepEqual([strip.start, strip.end], [0n, 0x10000n]);
  assert.deepEqual(strip.regions.map(({ kind }) => kind), ["null"]);
  assert.deepEqual(strip.pointers, [
    { address: 0x8n, label: "read", kind: "fault" },
    { address: 0n, label: "rdi = rax", kind: "register" },
  ]);
});

test("addressStrips() shows a short mapping whole, and part of a long one", () => {
  const inside = stripOf(exception(module + page + 5n), "Next to the address");
  assert.deepEqual([inside.start, inside.end], [module, module + 6n * page]);
  assertSeamless(inside);
  const stack = stripOf(exception(stackLow + 0x1000n), "Next to the address");
  assert.ok(stack.end - stack.start >= 8n * page);
  const long = [mapping(0x1_0000_0000n, 1000n, "rw-")];
  const at = 0x1_0000_0000n + 500n * page;
  const part = stripOf(exception(at, {}, { mappings: long }), "Next to the address");
  assert.equal(part.end - part.start, 64n * page);
  assert.ok(part.start <= at && at < part.end);
});

test("addressStrips() reaches to the nearest mapping, if one is near", () => {
  const end = module + 10n * page;
  const past = stripOf(exception(end + 3n * page + 1n), "Next to the address");
  assert.ok(past.start < end && past.end > end + 3n * page);
  assertSeamless(past);
  assert.deepEqual(past.regions.at(-1)!.kind, "nothing");
  const below = stripOf(exception(module - 2n * page), "Next to the address");
  assert.ok(below.start <= module - 2n * page && below.end > module);
  const far = stripOf(exception(0x1234_5678_9000n), "Next to the address");
  assert.deepEqual(far.regions.map(({ kind }) => kind), ["nothing"]);
});

test("addressStrips() shows the stack with its guard and where it may grow", () => {
  const strip = stripOf(exception(0n, { rsp: stackHigh - 0x100n }), "The stack");
  assertSeamless(strip);
  const kinds = strip.regions.map(({ kind }) => kind);
  assert.deepEqual(kinds, ["nothing", "guard", "growth", "stack", "nothing"]);
  const guard = strip.regions[1]!;
  assert.deepEqual([guard.start, guard.end], [stackLow - page, stackLow]);
  assert.deepEqual(strip.pointers.map(({ label }) => label), ["rsp"]);
  // Of a thread whose guard is a mapping.
  const thread = exception(0n, {}, {
    mappings: [
      mapping(stackLow - page, 1n, "---"),
      mapping(stackLow, (stackHigh - stackLow) / page, "rw-"),
    ],
    stack: { low: stackLow, high: stackHigh, guard: page },
  });
  assert.deepEqual(
    stripOf(thread, "The stack").regions.map(({ kind }) => kind).slice(1, 3),
    ["guard", "stack"],
  );
});

test("addressStrips() shows the module of the instruction, with the callers in it", () => {
  const strip = stripOf(exception(0n), "The code");
  assertSeamless(strip);
  const names = strip.regions.map(({ name }) => name);
  const parts = ["r--", "r-x", "rw-"].map((rights) => `libz.so.1 ${rights}`);
  assert.deepEqual(names, ["", ...parts, "anonymous rw-"]);
  assert.deepEqual(strip.pointers.map(({ label }) => label), ["#0 inflate", "#1"]);
  const recursion = Array.from({ length: 50 }, () => frame(module + page + 0x20n, "again"));
  const [pointer] = stripOf(exception(0n, {}, { backtrace: recursion }), "The code").pointers;
  assert.equal(pointer!.label, "#0 to #49 again");
});

test("addressStrips() shows places in the whole address space", () => {
  const { start, end, pointers } = stripOf(exception(0x8n), "All of it");
  assert.deepEqual([start, end], [0n, 1n << 47n]);
  assert.deepEqual(pointers.map(({ label }) => label), ["read", "heap", "code", "stack"]);
});

test("addressStrips() says that it knows nothing between the mappings of a part", () => {
  const part = exception(0x8n, {}, { isComplete: false, stack: null });
  const kinds = (title: string) => stripOf(part, title).regions.map(({ kind }) => kind);
  assert.deepEqual(kinds("Next to the address"), ["null"]);
  assert.deepEqual(kinds("The stack"), ["unknown", "stack", "unknown"]);
  assertSeamless(stripOf(part, "All of it"));
});

test("addressStrips() makes do without an address and without mappings", () => {
  const titles = (made: MappedException): string[] => addressStrips(made).map((one) => one.title);
  assert.deepEqual(titles(exception(null)), ["The stack", "The code", "All of it"]);
  const unknown = exception(0x8n, {}, { mappings: null, stack: null });
  assert.deepEqual(titles(unknown), ["Next to the address"]);
  const top = exception(2n ** 64n - 1n, {}, { mappings: [], stack: null });
  assert.equal(stripOf(top, "Next to the address").end, 2n ** 64n);
});

test("placeLabels() covers nothing and lets no line cross a text", () => {
  let seed = 7;
  const random = (below: number): number => (seed = (seed * 48271) % 0x7fffffff) % below;
  for (let round = 0; round < 200; round += 1) {
    const count = 1 + random(12);
    const labels = Array.from(
      { length: count },
      () => ({ x: random(900), width: 20 + random(150) }),
    );
    const placed = placeLabels(labels, 912);
    assert.equal(placed.length, count);
    for (const { label, row, isRight } of placed) {
      const [from, to] = isRight
        ? [label.x, label.x + label.width]
        : [label.x - label.width, label.x];
      assert.ok(from >= 0 && to <= 912, JSON.stringify(label));
      for (const other of placed) {
        if (other.label === label || other.row !== row) continue;
        const start = other.isRight ? other.label.x : other.label.x - other.label.width;
        assert.ok(start >= to || start + other.label.width <= from, "texts overlap");
      }
    }
  }
});

test("placeLabels() lets lines pass beside texts at both ends", () => {
  for (const xs of [[905, 900, 895, 890], [2, 6, 10, 14]]) {
    const placed = placeLabels(xs.map((x) => ({ x, width: 60 })), 912);
    for (const { label, row, isRight } of placed) {
      const [from, to] = isRight ? [label.x, label.x + 60] : [label.x - 60, label.x];
      const crossing = placed.filter((other) =>
        other.row > row && other.label.x > from && other.label.x < to
      );
      assert.deepEqual(crossing, []);
    }
  }
});

test("sizeText() gives round sizes without digits", () => {
  const expected = new Map([
    [1n, "1 byte"],
    [4096n, "4 KiB"],
    [1536n, "1.5 KiB"],
    [3n * 2n ** 30n, "3 GiB"],
    [1n << 47n, "128 TiB"],
  ]);
  for (const [bytes, text] of expected) assert.equal(sizeText(bytes), text);
});

test("signatureOf() has nothing that differs between machines", () => {
  const at = (address: bigint, folder: string): readonly StackFrame[] => [
    frame(address, "inlined_one", { inlined: true, module: `${folder}/libz.so.1` }),
    frame(address, "inflate", { module: `${folder}/libz.so.1 (deleted)` }),
    frame(address + 5n, null, { module: `${folder}/libimage.so`, offset: 0x1234n }),
    frame(address * 2n, null, { module: null, offset: address * 2n }),
    frame(address + 9n, "decode", { module: `${folder}/libimage.so`, offset: 0x8n }),
  ];
  const text = "access-violation libz.so.1!inflate libimage.so!0x1234 libimage.so!decode";
  assert.equal(signatureOf("access-violation", at(0x7f00n, "/usr/lib")), text);
  assert.equal(signatureOf("access-violation", at(0x9f00n, "/home/me")), text);
  const many = Array.from({ length: 9 }, (_, index) => frame(1n, `f${index}`));
  assert.equal(signatureOf("arithmetic", many).split(" ").length, 6);
  assert.equal(signatureOf("user", []), "user");
});
