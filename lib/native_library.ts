/**
 * Finds and opens the native libraries of this package: where a program says, as files of the
 * package, inside a bundled program, or inside the modules themselves.
 *
 * @module
 */
import { abiHash, symbols, version } from "./abi.ts";
import { builtin } from "./builtin.ts";
import { describeValue } from "./describe_value.ts";
import { embedded } from "./embedded.ts";
import { FaultlineError } from "./faultline_error.ts";
import { memoryFile } from "./memory_file.ts";
import { platforms } from "./platforms.ts";
import type { CSignature, NativeFunctions, Runtime } from "./runtime/types.ts";
import { temporaryFile } from "./temporary_file.ts";

/** The files of a platform. */
export type LibraryFile = "faultline.so" | "faultline_symbols.so";

/** How a library was found. */
export type LibraryOrigin = "option" | "environment" | "package" | "bundle" | "embedded";

/** An opened library. */
export interface OpenedFile {
  readonly path: string;
  readonly origin: LibraryOrigin;
  readonly functions: NativeFunctions;
}

/** A place where a library may be. */
interface Place {
  readonly origin: LibraryOrigin;
  /** What the list of places says. */
  readonly shown: string;
  /** The file to open; may make it, and throw. */
  readonly path: () => string;
}

/** A place that did not do. */
interface Attempt {
  readonly place: Place;
  readonly reason: string;
  readonly cause: unknown;
}

/** The environment variable that names the library. */
export const libraryVariable = "FAULTLINE_LIBRARY";

let chosen: string | undefined;

/**
 * The path that a program gives for the native library, checked.
 *
 * @throws {TypeError} If it is neither an absolute path nor a file URL.
 */
export function checkLibraryPath(path: string | URL): string {
  const isFile = path instanceof URL && path.protocol === "file:";
  const file = isFile ? builtin("node:url").fileURLToPath(path) : path;
  if (typeof file !== "string" || !file.startsWith("/") || file.includes("\0")) {
    throw new TypeError(
      "Cannot take the native library from there as its path must be absolute, or a file URL: " +
        `current value is ${describeValue(file instanceof URL ? file.href : file)}`,
    );
  }
  return file;
}

/** Makes the next opening take the library from `path` and nowhere else. */
export function chooseLibrary(path: string): void {
  chosen = path;
}

/** What the program or its environment names; null when neither does. */
function explicitPlace(runtime: Runtime): Place | null {
  if (chosen !== undefined) {
    const path = chosen;
    return { origin: "option", shown: `${path} (option libraryPath)`, path: () => path };
  }
  const named = runtime.environment(libraryVariable);
  if (named === undefined || named === "") return null;
  const shown = `${named} (environment variable ${libraryVariable})`;
  return { origin: "environment", shown, path: () => checkLibraryPath(named) };
}

/** The package's own file; its path is null where the package lies in no file system. */
export function packageFile(platform: string, name: LibraryFile): string | null {
  const url = new URL(`./native/${platform}/${name}`, import.meta.url);
  return url.protocol === "file:" ? builtin("node:url").fileURLToPath(url) : null;
}

function packagePlace(platform: string, name: LibraryFile): Place {
  const file = packageFile(platform, name);
  const { href, protocol } = new URL(`./native/${platform}/${name}`, import.meta.url);
  return {
    origin: "package",
    shown: `${file ?? href} (file of the package)`,
    path: () => {
      if (file !== null) return file;
      throw new Error(`the loader opens files, and nothing at ${protocol}//`);
    },
  };
}

/** Two places for a library that is there as bytes: a file in memory, and a temporary one. */
function bytesPlaces(
  runtime: Runtime,
  origin: LibraryOrigin,
  platform: string,
  name: LibraryFile,
  bytes: () => Uint8Array,
): Place[] {
  const unique = `${version}-${abiHash.toString(16)}-${name}`;
  const folder = runtime.environment("TMPDIR") || "/tmp";
  const libcPaths = platforms[platform]!.libcPaths;
  const what = origin === "bundle" ? "copy in this program" : "copy in the package's modules";
  return [
    {
      origin,
      shown: `${what}, as a file in memory`,
      path: () => memoryFile(runtime, unique, bytes, libcPaths),
    },
    {
      origin,
      shown: `${what}, as a file in ${folder}`,
      path: () => temporaryFile(folder, unique, bytes()),
    },
  ];
}

function bundlePlaces(runtime: Runtime, platform: string, name: LibraryFile): Place[] {
  const found = runtime.bundledLibrary(name);
  if (found === null) return [];
  // A program in one file shows what is in it to JavaScript, and not to the loader.
  if (found.startsWith("/")) {
    return bytesPlaces(
      runtime,
      "bundle",
      platform,
      name,
      () => builtin("node:fs").readFileSync(found),
    );
  }
  const path = builtin("node:url").fileURLToPath(new URL(found, import.meta.url));
  return [{ origin: "bundle", shown: `${path} (file of the bundle)`, path: () => path }];
}

function embeddedPlaces(runtime: Runtime, platform: string, name: LibraryFile): Place[] {
  const text = embedded[platform]?.[name];
  if (text === undefined) return [];
  const bytes = (): Uint8Array =>
    builtin("node:zlib").gunzipSync(builtin("node:buffer").Buffer.from(text, "base64"));
  return bytesPlaces(runtime, "embedded", platform, name, bytes);
}

/** Where to look, in order. A place that was named is the only one. */
function placesOf(runtime: Runtime, name: LibraryFile, beside: string | null): Place[] {
  const { platform } = runtime;
  const explicit = explicitPlace(runtime);
  if (explicit !== null && name === "faultline.so") return [explicit];
  const places: Place[] = [];
  if (explicit !== null && beside !== null) {
    const path = `${beside.slice(0, beside.lastIndexOf("/"))}/${name}`;
    places.push({
      origin: explicit.origin,
      shown: `${path} (next to faultline.so)`,
      path: () => path,
    });
  }
  if (platforms[platform] === undefined) return places;
  return [
    ...places,
    packagePlace(platform, name),
    ...bundlePlaces(runtime, platform, name),
    ...embeddedPlaces(runtime, platform, name),
  ];
}

/** The reason in `error` without what the list says anyway. */
function reasonOf(error: unknown, path: string | null): string {
  const text = error instanceof Error ? error.message : String(error);
  const short = text.replace(/^(?:Could not open library: )+/, "")
    .replace(/^Failed to open library "[^"]*": /, "");
  return path !== null && short.startsWith(`${path}: `) ? short.slice(path.length + 2) : short;
}

function versionText(number: number): string {
  return `${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
}

/** What a library says that it is; null when it does not. */
export function identityOf(
  runtime: Runtime,
  path: string,
): { readonly version: string; readonly abiHash: bigint } | null {
  const { fl_abi_hash, fl_version } = symbols;
  // The first libraries had no version.
  for (const wanted of [{ fl_abi_hash, fl_version }, { fl_abi_hash }]) {
    let found: NativeFunctions;
    try {
      found = runtime.openFunctions(path, wanted);
    } catch {
      // It is no library, or lacks the names: the caller says so.
      continue;
    }
    const number = "fl_version" in wanted ? found.fl_version!() as number : null;
    return {
      version: number === null ? "an unknown version" : `Faultline ${versionText(number)}`,
      abiHash: found.fl_abi_hash!() as bigint,
    };
  }
  return null;
}

/** Why the library at `path` does not fit these files; null when it does, or is none of ours. */
function mismatch(runtime: Runtime, path: string): string | null {
  const found = identityOf(runtime, path);
  if (found === null || found.abiHash === abiHash) return null;
  return `it is of ${found.version} with ABI 0x${
    found.abiHash.toString(16)
  }, and these files are ` +
    `of Faultline ${version} with ABI 0x${abiHash.toString(16)}`;
}

/** One sentence on what to do. */
function remedy(runtime: Runtime, name: LibraryFile, attempts: readonly Attempt[]): string {
  const { platform } = runtime;
  const byName = `name one by ${libraryVariable} or install({ libraryPath })`;
  if (attempts.length === 0) {
    const known = Object.keys(platforms).join(", ");
    return `There is no native library for ${platform}: use one of ${known}, or ${byName}.`;
  }
  const refused = attempts.find(({ cause }) => runtime.isPermissionError(cause));
  if (refused !== undefined) return "Run the program with the permission that is named above.";
  if (attempts[0]!.place.origin === "option" || attempts[0]!.place.origin === "environment") {
    return `Name the ${name} of Faultline ${version} there, or name none to use the package's own.`;
  }
  const files = attempts.some(({ place }) => place.shown.includes("://"));
  return files
    ? `Import the package from JSR or npm, or ${byName}.`
    : `Install the package again, with all of its files, or ${byName}.`;
}

/** The error that lists every place with its reason. */
function openError(
  runtime: Runtime,
  name: LibraryFile,
  attempts: readonly Attempt[],
): FaultlineError {
  const { platform, title, version: hostVersion } = runtime;
  const lines = attempts.map(({ place, reason }) => `\n  ${place.shown}: ${reason}`);
  const tried = lines.length === 0 ? "" : `, having tried${lines.join("")}\n`;
  return new FaultlineError(
    "NATIVE_LIBRARY",
    `Cannot open ${name} of Faultline ${version} for ${platform} under ${title} ${hostVersion}` +
      `${tried === "" ? ". " : tried}${remedy(runtime, name, attempts)}`,
    attempts.length === 0 ? undefined : { cause: attempts[0]!.cause },
  );
}

/** What to open. */
export interface LibraryRequest {
  readonly name: LibraryFile;
  readonly signatures: Readonly<Record<string, CSignature>>;
  /** The main library, next to which another may lie; null when this is it. */
  readonly beside: string | null;
  /** Why the opened library does not fit; null when it does. */
  readonly check: (functions: NativeFunctions) => string | null;
}

function openAt(runtime: Runtime, path: string, request: LibraryRequest): NativeFunctions {
  const isMain = request.name === "faultline.so";
  const open = isMain ? runtime.openNative : runtime.openFunctions;
  let functions: NativeFunctions;
  try {
    functions = open(path, request.signatures);
  } catch (error) {
    // A library of another version may lack a function, which is how that shows first.
    const why = isMain && !runtime.isPermissionError(error) ? mismatch(runtime, path) : null;
    throw why === null ? error : new Error(why, { cause: error });
  }
  const why = request.check(functions);
  if (why !== null) throw new Error((isMain ? mismatch(runtime, path) : null) ?? why);
  return functions;
}

/**
 * Opens a library from the first place that has it.
 *
 * @throws {FaultlineError} With code NATIVE_LIBRARY, listing every place, why it did not do, and
 * what to do.
 */
export function openLibraryFile(runtime: Runtime, request: LibraryRequest): OpenedFile {
  const attempts: Attempt[] = [];
  for (const place of placesOf(runtime, request.name, request.beside)) {
    let path: string | null = null;
    try {
      path = place.path();
      const functions = openAt(runtime, path, request);
      return { path, origin: place.origin, functions };
    } catch (cause) {
      attempts.push({ place, reason: reasonOf(cause, path), cause });
    }
  }
  throw openError(runtime, request.name, attempts);
}
