/** Dies in a guarded call of one kind or another, after some that return. */
import process from "node:process";
import { addHook, callback, dlopen, installCrashReporter } from "../../mod.ts";
import { takeAllThunks } from "../calls_support.ts";
import { aboutToDie, type Cases, fixtureFile, fixturePath, runCase } from "../support.ts";

const directory = process.argv[3]!;
installCrashReporter({ directory, stderr: false });

const calls = { exceptions: "propagate" } as const;
const open = () =>
  dlopen(fixturePath, {
    fx_echo_i32: { parameters: ["i32"], result: "i32" },
    fx_echo_u64: { parameters: ["u64"], result: "u64" },
    fx_read: { parameters: ["address"], result: "u64" },
  }, calls).symbols;

const cases: Cases = {
  thunk(): void {
    const symbols = open();
    // More than are kept.
    for (let round = 0; round < 20; round++) symbols.fx_echo_i32(round);
    symbols.fx_echo_u64(1n);
    symbols.fx_echo_i32(1);
    aboutToDie();
    symbols.fx_read(24n);
  },
  block(): void {
    takeAllThunks();
    const symbols = open();
    symbols.fx_echo_u64(1n);
    symbols.fx_echo_i32(1);
    aboutToDie();
    symbols.fx_read(24n);
  },
  async nonblocking(): Promise<void> {
    const { symbols } = dlopen(fixturePath, {
      fx_echo_i32: { parameters: ["i32"], result: "i32", nonblocking: true },
      fx_read: { parameters: ["address"], result: "u64", nonblocking: true },
    }, calls);
    await symbols.fx_echo_i32(7);
    aboutToDie();
    await symbols.fx_read(24n);
  },
  /** In a guarded call of a callback, within another one. */
  inCallback(): void {
    const { fx_read, fx_echo_i32 } = open();
    const { symbols } = dlopen(fixtureFile("calls_fixture.so"), {
      cx_back_sum: { parameters: ["function", "i32"], result: "i32" },
    }, calls);
    const inner = callback({ parameters: ["i32"], result: "i32" }, (value) => {
      fx_echo_i32(value);
      aboutToDie();
      return Number(fx_read(24n));
    });
    symbols.cx_back_sum(inner, 3);
  },
  /** In a call of a JavaScript hook. */
  inHook(): void {
    const { fx_read } = open();
    const { symbols } = dlopen(fixturePath, { fx_divide: { parameters: ["i32", "i32"] } });
    using _hook = addHook({ signals: ["SIGFPE"] }, () => {
      aboutToDie();
      fx_read(24n);
      return "handled";
    });
    symbols.fx_divide(1, 0);
  },
};

await runCase(import.meta.url, cases);
