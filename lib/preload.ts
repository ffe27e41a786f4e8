/**
 * Installs the crash reporter without a change of code: to be loaded before a program, as
 * `bun --preload faultline/preload` and `deno run --preload npm:faultline/preload` do.
 *
 * It is configured by the environment:
 *
 * - `FAULTLINE_DIRECTORY`: where reports go; `faultline-reports` by default.
 * - `FAULTLINE_FORMATS`: "text,json,minidump", or some of them.
 * - `FAULTLINE_STDERR`: 0 for nothing on standard error.
 * - `FAULTLINE_MAX_REPORTS`, `FAULTLINE_MAX_BYTES`, `FAULTLINE_DEADLINE_MS`: numbers.
 * - `FAULTLINE_REDACT`: 1 to blank stack words that point nowhere known.
 * - `FAULTLINE_ON_DEMAND`: SIGUSR1 or SIGUSR2.
 * - `FAULTLINE_DUMP_LATER_MS`: a watchdog; with `FAULTLINE_DUMP_LATER_EXIT=1` it ends the process.
 *
 * @module
 */
import { builtin } from "./builtin.ts";
import { type CrashReporterOptions, installCrashReporter } from "./crash_reporter.ts";
import { dumpLater } from "./dump_later.ts";
import { native } from "./native.ts";

type Writable<T> = { -readonly [K in keyof T]: T[K] };

function variable(name: string): string | undefined {
  const value = builtin("node:process").env[`FAULTLINE_${name}`];
  return value === "" ? undefined : value;
}

function flag(name: string): boolean | undefined {
  const value = variable(name);
  if (value === undefined) return undefined;
  if (value === "1" || value === "true") return true;
  if (value === "0" || value === "false") return false;
  throw new TypeError(
    `Cannot use FAULTLINE_${name} as it must be 1 or 0: current value is ${JSON.stringify(value)}`,
  );
}

function integer(name: string): number | undefined {
  const value = variable(name);
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  throw new TypeError(
    `Cannot use FAULTLINE_${name} as it must be a whole number: current value is ${
      JSON.stringify(value)
    }`,
  );
}

function optionsOfEnvironment(): CrashReporterOptions {
  const options: Writable<CrashReporterOptions> = {
    directory: variable("DIRECTORY") ?? "faultline-reports",
  };
  const formats = variable("FORMATS");
  if (formats !== undefined) {
    options.formats = formats.split(",") as NonNullable<CrashReporterOptions["formats"]>;
  }
  const stderr = flag("STDERR");
  if (stderr !== undefined) options.stderr = stderr;
  const redact = flag("REDACT");
  if (redact !== undefined) options.redact = redact;
  const numbers = {
    maxReports: integer("MAX_REPORTS"),
    maxBytes: integer("MAX_BYTES"),
    deadlineMs: integer("DEADLINE_MS"),
  };
  for (const [name, value] of Object.entries(numbers)) {
    if (value !== undefined) options[name as keyof typeof numbers] = value;
  }
  const signal = variable("ON_DEMAND");
  if (signal !== undefined) options.onDemand = signal as "SIGUSR1" | "SIGUSR2";
  return options;
}

if (builtin("node:worker_threads").isMainThread) {
  installCrashReporter(optionsOfEnvironment());
  const timeoutMs = integer("DUMP_LATER_MS");
  if (timeoutMs !== undefined) {
    dumpLater(timeoutMs, { exit: flag("DUMP_LATER_EXIT") ?? false });
  }
} else {
  native(); // Gives this thread the alternate stack that a stack overflow needs.
}
