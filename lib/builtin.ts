/**
 * Modules of Node's standard library, loaded at first use: importing them would cost several times
 * what importing this package costs.
 *
 * @module
 */

/** The modules that are used, by name. */
export interface Builtins {
  readonly "node:buffer": typeof import("node:buffer");
  readonly "node:fs": typeof import("node:fs");
  readonly "node:fs/promises": typeof import("node:fs/promises");
  readonly "node:module": typeof import("node:module");
  readonly "node:os": typeof import("node:os");
  readonly "node:path": typeof import("node:path");
  readonly "node:process": typeof import("node:process");
  readonly "node:url": typeof import("node:url");
  readonly "node:util": typeof import("node:util");
  readonly "node:worker_threads": typeof import("node:worker_threads");
  readonly "node:zlib": typeof import("node:zlib");
}

const loaded = new Map<keyof Builtins, unknown>();

/** A module of Node's standard library. */
export function builtin<K extends keyof Builtins>(name: K): Builtins[K] {
  let found = loaded.get(name);
  if (found === undefined) {
    const host = globalThis as unknown as {
      readonly process: { getBuiltinModule(name: string): unknown };
    };
    found = host.process.getBuiltinModule(name);
    loaded.set(name, found);
  }
  return found as Builtins[K];
}
