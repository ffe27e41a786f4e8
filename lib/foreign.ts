/**
 * The types of definitions, and of the functions and values that they give.
 *
 * @module
 */
import type { NativeArgument, NativeResult, NativeType } from "./native_type.ts";
import type { SignalName } from "./signal_table.ts";

/** How exceptions of a call are treated; for a symbol, or for all symbols of a library. */
export interface CallOptions {
  /**
   * "propagate": nothing is caught, the exception goes on to whoever had the signal before. Default
   * "throw".
   */
  readonly exceptions?: "throw" | "propagate";
  /**
   * What to catch, in place of the default: SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP, when the
   * kernel raised them. A signal named here is caught also when the library raises it itself
   * (abort, assert, raise).
   */
  readonly signals?: readonly SignalName[];
  /**
   * What later calls through the same handle do after a caught exception. "poison": they throw an
   * Error with code LIBRARY_POISONED and the exception as `cause`; opening the library again is the
   * way back. Default: "poison" when `info.suspects` names a function, else "continue".
   */
  readonly afterException?: "continue" | "poison";
}

/**
 * A function of a library, in Deno's spelling.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type ForeignFunction } from "faultline";
 *
 * const hypot = { parameters: ["f64", "f64"], result: "f64" } as const satisfies ForeignFunction;
 * using libm = dlopen("libm.so.6", { hypot });
 * console.log(libm.symbols.hypot(3, 4)); // 5
 * ```
 */
export interface ForeignFunction extends CallOptions {
  readonly parameters?: readonly NativeType[];
  readonly result?: NativeType;
  /** Name in the library, when it differs from the key. */
  readonly name?: string;
  /** A promise; the call runs on another thread. */
  readonly nonblocking?: boolean;
  /** A missing symbol becomes undefined instead of an error at open. */
  readonly optional?: boolean;
}

/**
 * A function of a library, in Bun's spelling, with Bun's type names (ptr, cstring, int, char,
 * i64_fast, members of `FFIType` ...). It works on both runtimes, and chooses names only: types
 * take and give the same as in Deno's spelling, except that `i64_fast` and `u64_fast` give a number
 * where that is exact.
 *
 * @example Usage
 * ```ts
 * import { type BunForeignFunction, dlopen } from "faultline";
 *
 * const strlen = {
 *   args: ["cstring"],
 *   returns: "u64_fast",
 * } as const satisfies BunForeignFunction;
 * using libc = dlopen("libc.so.6", { strlen });
 * console.log(libc.symbols.strlen("four")); // 4
 * ```
 */
export interface BunForeignFunction extends CallOptions {
  readonly args?: readonly (string | number)[];
  readonly returns?: string | number;
  /** The function is at this address; no symbol is looked up. */
  readonly ptr?: number | bigint;
}

/**
 * A variable of the library, read once at open, as in Deno: "pointer" and "address" give its
 * address, and so do "buffer" and "function". "cstring" gives the text at its address.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type ForeignStatic } from "faultline";
 *
 * const environ: ForeignStatic = { type: "address" };
 * using libc = dlopen("libc.so.6", { environ });
 * console.log(libc.symbols.environ !== 0n); // true
 * ```
 */
export interface ForeignStatic {
  readonly type: NativeType;
  /** Name in the library, when it differs from the key. */
  readonly name?: string;
  /** A missing symbol becomes undefined instead of an error at open. */
  readonly optional?: boolean;
}

/**
 * What a library is asked for, by the names it is to have in `symbols`.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type ForeignSymbols } from "faultline";
 *
 * const definitions = {
 *   abs: { parameters: ["i32"], result: "i32" },
 *   labs: { args: ["i64"], returns: "i64" },
 *   environ: { type: "address" },
 * } as const satisfies ForeignSymbols;
 * using libc = dlopen("libc.so.6", definitions);
 * console.log(libc.symbols.abs(-3), libc.symbols.labs(-4n)); // 3 4n
 * ```
 */
export type ForeignSymbols = Record<string, ForeignFunction | BunForeignFunction | ForeignStatic>;

/**
 * The JavaScript function that a definition gives. Only Deno's spelling is precise: Bun's names are
 * not types of TypeScript.
 *
 * @example Usage
 * ```ts
 * import { dlopen, type ForeignCall } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { abs: { parameters: ["i32"], result: "i32" } });
 * const abs: ForeignCall<{ parameters: ["i32"]; result: "i32" }> = libc.symbols.abs;
 * console.log(abs(-3)); // 3
 * ```
 */
export type ForeignCall<F> = F extends { readonly args: unknown } | { readonly returns: unknown }
  // deno-lint-ignore no-explicit-any
  ? (...args: any[]) => any
  : PortableCall<F, F extends { readonly parameters: infer P } ? P : readonly []>;
type PortableCall<F, P> = (
  ...args: P extends readonly unknown[] ? { -readonly [I in keyof P]: NativeArgument<P[I]> } : []
) => F extends { readonly nonblocking: true } ? Promise<ResultOf<F>> : ResultOf<F>;
type ResultOf<F> = F extends { readonly result: infer R } ? NativeResult<R> : void;
type SymbolOf<F> = F extends { readonly type: infer T } ? NativeResult<T> : ForeignCall<F>;

/** What a definition gives in `symbols`. */
export type OptionalSymbol<F> = F extends { readonly optional: true } ? SymbolOf<F> | undefined
  : SymbolOf<F>;
