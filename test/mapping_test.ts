/**
 * `protect`, `addressOf` and `mappingOf`: whole pages, every kind of view, and the system's own
 * list of mappings to compare with.
 */
import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  addressOf,
  dlopen,
  HardwareException,
  isReadable,
  mappingOf,
  protect,
  type Protection,
  readMemory,
  writeMemory,
} from "../mod.ts";
import { arm64, emulated } from "./platform_support.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const fixturePath = `${process.env["FAULTLINE_BUILD"] ?? `${root}/.build/out`}/fixture/fixture.so`;
const { symbols: fixture } = dlopen(fixturePath, {
  fx_map: { parameters: ["u64", "u32"], result: "address" },
  fx_unmap: { parameters: ["address", "u64"], result: "i32" },
  fx_read: { parameters: ["address"], result: "u64" },
  fx_jump: { parameters: ["address"] },
  fx_flush: { parameters: ["address", "u64"] },
});
const { symbols: libc } = dlopen("libc.so.6", {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  mmap: { parameters: ["address", "usize", "i32", "i32", "i32", "i64"], result: "address" },
  strlen: { parameters: ["address"], result: "usize" },
});

const pageLength = 4096;
const page = BigInt(pageLength);
const shared = 1;

function mapPages(count: number, rights = 3): bigint {
  return fixture.fx_map(BigInt(count) * page, rights);
}

/** Maps the first page of a file. */
function mapFile(path: string): bigint {
  const descriptor = libc.open(Buffer.from(`${path}\0`), 0);
  assert.ok(descriptor >= 0);
  return libc.mmap(null, page, 1, shared, descriptor, 0);
}

function exceptionOf(body: () => unknown): HardwareException {
  try {
    body();
  } catch (error) {
    if (error instanceof HardwareException) return error;
    throw error;
  }
  assert.fail("nothing was thrown");
}

function protections(address: bigint, count: number): (Protection | null)[] {
  return Array.from(
    { length: count },
    (_, index) => mappingOf(address + BigInt(index) * page)?.protection ?? null,
  );
}

describe("protect()", () => {
  test("gives the protection before, which puts everything back", () => {
    const address = mapPages(1);
    const range = { address, byteLength: pageLength };
    const order: Protection[] = ["r--", "---", "r-x", "rw-", "rwx", "rw-"];
    let before: Protection = "rw-";
    for (const next of order) {
      assert.equal(protect(range, next), before);
      assert.equal(mappingOf(address)?.protection, next);
      assert.equal(protect(range, next), next);
      before = next;
    }
  });

  test("makes accesses fault that it forbids", () => {
    const address = mapPages(1);
    const range = { address, byteLength: pageLength };
    const bytes = arm64 ? Uint8Array.of(0xc0, 0x03, 0x5f, 0xd6) : Uint8Array.of(0xc3); // ret
    writeMemory(address, bytes);
    fixture.fx_flush(address, BigInt(bytes.length));
    const described = (body: () => unknown): unknown[] => {
      const { code, info } = exceptionOf(body);
      return [code, info.access, info.address];
    };
    if (!emulated) { // The emulator does not look at the right to execute.
      assert.deepEqual(
        described(() => fixture.fx_jump(address)),
        ["SEGV_ACCERR", "execute", address],
      );
    }
    protect(range, "r-x");
    fixture.fx_jump(address);
    assert.deepEqual(
      described(() => writeMemory(address, bytes)),
      ["SEGV_ACCERR", "write", address],
    );
    assert.equal(isReadable(range), true);
    protect(range, "---");
    assert.equal(isReadable(range), false);
    assert.deepEqual(described(() => fixture.fx_read(address)), ["SEGV_ACCERR", "read", address]);
    protect(range, "rwx");
    writeMemory(address, bytes);
    fixture.fx_jump(address);
  });

  test("changes every page that the range touches, and no other", () => {
    const address = mapPages(5);
    assert.equal(protect({ address: address + 2n * page - 1n, byteLength: 2 }, "r--"), "rw-");
    assert.deepEqual(protections(address, 5), ["rw-", "r--", "r--", "rw-", "rw-"]);
    assert.equal(protect({ address: address + 3n * page, byteLength: 1 }, "---"), "rw-");
    assert.deepEqual(protections(address, 5), ["rw-", "r--", "r--", "---", "rw-"]);
    assert.equal(protect({ address: address + 1n, byteLength: 4 * pageLength }, "r-x"), "rw-");
    assert.deepEqual(protections(address, 5), ["r-x", "r-x", "r-x", "r-x", "r-x"]);
  });

  test("gives the first page's protection for a range over several", () => {
    const address = mapPages(3);
    protect({ address: address + page, byteLength: 1 }, "---");
    const range = { address: address + page, byteLength: 2 * pageLength };
    assert.equal(protect(range, "rw-"), "---");
    assert.equal(protect(range, "r--"), "rw-");
  });

  test("fails with ENOMEM when a page is not mapped, and changes nothing", () => {
    const address = mapPages(4);
    assert.equal(fixture.fx_unmap(address + 2n * page, page), 0);
    const ranges = [
      { address, byteLength: 4 * pageLength },
      { address: address + 2n * page - 1n, byteLength: 2 },
      { address: address + 2n * page, byteLength: 1 },
      { address: 0n, byteLength: 1 },
      { address: 1n << 63n, byteLength: 1 },
      { address: 2n ** 64n - 1n, byteLength: 1 },
      { address, byteLength: Number.MAX_SAFE_INTEGER },
    ];
    for (const range of ranges) {
      assert.throws(() => protect(range, "r--"), (error) => {
        assert.ok(error instanceof Error && !(error instanceof HardwareException));
        assert.equal((error as { code?: unknown }).code, "ENOMEM");
        assert.match(error.message, /\(ENOMEM\)$/);
        return true;
      });
    }
    assert.deepEqual(protections(address, 4), ["rw-", "rw-", null, "rw-"]);
  });

  test("fails with the system's reason when it refuses", () => {
    const address = mapFile(fixturePath);
    assert.throws(() => protect({ address, byteLength: 1 }, "rw-"), { code: "EACCES" });
    assert.equal(mappingOf(address)?.protection, "r--");
  });

  test("changes nothing for an empty range", () => {
    const address = mapPages(1);
    assert.equal(protect({ address: address + 5n, byteLength: 0 }, "---"), "rw-");
    assert.equal(protect({ address: 0n, byteLength: 0 }, "rwx"), "---");
    assert.equal(mappingOf(address)?.protection, "rw-");
  });

  test("refuses protections that it does not know", () => {
    const range = { address: mapPages(1), byteLength: 1 };
    for (const value of ["", "r", "RW-", "-w-", "--x", "toString", 1, null, undefined, ["r--"]]) {
      assert.throws(() => protect(range, value as Protection), TypeError);
    }
    assert.throws(() => protect(range, "-w-" as Protection), /one of ---, r--, rw-, r-x, rwx/);
  });
});

describe("addressOf()", () => {
  type Kind = new (
    buffer: ArrayBufferLike,
    byteOffset?: number,
    length?: number,
  ) => ArrayBufferView;
  const kinds: readonly Kind[] = [
    Int8Array,
    Uint8Array,
    Uint8ClampedArray,
    Int16Array,
    Uint16Array,
    Int32Array,
    Uint32Array,
    Float32Array,
    Float64Array,
    BigInt64Array,
    BigUint64Array,
    DataView as Kind,
  ];

  test("finds the first byte of every kind of view, byteOffset included", () => {
    for (const make of [() => new ArrayBuffer(64), () => new SharedArrayBuffer(64)]) {
      for (const Kind of kinds) {
        const buffer = make();
        const bytes = new Uint8Array(buffer).map((_, index) => index);
        new Uint8Array(buffer).set(bytes);
        const copy = new Uint8Array(16);
        const view = new Kind(buffer, 16, 2);
        readMemory(addressOf(view), copy);
        assert.deepEqual(copy, bytes.subarray(16, 32), Kind.name);
        assert.equal(addressOf(view), addressOf(new Uint8Array(buffer)) + 16n);
      }
    }
    const nodeBuffer = Buffer.from("hello");
    const copy = Buffer.alloc(5);
    readMemory(addressOf(nodeBuffer), copy);
    assert.equal(copy.toString(), "hello");
  });

  test("gives an empty view's address, and 0n for an empty buffer", () => {
    const buffer = new ArrayBuffer(64);
    const base = addressOf(new Uint8Array(buffer));
    assert.equal(addressOf(new Uint8Array(buffer, 5, 0)), base + 5n);
    assert.equal(addressOf(new Uint8Array(buffer, 64)), base + 64n);
    assert.equal(addressOf(new DataView(buffer, 8, 0)), base + 8n);
    assert.equal(addressOf(new Uint8Array(0)), 0n);
    assert.equal(addressOf(new DataView(new ArrayBuffer(0))), 0n);
    assert.equal(addressOf(new Uint8Array(new SharedArrayBuffer(0))), 0n);
  });

  test("holds while the array lives, also when engines keep it in their heap", () => {
    const arrays = Array.from({ length: 500 }, (_, index) => new Uint8Array(16).fill(index));
    const addresses = arrays.map(addressOf);
    let garbage: unknown[] = [];
    for (let i = 0; i < 200_000; i++) {
      garbage.push(new Uint8Array(16).fill(0xee), { i });
      if (i % 10_000 === 0) garbage = [];
    }
    const copy = new Uint8Array(16);
    arrays.forEach((array, index) => {
      assert.equal(addressOf(array), addresses[index]);
      readMemory(addresses[index]!, copy);
      assert.deepEqual(copy, array);
      writeMemory(addresses[index]!, Uint8Array.of(1, 2));
      assert.deepEqual([array[0], array[1]], [1, 2]);
    });
  });

  test("refuses what is no view, or detached", () => {
    const wrong = [null, undefined, 1, 1n, "view", {}, [], new ArrayBuffer(8), { buffer: 1 }];
    for (const value of wrong) {
      assert.throws(() => addressOf(value as unknown as ArrayBufferView), TypeError);
    }
    for (const Kind of kinds) {
      const view = new Kind(new ArrayBuffer(16));
      structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
      assert.throws(() => addressOf(view), TypeError, Kind.name);
    }
  });
});

interface Line {
  readonly start: bigint;
  readonly end: bigint;
  readonly rights: string;
  readonly path: string | null;
}

function systemLines(): Map<string, Line> {
  const text = readFileSync("/proc/self/maps", "utf8");
  return new Map(
    text.trimEnd().split("\n").map((line) => {
      const match = /^(\w+)-(\w+) (...)\S \w+ \S+ \d+ *(.*)$/.exec(line)!;
      const [, start, end, rights, path] = match;
      return [line, {
        start: BigInt(`0x${start}`),
        end: BigInt(`0x${end}`),
        rights: rights!,
        path: path === "" ? null : path!,
      }];
    }),
  );
}

/** The names of rights that have none in `Protection`. */
const superset: Readonly<Record<string, Protection>> = { "-w-": "rw-", "--x": "r-x", "-wx": "rwx" };

describe("mappingOf()", () => {
  test("agrees with the system's list, from the first to the last byte of each mapping", () => {
    const before = systemLines();
    const found = [...before.values()].map((line) =>
      [
        line,
        mappingOf(line.start),
        mappingOf(line.end - 1n),
      ] as const
    );
    const after = systemLines();
    // Engines map and unmap meanwhile: what is compared is what was there before and after.
    const stable = [...before].filter(([text]) => after.has(text)).map(([, line]) => line);
    assert.ok(stable.length > before.size / 2);
    for (const [line, ...mappings] of found.filter(([line]) => stable.includes(line))) {
      for (const mapping of mappings) {
        assert.deepEqual(mapping, {
          range: { address: line.start, byteLength: Number(line.end - line.start) },
          protection: superset[line.rights] ?? line.rights,
          path: line.path,
        });
      }
    }
    const paths = new Set(stable.map(({ path }) => path));
    // The heap of an emulated program is an ordinary mapping.
    const named = emulated ? ["[stack]"] : ["[heap]", "[stack]", "[vdso]"];
    for (const path of [null, ...named]) assert.ok(paths.has(path), `${path}`);
  });

  test("finds machine code and the stack", () => {
    const { instructionPointer, stackPointer } = exceptionOf(() => libc.strlen(16n)).info;
    const code = mappingOf(instructionPointer);
    assert.equal(code?.protection, "r-x");
    assert.match(code.path ?? "", /\/(?:libc[.-].*so|ld-musl-)/);
    assert.equal(mappingOf(stackPointer)?.protection, "rw-");
    const own = exceptionOf(() => fixture.fx_read(0n)).info.instructionPointer;
    assert.equal(mappingOf(own)?.path?.endsWith("/fixture.so"), true);
  });

  test("gives null where nothing is mapped", () => {
    const hole = mapPages(3) + page;
    assert.equal(fixture.fx_unmap(hole, page), 0);
    for (const address of [0n, 16n, hole, hole + page - 1n, 1n << 63n, 2n ** 64n - 1n]) {
      assert.equal(mappingOf(address), null);
    }
    assert.notEqual(mappingOf(hole - 1n), null);
    assert.notEqual(mappingOf(hole + page), null);
  });

  test("gives rights without a name with the reading that they lack", () => {
    for (const [rights, expected] of [[2, "rw-"], [4, "r-x"], [6, "rwx"], [0, "---"]] as const) {
      assert.equal(mappingOf(mapPages(1, rights))?.protection, expected);
    }
  });

  test("gives a path as the system prints it", () => {
    const folder = mkdtempSync(join(tmpdir(), "faultline "));
    const path = join(folder, "a b \n ü.bin");
    writeFileSync(path, new Uint8Array(pageLength));
    const address = mapFile(path);
    const printed = path.replace("\n", "\\012");
    assert.equal(mappingOf(address)?.path, printed);
    rmSync(folder, { recursive: true });
    assert.equal(mappingOf(address)?.path, `${printed} (deleted)`);
  });

  test("does not list memory of its own making", () => {
    for (let i = 0; i < 100; i++) {
      const address = mapPages(1);
      assert.equal(fixture.fx_unmap(address, page), 0);
      assert.equal(mappingOf(address), null);
    }
  });
});
