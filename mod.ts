/**
 * Hardware exceptions for Bun and Deno: a segfault in a native library, a division by zero, an
 * illegal instruction or a failed assert() becomes a JavaScript exception.
 *
 * @example Usage
 * ```ts
 * import { dlopen, HardwareException } from "faultline";
 *
 * using libc = dlopen("libc.so.6", { strlen: { parameters: ["address"], result: "usize" } });
 * try {
 *   libc.symbols.strlen(0x10n);
 * } catch (error) {
 *   if (!(error instanceof HardwareException)) throw error;
 *   console.log(error.message);
 * }
 * ```
 *
 * @module
 */
export { capabilities, type Capability, type CapabilityName } from "./lib/capabilities.ts";
export { callable } from "./lib/callable.ts";
export { type Callback, callback } from "./lib/callback.ts";
export { catchException, catchException as catch, type Result } from "./lib/catch_exception.ts";
export type { CrashReport } from "./lib/crash_report.ts";
export {
  type CrashReporterOptions,
  type CrashReportFormat,
  installCrashReporter,
} from "./lib/crash_reporter.ts";
export { dlopen, type ForeignLibrary } from "./lib/dlopen.ts";
export type { ExceptionInfo, FaultingInstruction, Registers } from "./lib/exception_info.ts";
export type { StackFrame } from "./lib/stack_frame.ts";
export { dumpLater } from "./lib/dump_later.ts";
export { dumpThreads, type ThreadDump } from "./lib/dump_threads.ts";
export { FaultlineError } from "./lib/faultline_error.ts";
export type {
  BunForeignFunction,
  CallOptions,
  ForeignCall,
  ForeignFunction,
  ForeignStatic,
  ForeignSymbols,
} from "./lib/foreign.ts";
export type { HookAction, HookAnswer, HookFilter } from "./lib/hook_request.ts";
export { addHook, type Hook } from "./lib/hooks.ts";
export type { LiveException, ThreadState } from "./lib/live_exception.ts";
export { install, reinstall, type SignalOwner, type Status, status } from "./lib/handlers.ts";
export { HardwareException } from "./lib/hardware_exception.ts";
export {
  type LostRange,
  mapFile,
  type MapFileOptions,
  type MappedFile,
} from "./lib/mapped_file.ts";
export {
  addressOf,
  isReadable,
  mappingOf,
  protect,
  readMemory,
  writeMemory,
} from "./lib/memory.ts";
export type { MemoryRange, Protection } from "./lib/memory_range.ts";
export type { LoadedModule } from "./lib/loaded_module.ts";
export type {
  NativeArgument,
  NativeBuffer,
  NativeResult,
  NativeType,
  Pointer,
} from "./lib/native_type.ts";
export { type SendOptions, sendReports } from "./lib/send_reports.ts";
export {
  decodeSignal,
  type ExceptionType,
  signalCodes,
  type SignalName,
  UnsupportedSignalError,
} from "./lib/signal_table.ts";
export { throwException, throwException as throw } from "./lib/throw_exception.ts";
export { trackWrites, type WriteTracker } from "./lib/write_tracker.ts";
