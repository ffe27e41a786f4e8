/**
 * `faultline doctor`: what this machine, this runtime and this program's rights allow, for people
 * or as JSON.
 *
 * @module
 */
import { renderLines } from "../styled_text.ts";
import { textOptions } from "../terminal.ts";
import { diagnose, type Diagnosis } from "./diagnosis.ts";
import { diagnosisLines } from "./diagnosis_text.ts";

/** What was asked for. */
export interface DoctorOptions {
  readonly json: boolean;
  readonly selfTest: boolean;
  /** The URL of the command's module, for the child. */
  readonly program: string;
}

const widthMax = 100;

function jsonText(diagnosis: Diagnosis): string {
  const plain = (_: string, value: unknown): unknown =>
    typeof value === "bigint" ? `0x${value.toString(16)}` : value;
  return JSON.stringify(diagnosis, plain, 2);
}

/** Prints the diagnosis; gives the exit code, 0 if nothing is wrong. */
export function doctor({ json, selfTest, program }: DoctorOptions): number {
  const diagnosis = diagnose(selfTest ? program : null);
  if (json) {
    console.log(jsonText(diagnosis));
  } else {
    const { color, width } = textOptions();
    const options = { color, width: Math.min(width, widthMax) };
    console.log(renderLines(diagnosisLines(diagnosis), options));
  }
  return diagnosis.problems.length === 0 ? 0 : 1;
}
