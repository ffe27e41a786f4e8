/**
 * The library whose faults the tests of reports show.
 *
 * @module
 */
import { dlopen, type ForeignLibrary } from "../mod.ts";
import { compile } from "./compile_support.ts";

const symbols = {
  list_sum: { parameters: ["buffer"], result: "i32" },
  store: { parameters: ["address"], result: "i32" },
  count_down: { parameters: ["i32"], result: "i32" },
} as const;

/** A list of one node, whose next one is none: `list_sum` reads 8 bytes past null. */
export const shortList: Uint8Array = new Uint8Array(16);

/** Compiles the library, or opens one that was compiled; gives its path, too. */
export function openReportFixture(
  path: string = compile("report_fixture", "report_fixture.c", ["-O1", "-fno-omit-frame-pointer"]),
): { readonly path: string; readonly library: ForeignLibrary<typeof symbols> } {
  return { path, library: dlopen(path, symbols) };
}
