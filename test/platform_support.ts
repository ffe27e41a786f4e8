/**
 * What tests do differently on other processors and under emulators.
 *
 * A platform runner sets FAULTLINE_BUILD to the folder of the platform's fixtures, and where an
 * emulator runs the runtime, FAULTLINE_RUNTIME to a program that starts it so: the children of
 * tests are started by it. FAULTLINE_TIME_FACTOR prolongs the time limits inside tests.
 *
 * @module
 */
import process from "node:process";

/** A variable; none also for the children of tests that may not ask for it. */
function variable(name: string): string | undefined {
  try {
    return process.env[name];
  } catch (error) {
    if (error instanceof Error && error.name === "NotCapable") return undefined;
    throw error;
  }
}

const runtime = variable("FAULTLINE_RUNTIME");

/** What starts another process of this runtime. */
export const runtimePath: string = runtime ?? process.execPath;

/** Whether an emulator runs this runtime. */
export const emulated: boolean = runtime !== undefined;

/**
 * How often tests do what a hook may do in vain a thousand times. An emulator takes tens
 * of milliseconds to list the mappings, as `protect` must.
 */
export function manyRounds(rounds: number): number {
  return emulated ? Math.min(rounds, 1200) : rounds;
}

/** Time limits are multiplied by it. */
export const timeFactor: number = Number(variable("FAULTLINE_TIME_FACTOR") ?? (emulated ? 6 : 1));

/** Whether this processor is an arm64. */
export const arm64: boolean = process.arch === "arm64";

/** The option `skip` of a test, with the reason. */
export interface Skip {
  readonly skip: string | false;
}

/** Options of a test of what x64 alone has. */
export function x64Only(what: string): Skip {
  return { skip: arm64 ? `${what} on x64 only` : false };
}

/** Options of a test that needs a division by zero to be an exception. */
export const needsDivision: Skip = x64Only("an integer division by zero traps");

/** Options of a test of what emulators of user mode do not do as the kernel does. */
export function notEmulated(what: string): Skip {
  return { skip: emulated ? `the emulator differs: ${what}` : false };
}

/** All reasons to skip a test, of which the first counts. */
export function either(...skips: readonly Skip[]): Skip {
  return skips.find(({ skip }) => skip !== false) ?? { skip: false };
}

/** The number of the system call getppid(). */
export const getppid: number = arm64 ? 173 : 110;

/**
 * Options of a test of what the crash reporter needs another process for, which shares or copies
 * the memory of this one: the stacks of other threads, and lines.
 */
export const needsHelpers: Skip = notEmulated("it starts no process without a signal at its end");

/** Options of a test that filters system calls. */
export const noFilters: Skip = notEmulated("it filters no system calls");

/** Options of a test where several threads ask for the list of mappings. */
export const sharedMappings: Skip = notEmulated(
  "its list leaves out memory beside what another thread is mapping",
);

/** Options of a test that maps more than there is memory for. */
export const hugeMappings: Skip = notEmulated("it takes memory for each page that is mapped");
