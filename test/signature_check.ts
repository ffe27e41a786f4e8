/**
 * Calls every function of a generated library with arguments at random, and compares what it saw
 * and what it gave with what it should have.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { dlopen, HardwareException, type NativeType } from "../mod.ts";
import type { Parameter, Random, Signature } from "./signature_generator.ts";
import { fixturePath } from "./support.ts";

const convert = dlopen(fixturePath, {
  addressOfBuffer: { name: "fx_echo_u64", parameters: ["buffer"], result: "address" },
  addressOfPointer: { name: "fx_echo_u64", parameters: ["pointer"], result: "address" },
  pointerOfBuffer: { name: "fx_echo_u64", parameters: ["buffer"], result: "pointer" },
}).symbols;

/** An argument, and the 64 bits that C must see. */
interface Argument {
  readonly value: unknown;
  readonly word: bigint;
}

function bitsOf(value: number, type: "f32" | "f64"): bigint {
  const view = new DataView(new ArrayBuffer(8));
  if (type === "f32") view.setFloat32(0, value, true);
  else view.setFloat64(0, value, true);
  return view.getBigUint64(0, true);
}

const narrowBits = { i8: 8, u8: 8, i16: 16, u16: 16, i32: 32, u32: 32 } as const;

function narrowArgument(type: keyof typeof narrowBits, random: Random): Argument {
  const edges = [0, 1, -1, 127, 128, -128, 255, 256, 32767, 32768, -32768, 65535, 65536];
  const more = [2 ** 31 - 1, 2 ** 31, -(2 ** 31), 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 7, 3.9, -3.9];
  const values = [...edges, ...more, random(2 ** 32), -random(2 ** 32)];
  const value = values[random(values.length)]!;
  const wrap = type.startsWith("i") ? BigInt.asIntN : BigInt.asUintN;
  return {
    value,
    word: BigInt.asUintN(64, wrap(narrowBits[type], BigInt(Math.trunc(value)))),
  };
}

function wideArgument(random: Random): Argument {
  const bits = BigInt(random(2 ** 32)) << 32n | BigInt(random(2 ** 32));
  const values = [
    bits,
    -bits,
    2n ** 63n,
    2n ** 64n - 1n,
    -1n,
    0n,
    random(2 ** 31),
    -random(2 ** 31),
  ];
  const value = values[random(values.length)]!;
  return { value, word: BigInt.asUintN(64, BigInt(value)) };
}

function floatArgument(type: "f32" | "f64", random: Random): Argument {
  const values = [0, -0, 1.5, -1 / 3, 1e300, -1e-300, Infinity, -Infinity, 5e-324, 1e-40];
  const value = random(2) === 0 ? values[random(values.length)]! : random(2 ** 32) / 1024 - 1e6;
  return { value, word: bitsOf(value, type) };
}

function pointerArgument(type: Parameter, random: Random): Argument {
  if (random(4) === 0) return { value: null, word: 0n };
  if (type === "address") {
    const value = BigInt(random(2 ** 32)) << BigInt(random(33));
    return { value, word: value };
  }
  const bytes = new Uint8Array(64);
  const view = random(2) === 0 ? bytes : bytes.subarray(random(32));
  const word = convert.addressOfBuffer(view);
  if (type === "pointer" && random(2) === 0) return { value: convert.pointerOfBuffer(view), word };
  const views = [view, new DataView(view.buffer, view.byteOffset, view.byteLength)];
  return { value: views[random(2)]!, word };
}

function argument(type: Parameter, random: Random): Argument {
  switch (type) {
    case "bool": {
      const value = random(2) === 0;
      return { value, word: value ? 1n : 0n };
    }
    case "f32":
    case "f64":
      return floatArgument(type, random);
    case "i64":
    case "u64":
    case "isize":
    case "usize":
      return wideArgument(random);
    case "pointer":
    case "buffer":
    case "address":
      return pointerArgument(type, random);
    default:
      return narrowArgument(type, random);
  }
}

/** The 64 bits that C gives, and what JavaScript must make of them. */
function expectedResult(type: NativeType, random: Random): { bits: bigint; value: unknown } {
  const bits = BigInt(random(2 ** 32)) << 32n | BigInt(random(2 ** 32));
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, bits, true);
  switch (type) {
    case "void":
      return { bits, value: undefined };
    case "bool":
      return { bits: bits & 1n, value: (bits & 1n) === 1n };
    case "f32":
      return { bits, value: view.getFloat32(0, true) };
    case "f64":
      return { bits, value: view.getFloat64(0, true) };
    case "i64":
    case "isize":
      return { bits, value: BigInt.asIntN(64, bits) };
    case "u64":
    case "usize":
    case "address":
      return { bits, value: bits };
    case "pointer":
    case "buffer":
      return { bits: bits >> 17n, value: bits >> 17n };
    default: {
      const wrap = type.startsWith("i") ? BigInt.asIntN : BigInt.asUintN;
      return { bits, value: Number(wrap(narrowBits[type as keyof typeof narrowBits], bits)) };
    }
  }
}

/** How the functions are called. */
export type CallKind = "synchronous" | "nonblocking";

type Call = (...values: unknown[]) => unknown;

/** One function of the library, ready to be checked. */
class Checked {
  readonly signature: Signature;
  readonly call: Call;
  readonly prepare: (result: bigint, fault: number) => void;
  readonly seen: (into: BigUint64Array<ArrayBuffer>) => void;

  constructor(
    signature: Signature,
    call: Call,
    common: Pick<Checked, "prepare" | "seen">,
  ) {
    this.signature = signature;
    this.call = call;
    this.prepare = common.prepare;
    this.seen = common.seen;
  }

  get text(): string {
    const { name, parameters, result } = this.signature;
    return `${name}(${parameters.join(", ")}): ${result}`;
  }

  checkSeen(words: readonly bigint[]): void {
    const into = new BigUint64Array(24);
    this.seen(into);
    assert.deepEqual([...into.subarray(0, words.length)], words, this.text);
  }

  async checkValue(random: Random): Promise<void> {
    const args = this.signature.parameters.map((type) => argument(type, random));
    const { bits, value } = expectedResult(this.signature.result, random);
    this.prepare(bits, 0);
    const returned = this.call(...args.map(({ value }) => value));
    let result = returned instanceof Promise ? await returned : returned;
    if (this.signature.result === "pointer" || this.signature.result === "buffer") {
      result = convert.addressOfPointer(result as object | null);
    }
    assert.ok(Object.is(result, value), `${this.text} gave ${result}, expected ${value}`);
    this.checkSeen(args.map(({ word }) => word));
  }

  async checkFault(random: Random): Promise<void> {
    const args = this.signature.parameters.map((type) => argument(type, random));
    this.prepare(0n, 1);
    try {
      const returned = this.call(...args.map(({ value }) => value));
      if (returned instanceof Promise) await returned;
    } catch (error) {
      assert.ok(error instanceof HardwareException, `${this.text}: ${error}`);
      assert.equal(error.info.address, 0n, this.text);
      assert.equal(error.info.call?.symbol, this.signature.name);
      return this.checkSeen(args.map(({ word }) => word));
    }
    assert.fail(`${this.text} did not fault`);
  }
}

/** Checks every function of the library at `path`: values, a fault, and values again. */
export async function checkSignatures(
  path: string,
  signatures: readonly Signature[],
  random: Random,
  kind: CallKind,
): Promise<void> {
  const nonblocking = kind === "nonblocking";
  const definitions = signatures.map(({ name, parameters, result }) =>
    [name, { parameters, result, nonblocking }] as const
  );
  using common = dlopen(path, {
    sg_prepare: { parameters: ["u64", "u32"] },
    sg_seen: { parameters: ["buffer"] },
  });
  const { sg_prepare: prepare, sg_seen: seen } = common.symbols;
  using library = dlopen(path, Object.fromEntries(definitions));
  for (const signature of signatures) {
    const call = library.symbols[signature.name] as unknown as Call;
    const checked = new Checked(signature, call, { prepare, seen });
    await checked.checkValue(random);
    await checked.checkValue(random);
    await checked.checkFault(random);
    await checked.checkValue(random);
  }
  assert.equal(library.exceptionCount, signatures.length);
}
