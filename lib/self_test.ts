/**
 * Asks this machine and this runtime whether recovery works here: makes each kind of fault in a
 * guarded call of the native library itself.
 *
 * @module
 */
import { selfTestKind } from "./abi.ts";
import { dlopen } from "./dlopen.ts";
import { HardwareException } from "./hardware_exception.ts";
import { machine } from "./machine.ts";
import { native } from "./native.ts";
import type { ExceptionType, SignalName } from "./signal_table.ts";

/** A kind of fault that the native library can make; not on every processor. */
export type SelfTestKind = Exclude<keyof typeof selfTestKind, "none">;

/** What a kind of fault gave. */
export interface SelfTestResult {
  readonly kind: SelfTestKind;
  /** Whether an exception of the expected type was caught. */
  readonly passed: boolean;
  readonly expected: ExceptionType;
  /** The exception; null when nothing faulted. */
  readonly error: HardwareException | null;
}

/** Where the processor reports no address, it is a general protection fault: on x64 only. */
const x64 = machine.architecture === "x64";

const expectedTypes: Readonly<Record<SelfTestKind, ExceptionType>> = {
  null_read: "access-violation",
  null_write: "access-violation",
  read_only_write: "access-violation",
  jump_to_null: "access-violation",
  non_canonical_read: x64 ? "general-protection" : "access-violation",
  privileged_instruction: x64 ? "general-protection" : "illegal-instruction",
  past_end_of_file: "bus-error",
  integer_division: "arithmetic",
  illegal_instruction: "illegal-instruction",
  breakpoint: "breakpoint",
  stack_overflow: "stack-overflow",
  abort: "abort",
  misaligned_access: "misaligned-access",
};

/**
 * Every kind that this processor has, in the order in which `selfTest` makes them: without
 * `integer_division` on arm64, where that gives 0.
 */
export const selfTestKinds: readonly SelfTestKind[] = Object.freeze(
  (Object.keys(expectedTypes) as SelfTestKind[]).filter((kind) =>
    kind !== "integer_division" || machine.divisionTraps
  ),
);

const signals: readonly SignalName[] = [
  "SIGSEGV",
  "SIGBUS",
  "SIGFPE",
  "SIGILL",
  "SIGTRAP",
  "SIGABRT",
];

/**
 * Makes each fault of `kinds` and says what came of it. A fault that is not caught ends the
 * process, so a doubtful machine is asked from a child process.
 *
 * @param kinds Which faults to make; by default all.
 * @throws {Error} If the native library cannot be opened.
 */
export function selfTest(kinds: readonly SelfTestKind[] = selfTestKinds): SelfTestResult[] {
  using library = dlopen(
    native().path,
    { fl_self_test: { parameters: ["u32"], result: "i32" } },
    { signals },
  );
  return kinds.map((kind) => {
    const expected = expectedTypes[kind];
    try {
      library.symbols.fl_self_test(selfTestKind[kind]);
    } catch (error) {
      if (!(error instanceof HardwareException)) throw error;
      return { kind, expected, error, passed: error.info.type === expected };
    }
    return { kind, expected, error: null, passed: false };
  });
}
