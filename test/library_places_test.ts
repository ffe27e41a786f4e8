/** Files for native libraries that no file system has: in memory, and temporary ones. */
import { strict as assert } from "node:assert";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { memoryFile } from "../lib/memory_file.ts";
import { runtime } from "../lib/native.ts";
import { platforms } from "../lib/platforms.ts";
import { temporaryFile } from "../lib/temporary_file.ts";

const bytes = new TextEncoder().encode("not really a library, but bytes all the same");
const { libcPaths } = platforms[runtime().platform]!;
const folder = mkdtempSync(join(tmpdir(), "faultline-places-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Whether this process may make files another user's: root may, where that user exists. */
function mayGiveAway(): boolean {
  const file = join(folder, "given");
  writeFileSync(file, "");
  try {
    chownSync(file, 65534, 65534);
    return true;
  } catch (error) {
    if (["EPERM", "EINVAL"].includes((error as { code: string }).code)) return false;
    throw error;
  }
}

describe("memoryFile()", () => {
  test("holds the bytes, and gives the same file again without asking for them", () => {
    const path = memoryFile(runtime(), "test-again.so", () => bytes, libcPaths);
    assert.match(path, /^\/proc\/self\/fd\/\d+$/);
    assert.deepEqual(new Uint8Array(readFileSync(path)), bytes);
    const never = (): never => assert.fail("the bytes are not wanted again");
    assert.equal(memoryFile(runtime(), "test-again.so", never, libcPaths), path);
  });

  test("gives another file for another name", () => {
    const paths = ["test-one.so", "test-two.so"].map((name) =>
      memoryFile(runtime(), name, () => bytes, libcPaths)
    );
    assert.notEqual(paths[0], paths[1]);
  });

  test("cannot be changed any more", () => {
    const path = memoryFile(runtime(), "test-sealed.so", () => bytes, libcPaths);
    // Both runtimes open the file itself through this path, not the descriptor.
    assert.throws(() => writeSync(openSync(path, "r+"), bytes), /EPERM|not permitted/);
    assert.deepEqual(new Uint8Array(readFileSync(path)), bytes);
  });

  test("takes megabytes", () => {
    const large = new Uint8Array(3 << 20).fill(7);
    const path = memoryFile(runtime(), "test-large.so", () => large, libcPaths);
    assert.equal(readFileSync(path).byteLength, large.byteLength);
  });

  test("leaves no file behind when the bytes cannot be made", () => {
    const count = (): number => readdirSync("/proc/self/fd").length;
    const before = count();
    const broken = (): never => {
      throw new Error("no bytes");
    };
    assert.throws(() => memoryFile(runtime(), "test-broken.so", broken, libcPaths), /no bytes/);
    assert.equal(count(), before);
  });

  test("takes the C library from the first place that has it, and says why none has", () => {
    const path = memoryFile(runtime(), "test-libc.so", () => bytes, ["/missing.so", ...libcPaths]);
    assert.deepEqual(new Uint8Array(readFileSync(path)), bytes);
    const missing = (): string => memoryFile(runtime(), "a", () => bytes, ["/missing.so"]);
    assert.throws(missing, /\/missing\.so/);
  });
});

describe("temporaryFile()", () => {
  /** A folder of its own. */
  const empty = (name: string): string => {
    const path = join(folder, name);
    mkdirSync(path);
    return path;
  };

  test("holds the bytes for its owner, and stays the same file", () => {
    const place = empty("same");
    const path = temporaryFile(place, "a.so", bytes);
    assert.equal(path, join(place, "faultline-a.so", "a.so"));
    assert.deepEqual(new Uint8Array(readFileSync(path)), bytes);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    assert.equal(statSync(join(place, "faultline-a.so")).mode & 0o777, 0o700);
    const { ino } = statSync(path);
    assert.equal(temporaryFile(place, "a.so", bytes), path);
    assert.equal(statSync(path).ino, ino);
    assert.deepEqual(readdirSync(join(place, "faultline-a.so")), ["a.so"]);
  });

  test("replaces what is not these bytes, whether shorter, longer or a link", () => {
    const place = empty("replaced");
    const path = temporaryFile(place, "a.so", bytes);
    const wrong: readonly (() => void)[] = [
      () => writeFileSync(path, bytes.subarray(1)),
      () => writeFileSync(path, bytes.map((byte) => byte ^ 1)),
      () => {
        rmSync(path);
        writeFileSync(join(place, "elsewhere"), bytes);
        symlinkSync(join(place, "elsewhere"), path);
      },
    ];
    for (const change of wrong) {
      change();
      assert.equal(temporaryFile(place, "a.so", bytes), path);
      assert.deepEqual(new Uint8Array(readFileSync(path)), bytes);
    }
    assert.ok(!readdirSync(place).includes("a.so"));
  });

  test("refuses a folder that others may change, and one that is a link", () => {
    const place = empty("refused");
    const own = join(place, "faultline-a.so");
    mkdirSync(own);
    chmodSync(own, 0o770);
    assert.throws(() => temporaryFile(place, "a.so", bytes), /others may write to it: remove it/);
    assert.deepEqual(readdirSync(own), []);
    rmSync(own, { recursive: true });
    symlinkSync(empty("target"), own);
    assert.throws(() => temporaryFile(place, "a.so", bytes), /others may write to it: remove it/);
    assert.deepEqual(readdirSync(join(folder, "target")), []);
  });

  test("says why the file cannot be made", () => {
    assert.throws(() => temporaryFile("/missing/folder", "a.so", bytes), { code: "ENOENT" });
  });

  test("refuses a folder of another user", {
    skip: mayGiveAway() ? false : "only root can give a folder away, and where others exist",
  }, () => {
    const place = empty("foreign");
    const own = join(place, "faultline-a.so");
    mkdirSync(own, { mode: 0o700 });
    chownSync(own, 65534, 65534);
    assert.throws(() => temporaryFile(place, "a.so", bytes), /belongs to another user/);
  });
});
