/**
 * Numbers, names and types of the signals that carry hardware exceptions, as tables.
 *
 * Numbers are those of Linux on x86-64 and arm64: include/uapi/asm-generic/signal.h and siginfo.h.
 * Types and ZX_EXCP_* values are those of Faultline's own mapping to Zircon's exception types.
 * Nothing native is imported here.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";

/**
 * A signal that can carry a hardware exception, by its POSIX name.
 *
 * The set is that of the signals Linux raises for what a thread itself executed, with SIGABRT, by
 * which a library gives up on its own.
 *
 * @example Usage
 * ```ts
 * import type { SignalName } from "faultline";
 *
 * const memoryFaults: readonly SignalName[] = ["SIGSEGV", "SIGBUS"];
 * console.log(memoryFaults.join());
 * ```
 */
export type SignalName =
  | "SIGSEGV"
  | "SIGBUS"
  | "SIGFPE"
  | "SIGILL"
  | "SIGTRAP"
  | "SIGABRT"
  | "SIGSYS";

/**
 * What kind of exception, whatever the platform calls it.
 *
 * The kinds are Zircon's (docs/concepts/kernel/exceptions.md), with the general and the page fault
 * type split where the kernel's code tells more.
 *
 * @example Usage
 * ```ts
 * import { decodeSignal, type ExceptionType } from "faultline";
 *
 * const memory: readonly ExceptionType[] = ["access-violation", "stack-overflow", "bus-error"];
 * console.log(memory.includes(decodeSignal(11, 1).type)); // true
 * ```
 */
export type ExceptionType =
  | "access-violation"
  | "stack-overflow"
  | "general-protection"
  | "bus-error"
  | "misaligned-access"
  | "machine-check"
  | "illegal-instruction"
  | "arithmetic"
  | "breakpoint"
  | "watchpoint"
  | "single-step"
  | "abort"
  | "policy"
  | "user"
  | "process-starting"
  | "thread-starting"
  | "thread-exiting";

/** Linux include/uapi/asm-generic/signal.h. */
const signalNumbers: Readonly<Record<SignalName, number>> = Object.freeze({
  SIGSEGV: 11,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGSYS: 31,
});

/** How a signal can come about whatever its number; only SI_KERNEL is raised by the kernel. */
const generalCodes: Readonly<Record<string, number>> = Object.freeze({
  SI_KERNEL: 0x80,
  SI_USER: 0,
  SI_QUEUE: -1,
  SI_TIMER: -2,
  SI_MESGQ: -3,
  SI_ASYNCIO: -4,
  SI_SIGIO: -5,
  SI_TKILL: -6,
  SI_DETHREAD: -7,
  SI_ASYNCNL: -60,
});

function withGeneralCodes(own: Record<string, number>): Readonly<Record<string, number>> {
  return Object.freeze({ ...own, ...generalCodes });
}

/**
 * Every code of every signal, by the kernel's own names.
 *
 * Each signal lists its own codes first and then the general ones (`SI_USER`, `SI_KERNEL` ...),
 * which can come with any signal. The tables are frozen. Codes of other architectures (ADI of
 * SPARC, MTE of arm64) are listed everywhere, as their numbers are taken everywhere.
 *
 * Source: Linux include/uapi/asm-generic/siginfo.h. Left out are `__SEGV_PSTKOVF`, which shares the
 * number of `SEGV_PKUERR` on Itanium, and Itanium's decimal arithmetic codes `__FPE_DECOVF`,
 * `__FPE_DECDIV`, `__FPE_DECERR`, `__FPE_INVASC` and `__FPE_INVDEC`.
 *
 * @example Usage
 * ```ts
 * import { signalCodes } from "faultline";
 *
 * console.log(signalCodes.SIGSEGV.SEGV_MAPERR); // 1
 * console.log(Object.keys(signalCodes.SIGBUS).filter((name) => name.startsWith("BUS_")));
 * ```
 */
export const signalCodes: Readonly<Record<SignalName, Readonly<Record<string, number>>>> = Object
  .freeze({
    SIGSEGV: withGeneralCodes({
      SEGV_MAPERR: 1,
      SEGV_ACCERR: 2,
      SEGV_BNDERR: 3,
      SEGV_PKUERR: 4,
      SEGV_ACCADI: 5,
      SEGV_ADIDERR: 6,
      SEGV_ADIPERR: 7,
      SEGV_MTEAERR: 8,
      SEGV_MTESERR: 9,
      SEGV_CPERR: 10,
    }),
    SIGBUS: withGeneralCodes({
      BUS_ADRALN: 1,
      BUS_ADRERR: 2,
      BUS_OBJERR: 3,
      BUS_MCEERR_AR: 4,
      BUS_MCEERR_AO: 5,
    }),
    SIGFPE: withGeneralCodes({
      FPE_INTDIV: 1,
      FPE_INTOVF: 2,
      FPE_FLTDIV: 3,
      FPE_FLTOVF: 4,
      FPE_FLTUND: 5,
      FPE_FLTRES: 6,
      FPE_FLTINV: 7,
      FPE_FLTSUB: 8,
      FPE_FLTUNK: 14,
      FPE_CONDTRAP: 15,
    }),
    SIGILL: withGeneralCodes({
      ILL_ILLOPC: 1,
      ILL_ILLOPN: 2,
      ILL_ILLADR: 3,
      ILL_ILLTRP: 4,
      ILL_PRVOPC: 5,
      ILL_PRVREG: 6,
      ILL_COPROC: 7,
      ILL_BADSTK: 8,
      ILL_BADIADDR: 9,
      // Reserved for Itanium, spelt so in the header, and listed so that 1 to 11 has no hole.
      __ILL_BREAK: 10,
      __ILL_BNDMOD: 11,
    }),
    SIGTRAP: withGeneralCodes({
      TRAP_BRKPT: 1,
      TRAP_TRACE: 2,
      TRAP_BRANCH: 3,
      TRAP_HWBKPT: 4,
      TRAP_UNK: 5,
      TRAP_PERF: 6,
    }),
    SIGABRT: withGeneralCodes({}),
    SIGSYS: withGeneralCodes({
      SYS_SECCOMP: 1,
      SYS_USER_DISPATCH: 2,
    }),
  });

const signalNames: readonly SignalName[] = Object.freeze(
  Object.keys(signalNumbers) as SignalName[],
);

/** Maps rather than objects, so that no number or name meets a property of Object.prototype. */
const namesByNumber: ReadonlyMap<number, SignalName> = new Map(
  signalNames.map((name) => [signalNumbers[name], name]),
);
const numbersByName: ReadonlyMap<unknown, number> = new Map(Object.entries(signalNumbers));
const codeNames: ReadonlyMap<number, ReadonlyMap<number, string>> = new Map(
  signalNames.map((name) => [
    signalNumbers[name],
    new Map(Object.entries(signalCodes[name]).map(([code, number]) => [number, code])),
  ]),
);

/** "SIGSEGV (11), SIGBUS (7) ...", for messages that say what would have been accepted. */
const namesForMessages: string = signalNames
  .map((name) => `${name} (${signalNumbers[name]})`)
  .join(", ");

/** The type of a signal: by code, and `otherwise` for every code that is not listed. */
interface TypeRow {
  readonly otherwise: ExceptionType;
  readonly byCode: Readonly<Record<string, ExceptionType>>;
}

/**
 * `otherwise` is the least specific type of the signal. It also stands for signals that somebody
 * sent (kill, raise, sigqueue): they did not happen to the thread, but who names the signal for a
 * call or decodes a number wants to read what the sender claims.
 */
const typeRows: Readonly<Record<SignalName, TypeRow>> = {
  SIGSEGV: {
    otherwise: "access-violation",
    // Non-canonical addresses and privileged instructions: the CPU names no address.
    byCode: { SI_KERNEL: "general-protection" },
  },
  SIGBUS: {
    otherwise: "bus-error",
    byCode: {
      BUS_ADRALN: "misaligned-access",
      BUS_MCEERR_AR: "machine-check",
      BUS_MCEERR_AO: "machine-check",
      // x86 reports a non-canonical address reached through the stack pointer (#SS) this way.
      SI_KERNEL: "general-protection",
    },
  },
  SIGFPE: { otherwise: "arithmetic", byCode: {} },
  SIGILL: { otherwise: "illegal-instruction", byCode: {} },
  SIGTRAP: {
    // raise(SIGTRAP) is the portable spelling of a breakpoint; x86 reports int3 as SI_KERNEL.
    otherwise: "breakpoint",
    byCode: {
      TRAP_TRACE: "single-step",
      TRAP_BRANCH: "single-step",
      TRAP_UNK: "single-step",
      TRAP_HWBKPT: "watchpoint",
      TRAP_PERF: "watchpoint",
    },
  },
  SIGABRT: { otherwise: "abort", byCode: {} },
  SIGSYS: { otherwise: "policy", byCode: {} },
};

/** ZX_EXCP_GENERAL. */
const zxGeneral = 0x008;

/** ZX_EXCP_* per type: Fuchsia zircon/system/public/zircon/syscalls/exception.h. */
const zxTypes: Readonly<Record<ExceptionType, number>> = {
  "access-violation": 0x108,
  "stack-overflow": 0x108,
  "general-protection": zxGeneral,
  "bus-error": 0x108,
  "misaligned-access": 0x508,
  "machine-check": zxGeneral,
  "illegal-instruction": 0x208,
  "arithmetic": zxGeneral,
  "breakpoint": 0x308,
  "watchpoint": 0x408,
  "single-step": 0x408,
  "abort": zxGeneral,
  "policy": 0x8208,
  "user": 0x8309,
  "process-starting": 0x8308,
  "thread-starting": 0x8008,
  "thread-exiting": 0x8108,
};

/** Codes by which the kernel says that an access to a page failed, and where. */
const pageFaultCodes: ReadonlySet<string> = new Set([
  "SEGV_MAPERR",
  "SEGV_ACCERR",
  "SEGV_BNDERR",
  "SEGV_PKUERR",
  "BUS_ADRERR",
  "BUS_OBJERR",
]);

/**
 * A signal or code outside the tables, with the numbers.
 *
 * The two cases are told apart by `codeNumber`: null says that the signal itself is unknown. The
 * error of the same name in hw-exception has two variants for this.
 *
 * @param signalNumber The number that was to be decoded.
 * @param codeNumber The code that the tables lack, or null when they lack the signal.
 *
 * @example Usage
 * ```ts
 * import { decodeSignal, UnsupportedSignalError } from "faultline";
 *
 * try {
 *   decodeSignal(11, 99);
 * } catch (error) {
 *   if (!(error instanceof UnsupportedSignalError)) throw error;
 *   console.log(error.signalNumber, error.codeNumber); // 11 99
 * }
 * ```
 */
export class UnsupportedSignalError extends Error {
  /** "UnsupportedSignalError". */
  override readonly name: string = "UnsupportedSignalError";
  /** The number that was to be decoded. */
  readonly signalNumber: number;
  /** The code that the tables lack, or null when they lack the signal. */
  readonly codeNumber: number | null;

  /** Makes the message from the numbers. */
  constructor(signalNumber: number, codeNumber: number | null) {
    const signal = signalName(signalNumber) ?? `signal ${signalNumber}`;
    super(
      codeNumber === null
        ? `Cannot decode ${signal} as it carries no hardware exception: ` +
          `pass one of ${namesForMessages}`
        : `Cannot decode code ${codeNumber} of ${signal} as signalCodes does not list it: ` +
          `pass a listed code, or show this one by its number`,
    );
    this.signalNumber = signalNumber;
    this.codeNumber = codeNumber;
  }
}

function requireInteger(parameter: string, value: unknown): void {
  if (Number.isInteger(value)) return;
  throw new TypeError(
    `Cannot decode a signal as ${parameter} must be an integer: ` +
      `pass the number from siginfo_t, current value is ${describeValue(value)}`,
  );
}

/** The name of a signal number, or null for a signal that carries no hardware exception. */
export function signalName(number: number): SignalName | null {
  return namesByNumber.get(number) ?? null;
}

/** The number of a signal on this platform. */
export function signalNumber(name: SignalName): number {
  return signalNumbers[name];
}

/** The name of a code, or its number as text where the tables lack it; never throws. */
export function codeName(signalNumber: number, codeNumber: number): string {
  return codeNames.get(signalNumber)?.get(codeNumber) ?? String(codeNumber);
}

/**
 * The type of an exception, for codes outside the tables too: those get the signal's least specific
 * type. Stack overflows look like access violations here; who knows the stack's bounds tells them
 * apart. Throws UnsupportedSignalError for a signal that carries no hardware exception.
 */
export function exceptionType(signalNumber: number, codeNumber: number): ExceptionType {
  const signal = signalName(signalNumber);
  if (signal === null) throw new UnsupportedSignalError(signalNumber, null);
  const { byCode, otherwise } = typeRows[signal];
  const code = codeName(signalNumber, codeNumber);
  return Object.hasOwn(byCode, code) ? byCode[code]! : otherwise;
}

/** The ZX_EXCP_* value of an exception; synthetic types ignore the numbers, which may be 0. */
export function zxType(type: ExceptionType, signalNumber: number, codeNumber: number): number {
  if (type === "access-violation" || type === "bus-error") {
    // A fatal page fault promises the address of a page. Codes that name none (control protection,
    // memory tags, signals that were sent, codes newer than the tables) are general exceptions.
    if (!pageFaultCodes.has(codeName(signalNumber, codeNumber))) return zxGeneral;
  }
  return zxTypes[type];
}

/** What is caught unless a call names its signals. */
export const defaultSignals: readonly SignalName[] = Object.freeze([
  "SIGSEGV",
  "SIGBUS",
  "SIGFPE",
  "SIGILL",
  "SIGTRAP",
]);

/** Bit n-1 for each signal n. Throws TypeError unless `names` is an array of known names. */
export function signalMask(names: readonly SignalName[]): number {
  const expected = `pass an array of names out of ${signalNames.join(", ")}`;
  if (!Array.isArray(names)) {
    throw new TypeError(
      `Cannot select signals as their list is ${describeValue(names)}: ${expected}`,
    );
  }
  let mask = 0;
  for (const name of names as readonly unknown[]) {
    const number = numbersByName.get(name);
    if (number === undefined) {
      throw new TypeError(
        `Cannot select signals as ${describeValue(name)} is not one of them: ${expected}`,
      );
    }
    mask |= 1 << (number - 1);
  }
  return mask;
}

/**
 * Names for the numbers of siginfo_t, per the kernel headers.
 *
 * A code of 0 or below says that somebody sent the signal (kill, raise, sigqueue, abort). Such a
 * signal is decoded too, with the least specific type of its signal: `decodeSignal(11, 0)` is
 * `SI_USER` and `access-violation`. The type then says what the sender claims, not what the CPU
 * saw. A stack overflow is an access violation here, as siginfo_t alone cannot tell it.
 *
 * Source: Linux include/uapi/asm-generic/siginfo.h for the names; hw-exception's `Signal::from_raw`
 * for the function, which lacked SI_KERNEL (int3 and general protection on x86) and newer codes.
 *
 * @param signalNumber `si_signo`.
 * @param codeNumber `si_code`.
 * @returns The names of signal and code, and the type of exception.
 * @throws {UnsupportedSignalError} If the signal carries no hardware exception, with a null
 * `codeNumber`; or if the tables lack the code.
 * @throws {TypeError} If an argument is not an integer.
 *
 * @example Usage
 * ```ts
 * import { decodeSignal } from "faultline";
 *
 * const { signal, code, type } = decodeSignal(8, 1);
 * console.log(signal, code, type); // SIGFPE FPE_INTDIV arithmetic
 * ```
 */
export function decodeSignal(
  signalNumber: number,
  codeNumber: number,
): { signal: SignalName; code: string; type: ExceptionType } {
  requireInteger("signalNumber", signalNumber);
  requireInteger("codeNumber", codeNumber);
  const signal = signalName(signalNumber);
  if (signal === null) throw new UnsupportedSignalError(signalNumber, null);
  const code = codeNames.get(signalNumber)?.get(codeNumber);
  if (code === undefined) throw new UnsupportedSignalError(signalNumber, codeNumber);
  return { signal, code, type: exceptionType(signalNumber, codeNumber) };
}
