/**
 * Memory that a minidump grows in: what is written gets the next free place.
 *
 * @module
 */

/** Where a part of the file lies, as the format points to it. */
export interface Location {
  readonly offset: number;
  readonly byteLength: number;
}

const encoder = new TextEncoder();
const firstLength = 64 * 1024;

/** A file in the making. All numbers are little-endian. */
export class MinidumpWriter {
  #bytes = new Uint8Array(firstLength);
  #view = new DataView(this.#bytes.buffer);
  #used = 0;

  /** Takes `byteLength` zero bytes at a multiple of `alignment`; gives where. */
  reserve(byteLength: number, alignment = 4): Location {
    const offset = Math.ceil(this.#used / alignment) * alignment;
    this.#used = offset + byteLength;
    if (this.#used > this.#bytes.byteLength) {
      const larger = new Uint8Array(Math.max(this.#used, 2 * this.#bytes.byteLength));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return { offset, byteLength };
  }

  /** Adds bytes as they are. */
  bytes(content: Uint8Array, alignment = 4): Location {
    const location = this.reserve(content.byteLength, alignment);
    this.#bytes.set(content, location.offset);
    return location;
  }

  /** Adds a MINIDUMP_STRING: its length in bytes, UTF-16, and a zero. */
  text(value: string): Location {
    const location = this.reserve(4 + 2 * value.length + 2);
    this.u32(location.offset, 2 * value.length);
    for (let index = 0; index < value.length; index += 1) {
      this.u16(location.offset + 4 + 2 * index, value.charCodeAt(index));
    }
    return location;
  }

  /** Adds a value as JSON in UTF-8. */
  json(value: unknown): Location {
    return this.bytes(encoder.encode(JSON.stringify(value)));
  }

  /** Writes bytes to a place that was taken before. */
  set(offset: number, content: Uint8Array): void {
    this.#bytes.set(content, offset);
  }

  u8(offset: number, value: number): void {
    this.#view.setUint8(offset, value);
  }

  u16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }

  u32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  u64(offset: number, value: bigint): void {
    this.#view.setBigUint64(offset, value, true);
  }

  /** Writes a MINIDUMP_LOCATION_DESCRIPTOR. */
  location(offset: number, { offset: target, byteLength }: Location): void {
    this.u32(offset, byteLength);
    this.u32(offset + 4, target);
  }

  /** Everything that was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#used);
  }
}
