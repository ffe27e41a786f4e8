/** Where the native library is looked for, and what is said when it is not usable there. */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { abiHash, version } from "../lib/abi.ts";
import { nativePath, runtime } from "../lib/native.ts";
import { checkLibraryPath, identityOf } from "../lib/native_library.ts";
import { platforms } from "../lib/platforms.ts";
import { missingFile, shortFile } from "./musl_support.ts";
import { childArgs, fixtureFile, runtimeName } from "./support.ts";

const folder = mkdtempSync(join(tmpdir(), "faultline-library-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const own = nativePath()!;
const child = fileURLToPath(new URL("./children/native_library.ts", import.meta.url));

interface Answer {
  readonly path?: string;
  readonly origin?: string;
  /** Which symbols library is mapped; null where that may not be read. */
  readonly symbolsFile?: string | null;
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  readonly hasCause?: boolean;
}

/** Opens the library in a child; gives where it was found, or the error. */
function ask(
  how: { readonly option?: string; readonly variable?: string; readonly flags?: string[] },
): Answer {
  const { FAULTLINE_LIBRARY: _, ...environment } = process.env;
  const env: NodeJS.ProcessEnv = { ...environment, NO_COLOR: "1" };
  if (how.variable !== undefined) env.FAULTLINE_LIBRARY = how.variable;
  const args = [...childArgs(child, how.flags), ...how.option === undefined ? [] : [how.option]];
  const { status, stderr, stdout } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    env,
    timeout: 20_000,
  });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Answer;
}

/** Asserts that the library is refused, with these lines behind the first. */
function assertRefused(answer: Answer, lines: readonly (string | RegExp)[]): void {
  const { code, hasCause, message, name } = answer;
  assert.equal(name, "FaultlineError", JSON.stringify(answer));
  assert.equal(code, "NATIVE_LIBRARY");
  assert.equal(hasCause, true);
  const { platform, title, version: runtimeVersion } = runtime();
  const [first, ...rest] = message!.split("\n");
  assert.equal(
    first,
    `Cannot open faultline.so of Faultline ${version} for ${platform} under ${title} ` +
      `${runtimeVersion}, having tried`,
  );
  assert.equal(rest.length, lines.length, message!);
  lines.forEach((line, index) => {
    if (typeof line === "string") assert.equal(rest[index], line);
    else assert.match(rest[index]!, line);
  });
}

const remedy = `Name the faultline.so of Faultline ${version} there, or name none to use the ` +
  "package's own.";

test("native() takes the package's own file by default", () => {
  const { origin, path } = ask({});
  assert.deepEqual({ origin, path }, { path: own, origin: "package" });
});

test("FAULTLINE_LIBRARY and libraryPath name the file, the option before the variable", () => {
  const [byVariable, byOption] = ["variable", "option"].map((name) => {
    const path = join(folder, name, "any name.so");
    mkdirSync(dirname(path));
    copyFileSync(own, path);
    return path;
  }) as [string, string];
  const variable = ask({ variable: byVariable });
  assert.deepEqual([variable.path, variable.origin], [byVariable, "environment"]);
  for (const option of [byOption, pathToFileURL(byOption).href]) {
    const { origin, path } = ask({ option, variable: byVariable });
    assert.deepEqual([path, origin], [byOption, "option"]);
  }
  assert.deepEqual(ask({ variable: "" }).origin, "package");
});

test("the symbols library is taken from next to the named one, where it is there", () => {
  const path = join(folder, "beside", "faultline.so");
  const symbols = join(dirname(path), "faultline_symbols.so");
  const ownSymbols = join(dirname(own), "faultline_symbols.so");
  mkdirSync(dirname(path));
  copyFileSync(own, path);
  assert.equal(ask({ variable: path }).symbolsFile, ownSymbols);
  writeFileSync(symbols, "no library");
  assert.equal(ask({ variable: path }).symbolsFile, ownSymbols);
  copyFileSync(ownSymbols, symbols);
  assert.equal(ask({ variable: path }).symbolsFile, symbols);
});

test("a named file that is missing is listed with the loader's reason, and no other taken", () => {
  const path = join(folder, "missing.so");
  const missing = missingFile(path);
  const variable = `  ${path} (environment variable FAULTLINE_LIBRARY): ${missing}`;
  assertRefused(ask({ variable: path }), [variable, remedy]);
  assertRefused(ask({ option: path }), [`  ${path} (option libraryPath): ${missing}`, remedy]);
});

test("a named file that is no library is listed with the loader's reason", () => {
  const path = join(folder, "text.so");
  writeFileSync(path, "This is no library.");
  const shown = `  ${path} (environment variable FAULTLINE_LIBRARY): ${shortFile(path)}`;
  assertRefused(ask({ variable: path }), [shown, remedy]);
});

test("a named file that is another library is refused by the names that it lacks", () => {
  const path = fixtureFile("fixture.so");
  // Which of them is missed first is the runtime's choice.
  assertRefused(ask({ variable: path }), [/fixture\.so .*: .*\bfl_\w+/, remedy]);
});

test("a relative path in FAULTLINE_LIBRARY is refused as such", () => {
  const answer = ask({ variable: "faultline.so" });
  assertRefused(answer, [/^ {2}faultline\.so .*: .*must be absolute, or a file URL/, remedy]);
});

/** A copy of the library whose functions answer with another hash and another version. */
function otherVersion(): string {
  const bytes = readFileSync(own);
  const hash = Buffer.alloc(8);
  hash.writeBigUInt64LE(abiHash);
  const number = Buffer.alloc(4);
  const [major, minor, patch] = version.split(".").map(Number) as [number, number, number];
  number.writeUInt32LE(major << 16 | minor << 8 | patch);
  const at = bytes.indexOf(hash);
  assert.ok(at > 0 && bytes.indexOf(hash, at + 1) < 0, "the hash is in the code once");
  hash.writeBigUInt64LE(0xfeedn);
  hash.copy(bytes, at);
  // mov eax, VERSION; pop rbp; ret
  const code = Buffer.concat([Buffer.of(0xb8), number, Buffer.of(0x5d, 0xc3)]);
  const places = [];
  for (let from = bytes.indexOf(code); from >= 0; from = bytes.indexOf(code, from + 1)) {
    places.push(from);
  }
  assert.equal(places.length, 1, "the version is in the code once");
  bytes.writeUInt32LE(1 << 16 | 2 << 8 | 3, places[0]! + 1);
  const path = join(folder, "other version.so");
  writeFileSync(path, bytes);
  return path;
}

test("a library of another version is refused by both versions and both hashes", {
  skip: runtime().platform === "linux-x64" ? false : "the test patches x86-64 code",
}, () => {
  const path = otherVersion();
  assert.deepEqual(identityOf(runtime(), path), { version: "Faultline 1.2.3", abiHash: 0xfeedn });
  const says = "it is of Faultline 1.2.3 with ABI 0xfeed, and these files are of " +
    `Faultline ${version} with ABI 0x${abiHash.toString(16)}`;
  const shown = `  ${path} (environment variable FAULTLINE_LIBRARY): ${says}`;
  assertRefused(ask({ variable: path }), [shown, remedy]);
});

test("identityOf() knows the package's own library, and that others are none", () => {
  const identity = { version: `Faultline ${version}`, abiHash };
  assert.deepEqual(identityOf(runtime(), own), identity);
  assert.equal(identityOf(runtime(), fixtureFile("fixture.so")), null);
});

test("a package without its library says so, and how to mend it", () => {
  const copy = join(folder, "package");
  mkdirSync(join(copy, "lib"), { recursive: true });
  const root = fileURLToPath(new URL("..", import.meta.url));
  const { status } = spawnSync("cp", ["-r", join(root, "lib"), join(root, "mod.ts"), copy]);
  assert.equal(status, 0);
  rmSync(join(copy, "lib", "native"), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  const program = join(copy, "program.ts");
  writeFileSync(program, 'import { status } from "./mod.ts";\nstatus();\n');
  const result = spawnSync(process.execPath, childArgs(program), { encoding: "utf8" });
  assert.notEqual(result.status, 0);
  const path = join(copy, "lib", "native", runtime().platform, "faultline.so");
  const reason = `${path} (file of the package): ${missingFile(path)}`;
  assert.ok(result.stderr.includes(reason), result.stderr);
  assert.match(result.stderr, /Install the package again, with all of its files, or name one by/);
});

test("a missing permission is named with the flag that grants it", {
  skip: runtimeName() === "bun" ? "Bun has no permissions" : false,
}, () => {
  const flag = `run it with --allow-ffi=${own}`;
  const answer = ask({ flags: ["--allow-read", "--allow-env"] });
  assertRefused(answer, [
    `  ${own} (file of the package): Cannot open ${own} as this program may not use native ` +
    `libraries: ${flag}`,
    "Run the program with the permission that is named above.",
  ]);
  // Without permission to read it, the variable is not there, and nobody is asked.
  assert.equal(ask({ variable: "/missing.so", flags: ["--allow-ffi", "--allow-read"] }).path, own);
});

test("install() refuses a libraryPath that is none, and one that comes too late", () => {
  for (const path of ["faultline.so", "", "/a\0b", 7, null, new URL("http://localhost/a.so")]) {
    assert.throws(() => checkLibraryPath(path as never), {
      name: "TypeError",
      message: /^Cannot take the native library from there as its path must be absolute/,
    });
  }
  assert.equal(checkLibraryPath(new URL("file:///a%20b.so")), "/a b.so");
  const late = ask({ option: "late" });
  assert.equal(late.name, "Error");
  assert.ok(late.message!.includes(`as this thread uses ${own} already`), late.message!);
});

test("the version is the same everywhere", () => {
  const read = (name: string): { version: string } =>
    JSON.parse(readFileSync(new URL(`../${name}`, import.meta.url), "utf8"));
  for (const name of ["package.json", "deno.json", "package-lock.json"]) {
    assert.equal(read(name).version, version, name);
  }
});

test("platforms lists what lib/native holds, and every one has its bundler's literals", () => {
  const native = fileURLToPath(new URL("../lib/native", import.meta.url));
  const { stdout } = spawnSync("ls", [native], { encoding: "utf8" });
  assert.deepEqual(stdout.trim().split("\n").sort(), Object.keys(platforms).sort());
  const source = readFileSync(new URL("../lib/bundled_library.ts", import.meta.url), "utf8");
  for (const platform of Object.keys(platforms)) {
    for (const name of ["faultline.so", "faultline_symbols.so"]) {
      assert.ok(source.includes(`require("./native/${platform}/${name}")`), platform);
    }
  }
});
