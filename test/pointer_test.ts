/** Memory and pointers that go into guarded calls and come out of them. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { dlopen, type NativeBuffer } from "../mod.ts";
import { notEmulated } from "./platform_support.ts";
import { fixturePath, runtimeName } from "./support.ts";

const lib = dlopen(fixturePath, {
  fx_sum_bytes: { parameters: ["buffer", "u64"], result: "u64" },
  sumPointer: { name: "fx_sum_bytes", parameters: ["pointer", "u64"], result: "u64" },
  functionIsNull: { name: "fx_is_null", parameters: ["function"], result: "bool" },
  isNull: { name: "fx_is_null", parameters: ["buffer"], result: "bool" },
  pointerIsNull: { name: "fx_is_null", parameters: ["pointer"], result: "bool" },
  addressOfBuffer: { name: "fx_echo_u64", parameters: ["buffer"], result: "address" },
  addressOfPointer: { name: "fx_echo_u64", parameters: ["pointer"], result: "address" },
  pointerOf: { name: "fx_echo_u64", parameters: ["address"], result: "pointer" },
  bufferOf: { name: "fx_echo_u64", parameters: ["address"], result: "buffer" },
  functionOf: { name: "fx_echo_u64", parameters: ["address"], result: "function" },
  fx_map: { parameters: ["u64", "u32"], result: "pointer" },
  fx_note: { parameters: ["buffer"] },
  fx_noted: { result: "u64" },
});
const { symbols } = lib;

/** Bytes 1 to `length` at the end of a larger buffer. */
function bytes<T extends ArrayBufferLike>(buffer: T, length: number): Uint8Array<T> {
  const view = new Uint8Array(buffer, buffer.byteLength - length);
  view.forEach((_, index) => view[index] = index + 1);
  return view;
}

const buffers: Readonly<Record<string, () => NativeBuffer>> = {
  "a Uint8Array": () => bytes(new ArrayBuffer(3), 3),
  "a Uint8Array with an offset": () => bytes(new ArrayBuffer(1003), 3),
  "a small Uint8Array with an offset": () => bytes(new ArrayBuffer(8), 3),
  "a large Uint8Array": () => new Uint8Array(1 << 20).fill(0).fill(1, 0, 1).fill(5, 1, 2),
  "a Uint32Array": () => Uint32Array.of(6),
  "a Float64Array": () => new Float64Array(new Uint8Array([1, 2, 3, 0, 0, 0, 0, 0]).buffer),
  "a BigUint64Array": () => BigUint64Array.of(6n),
  "a Uint8ClampedArray": () => Uint8ClampedArray.of(1, 2, 3),
  "a DataView": () => new DataView(bytes(new ArrayBuffer(3), 3).buffer),
  "a DataView with an offset": () => new DataView(bytes(new ArrayBuffer(64), 3).buffer, 61),
  "an ArrayBuffer": () => bytes(new ArrayBuffer(3), 3).buffer,
  "a SharedArrayBuffer": () => bytes(new SharedArrayBuffer(3), 3).buffer,
  "a view of a SharedArrayBuffer": () => bytes(new SharedArrayBuffer(99), 3),
  "a resizable ArrayBuffer": () => bytes(new ArrayBuffer(3, { maxByteLength: 64 }), 3).buffer,
  "a view of a resizable ArrayBuffer": () => bytes(new ArrayBuffer(9, { maxByteLength: 64 }), 3),
  "a buffer that was resized": () => {
    const buffer = new ArrayBuffer(3, { maxByteLength: 1 << 20 });
    bytes(buffer, 3);
    buffer.resize(1 << 19);
    return buffer;
  },
  "WebAssembly memory": () => {
    const host = globalThis as unknown as {
      WebAssembly: { Memory: new (options: object) => { buffer: ArrayBuffer } };
    };
    const { buffer } = new host.WebAssembly.Memory({ initial: 1 });
    new Uint8Array(buffer).set([1, 2, 3]);
    return buffer;
  },
  "an array of another realm": () => runInNewContext("new Uint8Array([1, 2, 3])") as Uint8Array,
  "an ArrayBuffer of another realm": () =>
    runInNewContext("new Uint8Array([1, 2, 3]).buffer") as ArrayBuffer,
};

const growing = /resiz|WebAssembly/;
const roomToGrow = notEmulated("it has no room for memory that grows");

for (const [what, make] of Object.entries(buffers)) {
  test(`dlopen() passes the memory of ${what}`, growing.test(what) ? roomToGrow : {}, () => {
    const buffer = make();
    for (const sum of [symbols.fx_sum_bytes, symbols.sumPointer]) {
      assert.equal(sum(buffer, Math.min(buffer.byteLength, 3)), 6n);
      assert.equal(sum(buffer, buffer.byteLength), 6n);
    }
  });
}

test("dlopen() lets native code write to a buffer", () => {
  using library = dlopen(fixturePath, { fx_disposition: { parameters: ["u32", "buffer"] } });
  const into = new BigUint64Array(6).fill(99n);
  library.symbols.fx_disposition(11, into.subarray(1, 5));
  assert.deepEqual([into[0], into[5]], [99n, 99n]);
  assert.ok(into.subarray(1, 5).every((word) => word !== 99n));
});

test("dlopen() passes null for null, and nothing to read for an empty buffer", () => {
  assert.equal(symbols.isNull(null), true);
  assert.equal(symbols.pointerIsNull(null), true);
  assert.equal(symbols.functionIsNull(null), true);
  assert.equal(symbols.isNull(new Uint8Array(1)), false);
  for (const empty of [new Uint8Array(), new ArrayBuffer(0), new DataView(new ArrayBuffer(4), 4)]) {
    assert.equal(symbols.fx_sum_bytes(empty, 0), 0n);
    assert.equal(symbols.sumPointer(empty, 0), 0n);
  }
});

test("dlopen() refuses a buffer that was transferred", () => {
  const view = Uint8Array.of(1, 2, 3);
  const data = new DataView(view.buffer);
  const { buffer } = view;
  const kept = structuredClone(buffer, { transfer: [buffer] });
  const before = symbols.fx_noted();
  for (const detached of [view, buffer, data]) {
    assert.throws(() => symbols.fx_note(detached), {
      name: "TypeError",
      message: /fx_note\(\) of .*argument 1 of 1 \(buffer\) takes memory that is still attached/,
    });
    assert.throws(() => symbols.sumPointer(detached, 3), { name: "TypeError" });
  }
  assert.equal(symbols.fx_noted(), before);
  assert.equal(symbols.fx_sum_bytes(kept, 3), 6n);
});

test("dlopen() refuses an array of another realm that was transferred", () => {
  const view = runInNewContext("new Uint8Array([1, 2, 3])") as Uint8Array<ArrayBuffer>;
  structuredClone(view.buffer, { transfer: [view.buffer] });
  assert.throws(() => symbols.fx_note(view), { name: "TypeError", message: /still attached/ });
});

test("dlopen() refuses what only looks like a buffer", () => {
  const before = symbols.fx_noted();
  const impostors = [
    Object.create(ArrayBuffer.prototype),
    Object.create(SharedArrayBuffer.prototype),
    Object.create(Uint8Array.prototype),
    new Proxy(new Uint8Array(3), {}),
    new Proxy(new ArrayBuffer(3), {}),
    { byteLength: 3, buffer: new ArrayBuffer(3), byteOffset: 0 },
    [1, 2, 3],
  ];
  for (const impostor of impostors) {
    assert.throws(() => symbols.fx_note(impostor as never), {
      name: "TypeError",
      message: /fx_note\(\) of .*argument 1 of 1 \(buffer\) takes a typed array/,
    });
  }
  assert.equal(symbols.fx_noted(), before);
});

test("dlopen() gives the runtime's own pointers, and takes them back", () => {
  const pointer = symbols.fx_map(4096, 3);
  assert.equal(typeof pointer, runtimeName() === "bun" ? "number" : "object");
  const address = symbols.addressOfPointer(pointer);
  assert.ok(address > 4096n && address % 4096n === 0n);
  assert.deepEqual(symbols.pointerOf(address), pointer);
  assert.deepEqual(symbols.bufferOf(address), pointer);
  assert.deepEqual(symbols.functionOf(address), pointer);
  assert.equal(symbols.sumPointer(pointer, 4096), 0n);
  assert.equal(symbols.pointerIsNull(pointer), false);
});

test("dlopen() gives null for a null pointer", () => {
  for (const result of [symbols.pointerOf, symbols.bufferOf, symbols.functionOf]) {
    assert.equal(result(0n), null);
    assert.equal(result(null), null);
  }
});

test("dlopen() gives the same address for a buffer as for a pointer to it", () => {
  const memory = new Uint8Array(100_000);
  const start = symbols.addressOfBuffer(memory);
  assert.equal(symbols.addressOfBuffer(memory.subarray(7)), start + 7n);
  assert.equal(symbols.addressOfPointer(memory), start);
  assert.equal(symbols.addressOfPointer(memory.subarray(7)), start + 7n);
  assert.equal(symbols.addressOfPointer(symbols.pointerOf(start + 7n)), start + 7n);
});

test("dlopen() refuses what is no pointer of this runtime", () => {
  const foreign = runtimeName() === "bun" ? [-1, 1.5, NaN, Infinity, 2 ** 60] : [1, 4096];
  const wrong = [...foreign, 1n, "x", true, undefined, {}, [], () => {}, Symbol("s")];
  for (const value of [...wrong, Object.create(null)]) {
    assert.throws(() => symbols.pointerIsNull(value as never), TypeError, String(typeof value));
    assert.throws(() => symbols.functionIsNull(value as never), TypeError, String(typeof value));
  }
  assert.equal(symbols.pointerIsNull(null), true);
});
