/**
 * What this version can do on this platform.
 *
 * @module
 */
import { FaultlineError } from "./faultline_error.ts";
import { machine } from "./machine.ts";
import { platformName } from "./native.ts";
import { platforms } from "./platforms.ts";

/** One ability, and why it is missing. */
export interface Capability {
  readonly available: boolean;
  /** null when it is available. */
  readonly reason: string | null;
}

/**
 * The names of all abilities. `integerDivision` is that an integer division by zero is an
 * exception: on arm64 it gives 0. `crashReporter` is `installCrashReporter`, `dumpThreads` and
 * `dumpLater`.
 */
export type CapabilityName =
  | "catch"
  | "javascriptHooks"
  | "nativeHooks"
  | "stackOverflow"
  | "threadChannels"
  | "debuggerChannels"
  | "watchpoints"
  | "fpTraps"
  | "isolation"
  | "minidump"
  | "symbols"
  | "integerDivision"
  | "crashReporter";

const built: ReadonlySet<CapabilityName> = new Set([
  "catch",
  "javascriptHooks",
  "nativeHooks",
  "stackOverflow",
  "minidump",
  "symbols",
  "integerDivision",
  "crashReporter",
]);
const names: readonly CapabilityName[] = [
  "catch",
  "javascriptHooks",
  "nativeHooks",
  "stackOverflow",
  "threadChannels",
  "debuggerChannels",
  "watchpoints",
  "fpTraps",
  "isolation",
  "minidump",
  "symbols",
  "integerDivision",
  "crashReporter",
];

function capability(name: CapabilityName): Capability {
  const platform = platformName();
  if (!built.has(name)) {
    return { available: false, reason: "this version of Faultline does not have it" };
  }
  if (platforms[platform] === undefined) {
    return { available: false, reason: `there is no native library for ${platform} yet` };
  }
  if (name === "integerDivision" && !machine.divisionTraps) {
    return {
      available: false,
      reason: "an integer division by zero gives 0 on arm64, and no trap",
    };
  }
  return { available: true, reason: null };
}

/**
 * What can be used here. Reading it opens nothing.
 *
 * @example Usage
 * ```ts
 * import { capabilities } from "faultline";
 *
 * const { available, reason } = capabilities.catch;
 * console.log(available ? "exceptions can be caught" : reason);
 * ```
 */
export const capabilities: Readonly<Record<CapabilityName, Capability>> = Object.freeze(
  Object.fromEntries(names.map((name) => [name, Object.freeze(capability(name))])) as Record<
    CapabilityName,
    Capability
  >,
);

/**
 * Throws unless an ability is there.
 *
 * @param what What was asked for, as an error begins.
 * @throws {FaultlineError} With code NOT_SUPPORTED and the reason.
 */
export function requireCapability(name: CapabilityName, what: string): void {
  const { available, reason } = capabilities[name];
  if (!available) throw new FaultlineError("NOT_SUPPORTED", `${what} as ${reason}`);
}
