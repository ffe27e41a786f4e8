/**
 * An incremental collector. The program goes on changing its objects while the collector marks what
 * can be reached; what was written after it was marked is found by page, without a write barrier in
 * any store. Objects live in a write-tracked arena and are written by plain stores into an array.
 */
import { addressOf, trackWrites } from "../mod.ts";

const pageLength = 4096;
const fields = 4; // An object is four words: references to others, 0 for none.
const objects = 20_000;
const wordsPerPage = pageLength / 4;

using arena = trackWrites(objects * fields * 4);
const start = addressOf(arena.bytes);
const heap = new Uint32Array(arena.bytes.buffer, 0, objects * fields);

let seed = 1;
/** A whole number below `limit`. */
function random(limit: number): number {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed % limit;
}

/** Objects that can be reached from object 1, by a walk of the whole heap. */
function reachable(): Uint8Array {
  const found = new Uint8Array(objects);
  const work = [1];
  found[1] = 1;
  for (let object = work.pop(); object !== undefined; object = work.pop()) {
    for (let field = 0; field < fields; field++) {
      const target = heap[object * fields + field]!;
      if (target === 0 || found[target] === 1) continue;
      found[target] = 1;
      work.push(target);
    }
  }
  return found;
}

/** The collector: objects that were seen, and those whose fields are still to be looked at. */
class Collector {
  readonly marked = new Uint8Array(objects);
  readonly #work: number[] = [];

  mark(object: number): void {
    if (object === 0 || this.marked[object] === 1) return;
    this.marked[object] = 1;
    this.#work.push(object);
  }

  #look(object: number): void {
    for (let field = 0; field < fields; field++) this.mark(heap[object * fields + field]!);
  }

  /** Looks at up to `budget` objects; false when there are none left. */
  step(budget: number): boolean {
    for (let count = 0; count < budget; count++) {
      const object = this.#work.pop();
      if (object === undefined) return false;
      this.#look(object);
    }
    return true;
  }

  /** Looks again at marked objects on pages that were written: how many pages. */
  remark(): number {
    let pages = 0;
    for (const { address, byteLength } of arena.take()) {
      const first = Number(address - start) / 4 / fields;
      const last = Math.min(first + byteLength / 4 / fields, objects);
      for (let object = first; object < last; object++) {
        if (this.marked[object] === 1) this.#look(object);
      }
      pages += byteLength / pageLength;
    }
    return pages;
  }
}

/** The program at work, on a part of the heap: objects lose references and others get them. */
function mutate(count: number): void {
  for (let index = 0; index < count; index++) {
    const from = 1 + random(2000);
    const moved = heap[from * fields + random(fields)]!;
    heap[from * fields + random(fields)] = 0;
    // The only reference may now lie in an object that was marked long ago.
    heap[(1 + random(2000)) * fields + random(fields)] = moved;
  }
}

/** How many objects are live and not marked. */
function count(live: Uint8Array, marked: Uint8Array): number {
  let found = 0;
  for (let object = 1; object < objects; object++) {
    if (live[object] === 1 && marked[object] === 0) found += 1;
  }
  return found;
}

/** Clears what is not marked: how many objects. */
function free(marked: Uint8Array): number {
  let freed = 0;
  for (let object = 1; object < objects; object++) {
    if (marked[object] === 1) continue;
    heap.fill(0, object * fields, (object + 1) * fields);
    freed += 1;
  }
  return freed;
}

for (let word = fields; word < heap.length; word++) {
  heap[word] = random(3) === 0 ? 1 + random(objects - 1) : 0;
}
for (let object = 1; object < 100; object++) heap[object * fields] = object + 1;

let missedInAll = 0;
for (let cycle = 0; cycle < 3; cycle++) {
  arena.take(); // From here on, writes count.
  const collector = new Collector();
  collector.mark(1);
  let steps = 0;
  while (collector.step(500)) {
    mutate(200);
    steps += 1;
  }
  // The program pauses: what is left is what was written, and what that leads to.
  const live = reachable();
  const missed = count(live, collector.marked);
  const pages = collector.remark();
  while (collector.step(500));
  const lost = count(live, collector.marked);
  if (lost !== 0) throw new Error(`${lost} objects that are in use were about to be freed`);
  const all = Math.ceil(heap.length / wordsPerPage);
  console.log(
    `cycle ${cycle}: ${steps} steps while the program ran, which missed ${missed} objects; then ` +
      `${pages} of ${all} pages again, and none is missing; ${free(collector.marked)} freed`,
  );
  missedInAll += missed;
}
// Without that second look, these would have been freed while in use.
if (missedInAll === 0) throw new Error("the program has hidden nothing from the collector");
