/**
 * Properties of the built native libraries that nothing else would notice until a user's process
 * fails to load them: what they need, what they export, how large they are.
 */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { type Elf, readElf, segmentType } from "./elf.ts";

/** What each library may be: its size, the names it leaves to the loader, its thread-locals. */
const libraries = [
  {
    name: "faultline.so",
    kibibytesMax: 288,
    undefinedNames: new Set(["dlopen", "dlsym", "dlerror"]),
    hasThreadLocals: true,
  },
  {
    name: "faultline_symbols.so",
    kibibytesMax: 512,
    undefinedNames: new Set<string>(),
    hasThreadLocals: false,
  },
];

/** One thread-local block, and larger ones lose argument registers when the surplus is used up. */
const tlsBytes = 16;

/** `e_machine` to the relocation type of a TLS descriptor (psABI of each architecture). */
const tlsDescriptor: Readonly<Record<number, number>> = { 62: 36, 183: 1031 };

/** Text relocations would make the loader write to code pages. */
const textRelocations = 22;

// The committed files are what users get; another stage proves that they are what was built.
const folder = fileURLToPath(new URL("../lib/native/", import.meta.url));
const platforms = readdirSync(folder).filter((name) => name.startsWith("linux-"));

test("lib/native has a library for Linux on x86-64", () => {
  assert.ok(platforms.includes("linux-x64"));
});

const built = platforms.flatMap((platform) =>
  libraries.map((library) => ({ platform, ...library }))
);

for (const { platform, name: file, kibibytesMax, undefinedNames, hasThreadLocals } of built) {
  const path = join(folder, platform, file);
  const read = (): Elf => readElf(readFileSync(path));

  describe(`${platform}/${file}`, () => {
    test("needs no other library", () => assert.deepEqual(read().needed, []));

    test("leaves only weak names of the loader undefined", () => {
      const undefinedSymbols = read().symbols.filter(({ defined }) => !defined);
      const wrong = undefinedSymbols.filter(({ name, weak }) => !weak || !undefinedNames.has(name));
      assert.deepEqual(wrong, []);
    });

    test("exports only names that begin with fl_", () => {
      const exported = read().symbols.filter(({ defined }) => defined).map(({ name }) => name);
      assert.ok(exported.length > 0);
      assert.deepEqual(exported.filter((name) => !name.startsWith("fl_")), []);
    });

    test(`is smaller than ${kibibytesMax} KiB`, () => {
      const { size } = statSync(path);
      assert.ok(size < kibibytesMax * 1024, `it has ${size} bytes`);
    });

    test("has no executable stack and no page that is both writable and executable", () => {
      const { segments } = read();
      const stack = segments.find(({ type }) => type === segmentType.stack);
      assert.equal(stack?.executable, false);
      assert.deepEqual(segments.filter(({ writable, executable }) => writable && executable), []);
    });

    const threadLocals = hasThreadLocals ? "one TLS descriptor and 16 bytes of" : "no";
    test(`has ${threadLocals} thread-local data`, () => {
      const { machine, relocations, segments } = read();
      const descriptors = relocations.filter((type) => type === tlsDescriptor[machine]);
      assert.equal(descriptors.length, hasThreadLocals ? 1 : 0);
      const blocks = segments.filter(({ type }) => type === segmentType.tls);
      assert.deepEqual(
        blocks.map(({ memoryLength }) => memoryLength),
        hasThreadLocals ? [tlsBytes] : [],
      );
    });

    test("has no text relocations", () => assert.ok(!read().tags.includes(textRelocations)));
  });
}

test("readElf() refuses what is not an ELF file", () => {
  assert.throws(() => readElf(new Uint8Array(64)), TypeError);
});
