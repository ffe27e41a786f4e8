/**
 * What this version can do on this platform.
 *
 * @module
 */
import process from "node:process";

/** One ability, and why it is missing. */
export interface Capability {
  readonly available: boolean;
  /** null when it is available. */
  readonly reason: string | null;
}

/** The names of all abilities. */
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
  | "symbols";

const built: ReadonlySet<CapabilityName> = new Set([
  "catch",
  "javascriptHooks",
  "nativeHooks",
  "stackOverflow",
  "minidump",
  "symbols",
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
];

function capability(name: CapabilityName): Capability {
  const platform = `${process.platform}-${process.arch}`;
  if (!built.has(name)) {
    return { available: false, reason: "this version of Faultline does not have it" };
  }
  if (platform !== "linux-x64") {
    return { available: false, reason: `there is no native library for ${platform} yet` };
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
