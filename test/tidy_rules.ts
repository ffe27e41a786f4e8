/**
 * The house rules as functions from files to violations. `tidy_test.ts` applies them to the
 * repository, and to samples that break them.
 *
 * @module
 */
import {
  lineOf,
  typescriptCode,
  typescriptFunctions,
  typescriptImports,
  zigCode,
  zigFunctions,
  zigImports,
} from "./source_text.ts";

/** One tracked file. */
export interface SourceFile {
  /** Relative to the root of the repository, with forward slashes. */
  readonly path: string;
  /** Content; bytes of a binary file as Latin-1. */
  readonly text: string;
}

/** A rule gives one sentence per violation. */
export type Rule = (file: SourceFile) => readonly string[];

const lineLengthMax = 100;
const functionLinesMax = 70;
const fileLinesMax = 500;

const isGenerated = (path: string): boolean => path === "lib/abi.ts";
const isSource = (path: string): boolean => /\.(?:ts|mjs|zig)$/.test(path) && !isGenerated(path);
const isPublic = (path: string): boolean => path === "mod.ts" || /^lib\/.*\.ts$/.test(path);

/** Code of a source file, with comments and strings blanked. */
function codeOf({ path, text }: SourceFile): string {
  return path.endsWith(".zig") ? zigCode(text) : typescriptCode(text);
}

/** Where each match of `pattern` in `text` lies, as `path:line: what`. */
function matches(path: string, text: string, pattern: RegExp, what: string): string[] {
  return [...text.matchAll(pattern)].map((match) =>
    `${path}:${lineOf(text, match.index)}: ${what}: ${match[0].trim()}`
  );
}

/** No line is longer than 100 characters. */
export const lineLength: Rule = ({ path, text }) => {
  if (!isSource(path)) return [];
  return text.split("\n").flatMap((line, index) => {
    const length = [...line].length;
    return length > lineLengthMax ? [`${path}:${index + 1}: line of ${length} characters`] : [];
  });
};

/** No function is longer than 70 lines. */
export const functionLength: Rule = ({ path, text }) => {
  if (!isSource(path)) return [];
  const functions = path.endsWith(".zig") ? zigFunctions(text) : typescriptFunctions(text);
  return functions.filter(({ lineCount }) => lineCount > functionLinesMax)
    .map(({ name, line, lineCount }) => `${path}:${line}: ${name} has ${lineCount} lines`);
};

/** No file is longer than 500 lines. */
export const fileLength: Rule = ({ path, text }) => {
  if (!isSource(path)) return [];
  const lines = text.split("\n").length - 1;
  return lines > fileLinesMax ? [`${path}: ${lines} lines`] : [];
};

/** One file names Bun and one names Deno; strings and comments may say what they like. */
export const runtimeNames: Rule = (file) => {
  const { path, text } = file;
  if (!isPublic(path) || isGenerated(path)) return [];
  const code = codeOf(file);
  const found: string[] = [];
  if (path !== "lib/runtime/bun.ts") {
    found.push(...matches(path, code, /\bBun\b/g, "names a runtime"));
    const specifiers = typescriptImports(text).filter(({ specifier }) => /^bun:/.test(specifier));
    found.push(...specifiers.map(({ line }) => `${path}:${line}: imports from Bun`));
  }
  if (path !== "lib/runtime/deno.ts") {
    found.push(...matches(path, code, /\bDeno\b/g, "names a runtime"));
  }
  return found;
};

/** The path that a relative specifier in `from` means, or null for a module of another kind. */
function resolve(from: string, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

/** The files of the runtimes; the interface that they implement belongs to none of them. */
function isRuntime(path: string): boolean {
  return path.startsWith("lib/runtime/") && path !== "lib/runtime/types.ts";
}

/** Why `from` may not import `specifier`, or null if it may. */
function refusedImport(from: string, specifier: string): string | null {
  const target = resolve(from, specifier);
  if (target === null) {
    if (specifier.startsWith("node:") && from !== "mod.ts") return null;
    return from === "lib/runtime/bun.ts" && specifier === "bun:ffi" ? null : "not a local module";
  }
  if (!target.startsWith("lib/")) return "outside lib/";
  if (!isRuntime(target) || from === "lib/native.ts") return null;
  return "only lib/native.ts may choose a runtime";
}

/** `mod` -> `lib` -> `native` -> `runtime`, and nothing from outside. */
export const imports: Rule = ({ path, text }) => {
  if (!isPublic(path)) return [];
  return typescriptImports(text).flatMap(({ specifier, line }) => {
    const reason = refusedImport(path, specifier);
    return reason === null ? [] : [`${path}:${line}: may not import ${specifier}: ${reason}`];
  });
};

/** Tables and decoding must work without a library: nothing native is reachable from them. */
export const pureFiles: readonly string[] = [
  ...["lib/signal_table.ts", "lib/exception_info.ts", "lib/minidump.ts", "lib/address_map.ts"],
  ...["lib/address_svg.ts", "lib/signature.ts", "lib/stored_stack.ts"],
];

/** Gives the chain of imports from each pure file to native code. */
export function nativeReach(files: readonly SourceFile[]): string[] {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  return pureFiles.flatMap((start) => {
    const seen = new Set([start]);
    const queue = [[start]];
    for (const chain of queue) {
      const path = chain.at(-1)!;
      if (path === "lib/native.ts" || isRuntime(path)) return [chain.join(" -> ")];
      for (const { specifier } of typescriptImports(texts.get(path) ?? "")) {
        const target = resolve(path, specifier);
        if (target === null || seen.has(target)) continue;
        seen.add(target);
        queue.push([...chain, target]);
      }
    }
    return [];
  });
}

/**
 * Gives each circle of imports among the modules of the package once, types included: a type that
 * two modules need belongs in a third.
 */
export function importCycles(files: readonly SourceFile[]): string[] {
  const targets = new Map(
    files.filter(({ path }) => isPublic(path)).map(({ path, text }) => {
      const found = typescriptImports(text).map(({ specifier }) => resolve(path, specifier));
      return [path, found.filter((target) => target !== null)] as const;
    }),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, chain: readonly string[]): void => {
    const start = chain.indexOf(path);
    if (start >= 0) cycles.push([...chain.slice(start), path].join(" -> "));
    if (start >= 0 || done.has(path)) return;
    for (const target of targets.get(path) ?? []) visit(target, [...chain, path]);
    done.add(path);
  };
  for (const path of targets.keys()) visit(path, []);
  return cycles;
}

const insideFolder = /^zig\/(?:inside|supervisor)\//;
const insideModules = /^(?:zig\/(?:abi|frame|sys|trampoline)(?:\.zig|\/)|zig\/inside\/)/;
const insideNames = /^(?:std|builtin|abi|frame|sys|trampoline)$/;

/** Code that runs in a signal handler uses no allocator, no lock, and nothing unaudited. */
export const insideHandler: Rule = (file) => {
  const { path, text } = file;
  if (!insideFolder.test(path) || !path.endsWith(".zig")) return [];
  const folder = insideFolder.exec(path)![0];
  const refused = zigImports(text).filter(({ specifier }) => {
    if (insideNames.test(specifier)) return false;
    const target = resolve(path, specifier.startsWith(".") ? specifier : `./${specifier}`)!;
    return !insideModules.test(target) && !target.startsWith(folder);
  });
  const banned = /\bstd\s*\.\s*(?:debug(?!\s*\.\s*assert\b)|heap|Thread|posix)\b/g;
  return [
    ...refused.map(({ specifier, line }) => `${path}:${line}: may not import ${specifier}`),
    ...matches(path, zigCode(text), banned, "is banned inside a handler"),
  ];
};

const topFiles = /^(?:package|package-lock|deno|tsconfig)\.json$|^(?:README|CHANGELOG)\.md$/;
const topNames = /^(?:mod\.ts|LICENSE|\.[^/]+)$|^(?:zig|lib|test|bench|docs|examples|\.ci)\//;

/** Nothing is added to the root of the repository in passing. */
export const topLevel: Rule = ({ path }) =>
  topFiles.test(path) || topNames.test(path) ? [] : [`${path}: not an agreed top-level name`];

/** Source files are named in snake_case. */
export const fileNames: Rule = ({ path }) => {
  if (!/\.(?:ts|mjs|zig)$/.test(path)) return [];
  const name = path.slice(path.lastIndexOf("/") + 1);
  return /^[a-z][a-z0-9_]*\.(?:ts|mjs|zig)$/.test(name) ? [] : [`${path}: not snake_case`];
};

// The needles are put together here, so that this file does not hold what it looks for.
const openTask = new RegExp(`\\b(?:${["TO" + "DO", "FIX" + "ME", "XX" + "X"].join("|")})\\b`, "g");

/** No file carries a note about work that is left. */
export const openTasks: Rule = ({ path, text }) =>
  isBinary(path) ? [] : matches(path, text, openTask, "note about open work");

function isBinary(path: string): boolean {
  return /\.(?:so|dylib|dll)$/.test(path);
}

const machineFolders = ["wo" + "rk", "ro" + "ot"].join("|");
const machinePath = new RegExp(`(?<![\\w.}/~-])/(?:${machineFolders})/`, "g");
const hosts = ["registry.npm" + "js.org", "registry.yarn" + "pkg.com", "py" + "pi.org"];
hosts.push("python" + "hosted.org", "npm." + "jsr.io");
const hostNames = hosts.map((host) => host.replaceAll(".", "\\.")).join("|");
const registry = new RegExp(
  `(?:${hostNames})\\b|https?://[\\w.:-]*(?:registry|mirror|proxy|artifactory|nexus)[\\w.:-]*`,
  "gi",
);

/** No file says where it was made: neither a path of the machine nor a package registry. */
export function traces(file: SourceFile, folders: readonly string[] = []): readonly string[] {
  const { path, text } = file;
  const here = folders.filter((folder) => text.includes(folder));
  return [
    ...matches(path, text, machinePath, "path of a machine"),
    ...matches(path, text, registry, "registry host"),
    ...here.map((folder) => `${path}: path of this machine: ${folder}`),
  ];
}

const modifiers = "(?:(?:declare|default|abstract|async)\\s+)*";
const kinds = "(?:function\\*?|class|const|let|interface|type|enum|namespace)";
const declaration = new RegExp(`^export\\s+${modifiers}${kinds}\\s+([\\w$]+)`);

/** Every exported declaration has a doc comment; of overloads, the first. */
export const docComments: Rule = ({ path, text }) => {
  if (!isPublic(path)) return [];
  const lines = text.split("\n");
  const codeLines = typescriptCode(text).split("\n");
  const documented = new Set<string>();
  return lines.flatMap((_line, index) => {
    const name = declaration.exec(codeLines[index] ?? "")?.[1];
    if (name === undefined) return [];
    let above = index - 1;
    // Comments for the linter may stand between the doc comment and the declaration.
    while (above >= 0 && /^\s*\/\//.test(lines[above]!)) above -= 1;
    if (above >= 0 && /\*\/\s*$/.test(lines[above]!) && isDocComment(lines, above)) {
      documented.add(name);
    }
    return documented.has(name) ? [] : [`${path}:${index + 1}: ${name} has no doc comment`];
  });
};

/** Whether the comment that ends on line `end` begins with two asterisks. */
function isDocComment(lines: readonly string[], end: number): boolean {
  let start = end;
  while (start > 0 && !lines[start]!.includes("/*")) start -= 1;
  return lines[start]!.trimStart().startsWith("/**");
}

/** A module doc comes first, so that documentation tools find it. */
export const moduleDoc: Rule = ({ path, text }) => {
  if (path !== "mod.ts") return [];
  const comment = /^\/\*\*[\s\S]*?\*\//.exec(text)?.[0] ?? "";
  return comment.includes("@module") ? [] : [`${path}: has no module doc`];
};

/** The rules that look at one file at a time, by name. */
export const rules: Readonly<Record<string, Rule>> = {
  lineLength,
  functionLength,
  fileLength,
  runtimeNames,
  imports,
  insideHandler,
  topLevel,
  fileNames,
  openTasks,
  traces: (file) => traces(file),
  docComments,
  moduleDoc,
};
