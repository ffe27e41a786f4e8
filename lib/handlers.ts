/**
 * The signal handlers of this process: in place, who owns what, back on top.
 *
 * @module
 */
import { nativeStatus, processStatusLayout, signalOwner, signalStatusLayout } from "./abi.ts";
import { checkStatus, native, useLibrary } from "./native.ts";
import { defaultSignals, signalMask, type SignalName, signalName } from "./signal_table.ts";

/** Who a signal's disposition belongs to. */
export type SignalOwner = "faultline" | "runtime" | "default" | "ignored" | "other";

/**
 * The state of this process's handlers, and of this thread.
 *
 * @example Usage
 * ```ts
 * import { type Status, status } from "faultline";
 *
 * const now: Status = status();
 * console.log(now.caught >= 0n); // true
 * ```
 */
export interface Status {
  /** Whether the handler of at least one signal is in place. */
  readonly installed: boolean;
  readonly signals: Readonly<
    Record<SignalName, { readonly owner: SignalOwner; readonly handler: bigint }>
  >;
  /** This thread's alternate signal stack, in bytes; null when it has none. */
  readonly alternateStack: { readonly base: bigint; readonly byteLength: number } | null;
  /** Guarded functions that are open, on all threads. */
  readonly openSymbols: number;
  /** Exceptions caught since the library was loaded, on all threads. */
  readonly caught: bigint;
}

/**
 * Puts the signal handlers in place. Idempotent; the first guarded call does it too. What is not
 * caught goes on to the handlers that were there before.
 *
 * @param options `signals`: which; by default SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP.
 * `libraryPath`: where Faultline's own native library lies, as an absolute path or a file URL, in
 * place of the package's own; to be given on each thread before anything else is called. The
 * environment variable FAULTLINE_LIBRARY does the same.
 * @returns Disposing it uninstalls all our handlers and puts the previous ones back. A later
 * guarded call installs them again.
 * @throws {TypeError} If `signals` is not an array of signal names, or `libraryPath` neither an
 * absolute path nor a file URL.
 * @throws {FaultlineError} With code NATIVE_LIBRARY, if the native library cannot be opened.
 * @throws {Error} On disposal, if another handler was installed over ours: that one may call ours.
 *
 * @example Usage
 * ```ts
 * import { install, status } from "faultline";
 *
 * {
 *   using _handlers = install();
 *   console.log(status().signals.SIGSEGV.owner); // faultline
 * }
 * console.log(status().installed); // false
 * ```
 */
export function install(
  options: { readonly signals?: readonly SignalName[]; readonly libraryPath?: string | URL } = {},
): Disposable {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(
      "Cannot install handlers as the options are not an object: pass { signals }",
    );
  }
  const mask = signalMask(options.signals ?? defaultSignals);
  if (options.libraryPath !== undefined) useLibrary(options.libraryPath);
  checkStatus(native().functions.fl_install!(mask) as number, "Cannot install signal handlers");
  let disposed = false;
  return {
    [Symbol.dispose](): void {
      if (disposed) return;
      uninstall();
      disposed = true;
    },
  };
}

function uninstall(): void {
  const foreign = new Uint32Array(1);
  const result = native().functions.fl_uninstall!(foreign) as number;
  if (result === nativeStatus.foreign_handler) {
    const { handler } = status().signals[signalName(foreign[0]!)!];
    throw new Error(
      `Cannot uninstall the signal handlers as another handler for ${signalName(foreign[0]!)} ` +
        `(0x${
          handler.toString(16)
        }) was installed over ours and may call it: remove that one first`,
    );
  }
  checkStatus(result, "Cannot uninstall the signal handlers");
}

/**
 * Puts our handlers back in front after someone displaced them, as `process.on("SIGSEGV")` in Bun
 * and `Deno.addSignalListener("SIGBUS")` do. The displacing handler then gets what we do not catch.
 *
 * @throws {Error} If the system refuses.
 *
 * @example Usage
 * ```ts
 * import { install, reinstall, status } from "faultline";
 *
 * using _handlers = install();
 * if (status().signals.SIGBUS.owner !== "faultline") reinstall();
 * ```
 */
export function reinstall(): void {
  checkStatus(
    native().functions.fl_reinstall!() as number,
    "Cannot put the signal handlers back in front",
  );
}

function ownerName(owner: number): SignalOwner {
  for (const [name, value] of Object.entries(signalOwner)) {
    if (value === owner) return name as SignalOwner;
  }
  return "other";
}

function readSignals(view: DataView): Status["signals"] {
  const signals: Partial<Record<SignalName, { owner: SignalOwner; handler: bigint }>> = {};
  const { signals: table } = processStatusLayout;
  const end = table.offset + table.byteLength;
  for (let at: number = table.offset; at < end; at += signalStatusLayout.byteLength) {
    const name = signalName(view.getUint32(at + signalStatusLayout.number.offset, true));
    if (name === null) continue;
    signals[name] = Object.freeze({
      owner: ownerName(view.getUint32(at + signalStatusLayout.owner.offset, true)),
      handler: view.getBigUint64(at + signalStatusLayout.handler.offset, true),
    });
  }
  return Object.freeze(signals) as Status["signals"];
}

/**
 * Who owns each signal now, read back from the kernel, and this thread's alternate stack.
 *
 * @throws {Error} If the native library cannot be opened.
 *
 * @example Usage
 * ```ts
 * import { status } from "faultline";
 *
 * const { signals, alternateStack } = status();
 * console.log(signals.SIGSEGV.owner, alternateStack !== null);
 * ```
 */
export function status(): Status {
  const bytes = new Uint8Array(processStatusLayout.byteLength);
  checkStatus(
    native().functions.fl_status!(bytes, bytes.byteLength) as number,
    "Cannot read the state of the signal handlers",
  );
  const view = new DataView(bytes.buffer);
  const base = view.getBigUint64(processStatusLayout.alternate_stack_base.offset, true);
  const length = view.getBigUint64(processStatusLayout.alternate_stack_length.offset, true);
  return Object.freeze({
    installed: view.getUint32(processStatusLayout.installed.offset, true) !== 0,
    signals: readSignals(view),
    alternateStack: length === 0n ? null : Object.freeze({ base, byteLength: Number(length) }),
    openSymbols: view.getUint32(processStatusLayout.open_slots.offset, true),
    caught: view.getBigUint64(processStatusLayout.caught.offset, true),
  });
}
