/** Opens the native library and says where it was found, or why not. Argument: libraryPath. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { install, status } from "../../mod.ts";
import { native, runtime } from "../../lib/native.ts";
import { symbolsProblem } from "../../lib/symbols.ts";

/** The symbols library in the list of mappings, which Deno shows to those who may do all. */
function symbolsFile(): string | null {
  if (symbolsProblem() !== null || runtime().permission("run") === false) return null;
  const maps = readFileSync("/proc/self/maps", "utf8");
  return /r-xp .* (\/.*faultline_symbols\.so)$/m.exec(maps)?.[1] ?? null;
}

function open(option: string | undefined): unknown {
  if (option === "late") {
    status();
    option = "/elsewhere/faultline.so";
  }
  if (option !== undefined) {
    const libraryPath = option.startsWith("file:") ? new URL(option) : option;
    install({ libraryPath })[Symbol.dispose]();
  }
  const { origin, path } = native();
  return { path, origin, symbolsFile: symbolsFile() };
}

try {
  console.log(JSON.stringify(open(process.argv[2])));
} catch (error) {
  const { cause, code, message, name } = error as Error & { readonly code?: string };
  console.log(JSON.stringify({ name, code, message, hasCause: cause !== undefined }));
}
