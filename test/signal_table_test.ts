import { strict as assert } from "node:assert";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  codeName,
  decodeSignal,
  type ExceptionType,
  exceptionType,
  signalCodes,
  signalMask,
  type SignalName,
  signalName,
  signalNumber,
  UnsupportedSignalError,
  zxType,
} from "../lib/signal_table.ts";

const numbers: Readonly<Record<SignalName, number>> = {
  SIGSEGV: 11,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGSYS: 31,
};
const names = Object.keys(numbers) as SignalName[];

/** The directory of the kernel headers inside the Zig package, or why they are not there. */
function kernelHeaders(): { directory: string } | { missing: string } {
  const packages = fileURLToPath(new URL("../.venv/lib", import.meta.url));
  const pythons = existsSync(packages)
    ? readdirSync(packages).filter((name) => name.startsWith("python3")).sort()
    : [];
  for (const python of pythons) {
    const root = join(packages, python, "site-packages", "ziglang");
    const directory = join(root, "lib", "libc", "include");
    if (existsSync(join(directory, "any-linux-any", "asm-generic", "siginfo.h"))) {
      return { directory };
    }
  }
  return { missing: "the Zig package, which holds the kernel headers, is not in .venv" };
}

const headers = kernelHeaders();
const skip: false | string = "missing" in headers ? headers.missing : false;

function readHeader(...path: string[]): string {
  assert.ok("directory" in headers);
  return readFileSync(join(headers.directory, ...path), "utf8");
}

/** Every `#define NAME number`, as the preprocessor sees it where __ia64__ is not defined. */
function definitions(text: string): Map<string, number> {
  const result = new Map<string, number>();
  // One entry per open condition. Those other than __ia64__ (include guards, overrides) count as
  // true in both branches: they decide about no code.
  const active: boolean[] = [];
  for (const line of text.replace(/\/\*.*?\*\//gs, " ").split("\n")) {
    const directive = /^\s*#\s*(ifdef|ifndef|if|else|endif|define)\b\s*(.*)$/.exec(line);
    if (directive === null) continue;
    const [, keyword = "", rest = ""] = directive;
    if (keyword === "ifdef") active.push(rest.trim() !== "__ia64__");
    else if (keyword === "ifndef" || keyword === "if") active.push(true);
    else if (keyword === "else") active[active.length - 1] = true;
    else if (keyword === "endif") active.pop();
    else if (!active.includes(false)) {
      const definition = /^(\w+)\s+(-?(?:0x[0-9a-f]+|\d+))\s*$/i.exec(rest);
      if (definition === null) continue;
      const [, name = "", value = ""] = definition;
      assert.ok(!result.has(name), `${name} is defined twice: the parser took a wrong branch`);
      result.set(name, value.startsWith("-") ? -Number(value.slice(1)) : Number(value));
    }
  }
  return result;
}

/** The prefix of a signal's own codes in the header; SIGABRT has none of its own. */
const prefixes: Readonly<Record<SignalName, string | null>> = {
  SIGSEGV: "SEGV",
  SIGBUS: "BUS",
  SIGFPE: "FPE",
  SIGILL: "ILL",
  SIGTRAP: "TRAP",
  SIGABRT: null,
  SIGSYS: "SYS",
};

/**
 * In the header but not in the tables: decimal arithmetic of Itanium, which the two underscores
 * reserve and for which Linux has no port any more.
 */
const reserved = ["__FPE_DECOVF", "__FPE_DECDIV", "__FPE_DECERR", "__FPE_INVASC", "__FPE_INVDEC"];

/** Has the shape of a code and is none: the size of a siginfo_t. */
const notCodes = ["SI_MAX_SIZE"];

function headerCodes(prefix: string | null): Record<string, number> {
  const pattern = new RegExp(`^(?:__)?${prefix === null ? "SI" : `(?:SI|${prefix})`}_[A-Z_]+$`);
  const all = definitions(readHeader("any-linux-any", "asm-generic", "siginfo.h"));
  return Object.fromEntries([...all].filter(([name]) => pattern.test(name)));
}

function without(codes: Record<string, number>, left: readonly string[]): Record<string, number> {
  return Object.fromEntries(Object.entries(codes).filter(([name]) => !left.includes(name)));
}

for (const name of names) {
  test(`H37 signalCodes.${name} is what the kernel header lists`, { skip }, () => {
    const expected = headerCodes(prefixes[name]);
    assert.ok(Object.keys(expected).length > 10, "the parser found the general codes");
    // Equality of whole objects: no code is missing and none is invented.
    assert.deepEqual({ ...signalCodes[name] }, without(expected, [...reserved, ...notCodes]));
  });

  test(`H37 signalCodes.${name} covers the header's count of codes`, { skip }, () => {
    const prefix = prefixes[name];
    if (prefix === null) return assert.equal(numbers[name], 6, "only SIGABRT has no own codes");
    // NSIGSEGV and its kin: the highest code, kept by the kernel's authors, not by this parser.
    const header = definitions(readHeader("any-linux-any", "asm-generic", "siginfo.h"));
    const own = Object.entries(signalCodes[name]).filter(([code]) => !code.startsWith("SI_"));
    assert.equal(Math.max(...own.map(([, number]) => number)), header.get(`N${name}`));
  });
}

test("H37 signalCodes leaves out reserved codes that the header really has", { skip }, () => {
  const header = headerCodes("FPE");
  // An exception that no longer applies must go, or it would hide a real code.
  assert.deepEqual(reserved.map((name) => header[name]), [9, 10, 11, 12, 13]);
  for (const number of [9, 10, 11, 12, 13]) {
    assert.throws(() => decodeSignal(8, number), UnsupportedSignalError);
  }
});

test("H37 signalCodes takes SEGV_PKUERR where Itanium has another code", { skip }, () => {
  const text = readHeader("any-linux-any", "asm-generic", "siginfo.h");
  // The only code that depends on the architecture: both branches define number 4.
  assert.match(text, /ifdef __ia64__\s*\n#\s*define __SEGV_PSTKOVF\s+4\b/);
  assert.equal(headerCodes("SEGV").SEGV_PKUERR, 4);
  assert.equal(headerCodes("SEGV").__SEGV_PSTKOVF, undefined);
  assert.equal(codeName(11, 4), "SEGV_PKUERR");
});

test("H37 signalCodes holds for x86-64 and arm64, whose headers add no code", { skip }, () => {
  assert.ok("directory" in headers);
  for (const architecture of ["x86", "aarch64"]) {
    const path = join(headers.directory, `${architecture}-linux-any`, "asm", "siginfo.h");
    // arm64 has no header of its own and uses the generic one.
    const text = existsSync(path)
      ? readFileSync(path, "utf8")
      : readHeader("any-linux-any", "asm", "siginfo.h");
    assert.match(text, /#include <asm-generic\/siginfo\.h>/);
    assert.deepEqual([...definitions(text).keys()], []);
  }
});

test("H37 signalNumber() is what the kernel headers say", { skip }, () => {
  const arm64 = readHeader("aarch64-linux-any", "asm", "signal.h");
  assert.match(arm64, /#include <asm-generic\/signal\.h>/);
  for (
    const header of [
      definitions(readHeader("any-linux-any", "asm-generic", "signal.h")),
      definitions(readHeader("x86-linux-any", "asm", "signal.h")),
    ]
  ) {
    for (const name of names) assert.equal(signalNumber(name), header.get(name), name);
  }
});

test("H37 signalCodes has the seven signals, frozen and without double numbers", () => {
  assert.deepEqual(Object.keys(signalCodes), names);
  assert.ok(Object.isFrozen(signalCodes));
  for (const name of names) {
    const codes = signalCodes[name];
    assert.ok(Object.isFrozen(codes), name);
    const values = Object.values(codes);
    assert.equal(new Set(values).size, values.length, name);
    assert.ok(values.every(Number.isInteger), name);
  }
  assert.throws(() => {
    (signalCodes.SIGSEGV as Record<string, number>).SEGV_MAPERR = 2;
  }, TypeError);
  assert.equal(signalCodes.SIGSEGV.SEGV_MAPERR, 1);
});

test("H37 decodeSignal() knows every code of the tables by name", () => {
  for (const name of names) {
    for (const [code, number] of Object.entries(signalCodes[name])) {
      const type = exceptionType(numbers[name], number);
      assert.deepEqual(decodeSignal(numbers[name], number), { signal: name, code, type });
      assert.equal(codeName(numbers[name], number), code);
    }
  }
});

// ---- H36: what the tables lack ------------------------------------------------------------------

function errorOf(body: () => unknown): UnsupportedSignalError {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof UnsupportedSignalError);
    return error;
  }
  assert.fail("nothing was thrown");
}

test("H36 decodeSignal() throws for an unknown signal, with a null code", () => {
  // SIGKILL, SIGINT, none, beyond the last one, and SIGBUS and SIGSYS as macOS numbers them.
  for (const number of [9, 2, 0, -1, 65, 2 ** 40, 10, 12]) {
    const error = errorOf(() => decodeSignal(number, 1));
    assert.equal(error.signalNumber, number);
    assert.equal(error.codeNumber, null);
    assert.match(error.message, new RegExp(`signal ${number} .*SIGSEGV \\(11\\)`));
  }
});

test("H36 decodeSignal() throws for an unknown code, with both numbers", () => {
  // Holes in the tables, codes of other signals, ptrace's TRAP codes, and sizes beyond any code.
  const cases: readonly [number, number][] = [
    [11, 11],
    [11, -8],
    [11, 0x81],
    [7, 6],
    [8, 9],
    [8, 16],
    [4, 12],
    [5, 7],
    [5, (1 << 8) | 5],
    [6, 1],
    [31, 3],
    [31, -(2 ** 31)],
  ];
  for (const [signal, code] of cases) {
    const error = errorOf(() => decodeSignal(signal, code));
    assert.equal(error.signalNumber, signal);
    assert.equal(error.codeNumber, code);
    assert.ok(error.message.includes(`code ${code} of ${signalName(signal)}`), error.message);
  }
});

test("H36 UnsupportedSignalError tells its two cases apart", () => {
  const signal = errorOf(() => decodeSignal(9, 99));
  const code = errorOf(() => decodeSignal(11, 99));
  for (const error of [signal, code]) {
    assert.ok(error instanceof Error);
    assert.equal(error.name, "UnsupportedSignalError");
    assert.match(String(error), /^UnsupportedSignalError: Cannot decode /);
    assert.doesNotMatch(error.message, /\.$|\n/);
  }
  assert.deepEqual([signal.signalNumber, signal.codeNumber], [9, null]);
  assert.deepEqual([code.signalNumber, code.codeNumber], [11, 99]);
  assert.notEqual(signal.message, code.message);
});

test("H36 decodeSignal() throws TypeError for arguments that are not integers", () => {
  const wrong: readonly unknown[] = [1.5, NaN, Infinity, "11", 11n, null, undefined, {}, [], true];
  const odd: readonly unknown[] = [Symbol("11"), Object.create(null), () => 11];
  for (const value of [...wrong, ...odd]) {
    assert.throws(() => decodeSignal(value as number, 1), {
      name: "TypeError",
      message: /signalNumber must be an integer/,
    });
    assert.throws(() => decodeSignal(11, value as number), {
      name: "TypeError",
      message: /codeNumber must be an integer/,
    });
  }
});

// ---- Types --------------------------------------------------------------------------------------

type Row = readonly [SignalName, readonly string[], ExceptionType, number];

/** The contract's table of types, row by row; the stack overflow needs more than the numbers. */
const contract: readonly Row[] = [
  [
    "SIGSEGV",
    ["SEGV_MAPERR", "SEGV_ACCERR", "SEGV_PKUERR", "SEGV_BNDERR"],
    "access-violation",
    0x108,
  ],
  ["SIGSEGV", ["SEGV_CPERR", "SEGV_MTEAERR", "SEGV_MTESERR"], "access-violation", 0x008],
  ["SIGSEGV", ["SI_KERNEL"], "general-protection", 0x008],
  ["SIGBUS", ["BUS_ADRERR", "BUS_OBJERR"], "bus-error", 0x108],
  ["SIGBUS", ["BUS_ADRALN"], "misaligned-access", 0x508],
  ["SIGBUS", ["BUS_MCEERR_AR", "BUS_MCEERR_AO"], "machine-check", 0x008],
  ["SIGILL", Object.keys(signalCodes.SIGILL), "illegal-instruction", 0x208],
  ["SIGFPE", Object.keys(signalCodes.SIGFPE), "arithmetic", 0x008],
  ["SIGTRAP", ["SI_KERNEL", "TRAP_BRKPT"], "breakpoint", 0x308],
  ["SIGTRAP", ["TRAP_TRACE", "TRAP_BRANCH", "TRAP_UNK"], "single-step", 0x408],
  ["SIGTRAP", ["TRAP_HWBKPT", "TRAP_PERF"], "watchpoint", 0x408],
  ["SIGABRT", ["SI_TKILL", ...Object.keys(signalCodes.SIGABRT)], "abort", 0x008],
  ["SIGSYS", Object.keys(signalCodes.SIGSYS), "policy", 0x8208],
  // Beyond the contract: codes of other architectures, and #SS of x86, seen as SIGBUS SI_KERNEL.
  ["SIGSEGV", ["SEGV_ACCADI", "SEGV_ADIDERR", "SEGV_ADIPERR"], "access-violation", 0x008],
  ["SIGBUS", ["SI_KERNEL"], "general-protection", 0x008],
];

for (const [signal, codes, type, zx] of contract) {
  const title = codes.length > 4 ? `${codes.length} codes` : codes.join(", ");
  test(`exceptionType() and zxType() of ${signal} ${title} are ${type}`, () => {
    for (const code of codes) {
      const number = signalCodes[signal][code];
      assert.ok(number !== undefined, code);
      assert.equal(exceptionType(numbers[signal], number), type, code);
      assert.equal(zxType(type, numbers[signal], number), zx, code);
      assert.deepEqual(decodeSignal(numbers[signal], number), { signal, code, type });
    }
  });
}

test("exceptionType() has a row of the table for every code the kernel raises", () => {
  for (const signal of names) {
    const rows = contract.filter(([of]) => of === signal).flatMap(([, codes]) => codes);
    for (const [code, number] of Object.entries(signalCodes[signal])) {
      if (number > 0) assert.ok(rows.includes(code), `${signal} ${code}`);
    }
  }
});

test("exceptionType() of a code outside the tables is the signal's least specific type", () => {
  const expected: Readonly<Record<SignalName, readonly [ExceptionType, number]>> = {
    SIGSEGV: ["access-violation", 0x008],
    SIGBUS: ["bus-error", 0x008],
    SIGFPE: ["arithmetic", 0x008],
    SIGILL: ["illegal-instruction", 0x208],
    SIGTRAP: ["breakpoint", 0x308],
    SIGABRT: ["abort", 0x008],
    SIGSYS: ["policy", 0x8208],
  };
  // 77 stands for codes newer than the tables; the others are signals that somebody sent.
  for (const code of [77, 0, -1, -6, -60]) {
    for (const name of names) {
      const [type, zx] = expected[name];
      assert.equal(exceptionType(numbers[name], code), type, `${name} ${code}`);
      assert.equal(zxType(type, numbers[name], code), zx, `${name} ${code}`);
    }
  }
});

test("exceptionType() throws UnsupportedSignalError for an unknown signal", () => {
  const error = errorOf(() => exceptionType(9, 1));
  assert.deepEqual([error.signalNumber, error.codeNumber], [9, null]);
});

test("zxType() of types that siginfo_t alone cannot tell", () => {
  // A stack overflow is a SIGSEGV with either code; synthetic exceptions have no signal at all.
  assert.equal(zxType("stack-overflow", 11, 1), 0x108);
  assert.equal(zxType("stack-overflow", 11, 2), 0x108);
  assert.equal(zxType("user", 0, 0), 0x8309);
  assert.equal(zxType("process-starting", 0, 0), 0x8308);
  assert.equal(zxType("thread-starting", 0, 0), 0x8008);
  assert.equal(zxType("thread-exiting", 0, 0), 0x8108);
  assert.equal(zxType("policy", 0, 0), 0x8208);
});

test("decodeSignal() decodes signals that were sent", () => {
  const type = "access-violation";
  assert.deepEqual(decodeSignal(11, 0), { signal: "SIGSEGV", code: "SI_USER", type });
  assert.deepEqual(decodeSignal(6, -6), { signal: "SIGABRT", code: "SI_TKILL", type: "abort" });
  assert.deepEqual(decodeSignal(8, -1), {
    signal: "SIGFPE",
    code: "SI_QUEUE",
    type: "arithmetic",
  });
});

// ---- Helpers ------------------------------------------------------------------------------------

test("signalName() and signalNumber() are inverse, and signalName() is null elsewhere", () => {
  for (const name of names) {
    assert.equal(signalNumber(name), numbers[name]);
    assert.equal(signalName(numbers[name]), name);
  }
  for (const number of [0, -1, 9, 15, 64, 1.5, NaN]) assert.equal(signalName(number), null);
});

test("codeName() gives the number as text where the tables lack it", () => {
  assert.equal(codeName(11, 1), "SEGV_MAPERR");
  assert.equal(codeName(5, 0x80), "SI_KERNEL");
  assert.equal(codeName(11, 99), "99");
  assert.equal(codeName(11, -8), "-8");
  assert.equal(codeName(9, 1), "1");
  assert.equal(codeName(0, 0), "0");
});

test("signalMask() has bit n-1 for signal n", () => {
  assert.equal(signalMask([]), 0);
  for (const name of names) assert.equal(signalMask([name]), 2 ** (numbers[name] - 1));
  assert.equal(signalMask(["SIGSEGV", "SIGBUS", "SIGSEGV"]), (1 << 10) | (1 << 6));
  // SIGSYS is the highest: the mask of all stays positive in 32 bits.
  assert.equal(signalMask(names), 0x4000_04f8);
});

test("signalMask() throws TypeError for what is not an array of known names", () => {
  const wrong: readonly unknown[] = ["SIGSEGV", undefined, null, 11, {}, new Set(["SIGSEGV"])];
  for (const value of wrong) {
    assert.throws(() => signalMask(value as SignalName[]), {
      name: "TypeError",
      message: /^Cannot select signals as their list is .*: pass an array of names/,
    });
  }
  const oddNames: readonly unknown[] = ["SIGKILL", "sigsegv", "toString", "", 11, null, {}];
  for (const value of [...oddNames, Symbol("SIGSEGV"), "__proto__"]) {
    assert.throws(() => signalMask(["SIGSEGV", value as SignalName]), {
      name: "TypeError",
      message: /^Cannot select signals as .* is not one of them: pass an array of names/,
    });
  }
  // A hole is an undefined name, not a name to skip.
  // deno-lint-ignore no-sparse-arrays
  assert.throws(() => signalMask([, "SIGSEGV"] as unknown as SignalName[]), TypeError);
});
