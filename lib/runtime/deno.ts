/**
 * Deno, through `Deno.dlopen`. Everything here works under a path-scoped `--allow-ffi`.
 *
 * @module
 */
import {
  type BoundThunks,
  type CFunction,
  type CSignature,
  LibraryOpenError,
  type NativeCallback,
  type NativeFunctions,
  type OpenedLibrary,
  type Runtime,
  type ThunkBinding,
} from "./types.ts";

interface DenoDefinition extends Partial<CSignature> {
  readonly name?: string;
  readonly type?: string;
  readonly optional?: boolean;
  readonly nonblocking?: boolean;
}
interface DenoCallback {
  readonly pointer: object;
  close(): void;
}
interface DenoLibrary {
  readonly symbols: Readonly<Record<string, unknown>>;
  close(): void;
}
/** The part of the namespace that is used; its own types would be a dependency. */
interface DenoNamespace {
  dlopen(path: string, symbols: Readonly<Record<string, DenoDefinition>>): DenoLibrary;
  readonly UnsafeCallback: new (signature: CSignature, body: CFunction) => DenoCallback;
  readonly UnsafePointerView: {
    getArrayBuffer(pointer: unknown, byteLength: number): ArrayBuffer;
  };
  readonly noColor: boolean;
  readonly permissions: {
    querySync(wanted: { name: "read"; path: string }): { readonly state: string };
  };
}

function namespace(): DenoNamespace {
  return (globalThis as unknown as { Deno: DenoNamespace }).Deno;
}

/** Opens a library; a missing permission names the flag that grants it. */
function open(path: string, symbols: Readonly<Record<string, DenoDefinition>>): DenoLibrary {
  try {
    return namespace().dlopen(path, symbols);
  } catch (error) {
    if (error instanceof Error && error.name === "NotCapable") {
      throw new Error(
        `Cannot open ${path} as this program may not use native libraries: ` +
          `run it with --allow-ffi=${path}`,
        { cause: error },
      );
    }
    throw error;
  }
}

function openLibrary(path: string, native: NativeFunctions): OpenedLibrary {
  let probe: DenoLibrary;
  try {
    probe = open(path, {});
  } catch (error) {
    if (error instanceof Error && error.cause === undefined) {
      throw new LibraryOpenError(error.message.replace(/^(Could not open library: )+/, ""));
    }
    throw error;
  }
  const libraries = [probe];
  return {
    symbolAddresses(names) {
      const definitions = names.map((
        name,
        index,
      ) => [`s${index}`, { name, type: "pointer", optional: true }]);
      const library = open(path, Object.fromEntries(definitions));
      libraries.push(library);
      return names.map((_, index) => {
        const pointer = library.symbols[`s${index}`];
        if (pointer === undefined || pointer === null) return null;
        return native.addressOfPointer!(pointer) as bigint;
      });
    },
    close: () => {
      for (const library of libraries) library.close();
    },
  };
}

function bindThunks(path: string, thunks: readonly ThunkBinding[]): BoundThunks {
  if (thunks.length === 0) return { functions: [], close: () => {} };
  const definitions = thunks.map(({ name, parameters, result }, index) => [
    `f${index}`,
    { name, parameters, result },
  ]);
  const library = open(path, Object.fromEntries(definitions));
  return {
    functions: thunks.map((_, index) => library.symbols[`f${index}`] as CFunction),
    close: () => library.close(),
  };
}

/** Runs what Deno allows only to programs that may use every native library. */
function unscoped<T>(what: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof Error && error.name === "NotCapable") {
      throw new Error(
        `Cannot ${what} as Deno allows it only to programs that may use every native library: ` +
          "run it with --allow-ffi, without a list of paths",
        { cause: error },
      );
    }
    throw error;
  }
}

function bufferOver(address: bigint, byteLength: number, native: NativeFunctions): ArrayBuffer {
  const pointer = native.pointerOfAddress!(address);
  return unscoped(
    "make an array over native memory",
    () => namespace().UnsafePointerView.getArrayBuffer(pointer, byteLength),
  );
}

function createCallback(
  signature: CSignature,
  body: CFunction,
  native: NativeFunctions,
): NativeCallback {
  const callback = unscoped(
    "make a callback",
    () => new (namespace().UnsafeCallback)(signature, body),
  );
  return {
    address: native.addressOfPointer!(callback.pointer) as bigint,
    close: () => callback.close(),
  };
}

/** Deno, or null elsewhere. */
export const deno: Runtime | null = "Deno" in globalThis && !("Bun" in globalThis)
  ? {
    name: "deno",
    voidResults: true,
    openNative(path: string, signatures: Readonly<Record<string, CSignature>>): NativeFunctions {
      // The same identity under three signatures converts between pointers, buffers and integers
      // without `UnsafePointer`, which would need an unscoped permission.
      const library = open(path, {
        ...signatures,
        addressOfPointer: { name: "fl_identity", parameters: ["pointer"], result: "u64" },
        pointerOfAddress: { name: "fl_identity", parameters: ["u64"], result: "pointer" },
        addressOfBuffer: { name: "fl_identity", parameters: ["buffer"], result: "u64" },
        runBlockElsewhere: {
          name: "fl_block_run",
          parameters: ["u64"],
          result: "void",
          nonblocking: true,
        },
        pointerOfBuffer: { name: "fl_identity", parameters: ["buffer"], result: "pointer" },
      });
      return library.symbols as NativeFunctions;
    },
    openFunctions: (
      path: string,
      signatures: Readonly<Record<string, CSignature>>,
    ): NativeFunctions => open(path, signatures).symbols as NativeFunctions,
    openLibrary,
    bindThunks,
    bufferArgument: (view: ArrayBufferView): unknown => view,
    pointerTo: (view: ArrayBufferView, native: NativeFunctions): unknown =>
      native.pointerOfBuffer!(view),
    addressOfBuffer: (view: ArrayBufferView, native: NativeFunctions): bigint =>
      native.addressOfBuffer!(view) as bigint,
    bufferOver,
    createCallback,
    runBlock: (handle: bigint, native: NativeFunctions): Promise<void> =>
      native.runBlockElsewhere!(handle) as Promise<void>,
    argumentsMax: Infinity,
    // V8's --stack-size by default. From 40 KiB on past it, the engine does not take the stack for
    // its own, and entering it ends the process ("Check failed: IsOnCentralStack()").
    stackMax: 984 * 1024,
    addressOf: (pointer: unknown, native: NativeFunctions): bigint =>
      native.addressOfPointer!(pointer) as bigint,
    pointerFrom: (address: bigint, native: NativeFunctions): unknown =>
      native.pointerOfAddress!(address),
    isPointer: (value: unknown): boolean =>
      typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null,
    noColor: (): boolean => namespace().noColor,
    mayRead: (path: string): boolean =>
      namespace().permissions.querySync({ name: "read", path }).state === "granted",
  }
  : null;
