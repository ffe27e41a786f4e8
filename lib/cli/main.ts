#!/usr/bin/env bun
/**
 * The command `faultline`.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { version } from "../abi.ts";

const usage = `Usage: faultline COMMAND

  faultline doctor [--json] [--no-self-test]
      Says whether hardware exceptions can be caught here, and what stands in the way.
      Makes every kind of fault once, in a child process. Exit code 1 if something is wrong.
  faultline report list|show|send DIRECTORY
      The crash reports in a directory. "faultline report --help" says more.
  faultline demo
      Makes five crashes in native code, catches them, and shows them.
  faultline --version
  faultline --help
`;

const usageCode = 2;

/** The words of the command line; a string where they make no sense. */
function parse(args: string[]): ReturnType<typeof parseWords> | string {
  try {
    return parseWords(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return error.message;
  }
}

function parseWords(args: string[]) {
  return parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: "boolean" },
      "no-self-test": { type: "boolean" },
      help: { type: "boolean", short: "h" },
      version: { type: "boolean" },
    },
  });
}

function refuse(why: string): number {
  console.error(`Cannot run faultline as the command line is wrong: ${why}\n\n${usage}`);
  return usageCode;
}

/** Runs the command that `args` name; gives the exit code. */
async function main(args: string[]): Promise<number> {
  if (args[0] === "report") {
    const { report } = await import("./report.ts");
    return await report(args.slice(1));
  }
  const words = parse(args);
  if (typeof words === "string") return refuse(words);
  const { positionals: [command, ...rest], values } = words;
  if (values.help === true || command === "help") {
    console.log(usage);
    return 0;
  }
  if (values.version === true) {
    console.log(version);
    return 0;
  }
  if (command === "self-test") {
    const { reportSelfTest } = await import("./self_test_child.ts");
    return reportSelfTest(rest);
  }
  if (rest.length > 0) return refuse(`"${rest[0]}" is one word too many`);
  const isDoctor = command === "doctor";
  if (!isDoctor && (values.json === true || values["no-self-test"] === true)) {
    return refuse("--json and --no-self-test are options of doctor");
  }
  if (isDoctor) {
    const { doctor } = await import("./doctor.ts");
    return doctor({
      json: values.json === true,
      selfTest: values["no-self-test"] !== true,
      program: import.meta.url,
    });
  }
  if (command === "demo") {
    const { demo } = await import("./demo.ts");
    return demo();
  }
  return refuse(command === undefined ? "it names no command" : `there is no command "${command}"`);
}

process.exitCode = await main(process.argv.slice(2));
