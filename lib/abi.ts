// Generated from zig/abi.zig by `zig build abi`. Do not edit.

/** Layout of `abi.Exception` by architecture, in bytes. */
export const exceptionLayouts = {
  x64: {
    byteLength: 552,
    size: { offset: 0, byteLength: 4, type: "u32" },
    signal: { offset: 4, byteLength: 4, type: "u32" },
    code: { offset: 8, byteLength: 4, type: "i32" },
    flags: { offset: 12, byteLength: 4, type: "u32" },
    access: { offset: 16, byteLength: 4, type: "u32" },
    slot: { offset: 20, byteLength: 4, type: "u32" },
    process_id: { offset: 24, byteLength: 4, type: "u32" },
    thread_id: { offset: 28, byteLength: 4, type: "u32" },
    hooks_skipped: { offset: 32, byteLength: 4, type: "u32" },
    extended_length: { offset: 36, byteLength: 4, type: "u32" },
    frame_count: { offset: 40, byteLength: 4, type: "u32" },
    stack_length: { offset: 44, byteLength: 4, type: "u32" },
    address: { offset: 48, byteLength: 8, type: "u64" },
    instruction_pointer: { offset: 56, byteLength: 8, type: "u64" },
    stack_pointer: { offset: 64, byteLength: 8, type: "u64" },
    stack_low: { offset: 72, byteLength: 8, type: "u64" },
    stack_high: { offset: 80, byteLength: 8, type: "u64" },
    stack_guard: { offset: 88, byteLength: 8, type: "u64" },
    recovery_point: { offset: 96, byteLength: 8, type: "u64" },
    stack_address: { offset: 104, byteLength: 8, type: "u64" },
    siginfo: { offset: 112, byteLength: 128, type: "bytes" },
    extended_gap_at: { offset: 240, byteLength: 4, type: "u32" },
    extended_gap: { offset: 244, byteLength: 4, type: "u32" },
    context: { offset: 248, byteLength: 304, type: "bytes" },
  },
  arm64: {
    byteLength: 712,
    size: { offset: 0, byteLength: 4, type: "u32" },
    signal: { offset: 4, byteLength: 4, type: "u32" },
    code: { offset: 8, byteLength: 4, type: "i32" },
    flags: { offset: 12, byteLength: 4, type: "u32" },
    access: { offset: 16, byteLength: 4, type: "u32" },
    slot: { offset: 20, byteLength: 4, type: "u32" },
    process_id: { offset: 24, byteLength: 4, type: "u32" },
    thread_id: { offset: 28, byteLength: 4, type: "u32" },
    hooks_skipped: { offset: 32, byteLength: 4, type: "u32" },
    extended_length: { offset: 36, byteLength: 4, type: "u32" },
    frame_count: { offset: 40, byteLength: 4, type: "u32" },
    stack_length: { offset: 44, byteLength: 4, type: "u32" },
    address: { offset: 48, byteLength: 8, type: "u64" },
    instruction_pointer: { offset: 56, byteLength: 8, type: "u64" },
    stack_pointer: { offset: 64, byteLength: 8, type: "u64" },
    stack_low: { offset: 72, byteLength: 8, type: "u64" },
    stack_high: { offset: 80, byteLength: 8, type: "u64" },
    stack_guard: { offset: 88, byteLength: 8, type: "u64" },
    recovery_point: { offset: 96, byteLength: 8, type: "u64" },
    stack_address: { offset: 104, byteLength: 8, type: "u64" },
    siginfo: { offset: 112, byteLength: 128, type: "bytes" },
    extended_gap_at: { offset: 240, byteLength: 4, type: "u32" },
    extended_gap: { offset: 244, byteLength: 4, type: "u32" },
    context: { offset: 248, byteLength: 464, type: "bytes" },
  },
} as const;

/** Layout of `abi.ThreadRecord`, in bytes. */
export const threadRecordLayout = {
  byteLength: 64,
  size: { offset: 0, byteLength: 4, type: "u32" },
  pending: { offset: 4, byteLength: 4, type: "u32" },
  result: { offset: 8, byteLength: 8, type: "u64" },
  result_float: { offset: 16, byteLength: 8, type: "u64" },
  chunk: { offset: 24, byteLength: 8, type: "u64" },
  chunk_length: { offset: 32, byteLength: 4, type: "u32" },
  chunk_used: { offset: 36, byteLength: 4, type: "u32" },
  exception_offset: { offset: 40, byteLength: 4, type: "u32" },
  exception_size_max: { offset: 44, byteLength: 4, type: "u32" },
  _reserved: { offset: 48, byteLength: 16, type: "bytes" },
} as const;

/** Layout of `abi.CallBlock`, in bytes. */
export const callBlockLayout = {
  byteLength: 248,
  record: { offset: 0, byteLength: 64, type: "struct" },
  entry: { offset: 64, byteLength: 8, type: "u64" },
  target: { offset: 72, byteLength: 8, type: "u64" },
  caught: { offset: 80, byteLength: 4, type: "u32" },
  raised: { offset: 84, byteLength: 4, type: "u32" },
  slot_stack_bytes: { offset: 88, byteLength: 4, type: "u32" },
  slot_state: { offset: 92, byteLength: 4, type: "u32" },
  integers: { offset: 96, byteLength: 64, type: "bytes" },
  floats: { offset: 160, byteLength: 64, type: "bytes" },
  stack: { offset: 224, byteLength: 8, type: "u64" },
  stack_bytes: { offset: 232, byteLength: 4, type: "u32" },
  _padding: { offset: 236, byteLength: 4, type: "u32" },
  status: { offset: 240, byteLength: 4, type: "i32" },
  name: { offset: 244, byteLength: 4, type: "u32" },
} as const;

/** Layout of `abi.SignalStatus`, in bytes. */
export const signalStatusLayout = {
  byteLength: 16,
  number: { offset: 0, byteLength: 4, type: "u32" },
  owner: { offset: 4, byteLength: 4, type: "u32" },
  handler: { offset: 8, byteLength: 8, type: "u64" },
} as const;

/** Layout of `abi.ProcessStatus`, in bytes. */
export const processStatusLayout = {
  byteLength: 160,
  size: { offset: 0, byteLength: 4, type: "u32" },
  installed: { offset: 4, byteLength: 4, type: "u32" },
  open_slots: { offset: 8, byteLength: 4, type: "u32" },
  slots_max: { offset: 12, byteLength: 4, type: "u32" },
  attached_threads: { offset: 16, byteLength: 4, type: "u32" },
  static_tls: { offset: 20, byteLength: 4, type: "u32" },
  caught: { offset: 24, byteLength: 8, type: "u64" },
  alternate_stack_base: { offset: 32, byteLength: 8, type: "u64" },
  alternate_stack_length: { offset: 40, byteLength: 8, type: "u64" },
  signals: { offset: 48, byteLength: 112, type: "bytes" },
} as const;

/** Layout of `abi.Mapping`, in bytes. */
export const mappingLayout = {
  byteLength: 4128,
  size: { offset: 0, byteLength: 4, type: "u32" },
  protection: { offset: 4, byteLength: 4, type: "u32" },
  start: { offset: 8, byteLength: 8, type: "u64" },
  end: { offset: 16, byteLength: 8, type: "u64" },
  path_length: { offset: 24, byteLength: 4, type: "u32" },
  _reserved: { offset: 28, byteLength: 4, type: "u32" },
  path: { offset: 32, byteLength: 4096, type: "bytes" },
} as const;

/** Layout of `abi.MachineFacts`, in bytes. */
export const machineFactsLayout = {
  byteLength: 128,
  size: { offset: 0, byteLength: 4, type: "u32" },
  ptrace_scope: { offset: 4, byteLength: 4, type: "i32" },
  tracer: { offset: 8, byteLength: 4, type: "u32" },
  perf_event_paranoid: { offset: 12, byteLength: 4, type: "i32" },
  perf_breakpoint: { offset: 16, byteLength: 4, type: "i32" },
  userfaultfd: { offset: 20, byteLength: 4, type: "i32" },
  userfaultfd_user_mode: { offset: 24, byteLength: 4, type: "i32" },
  memory_file: { offset: 28, byteLength: 4, type: "i32" },
  kernel_release: { offset: 32, byteLength: 64, type: "bytes" },
  glibc_version: { offset: 96, byteLength: 32, type: "bytes" },
} as const;

/** Layout of `abi.HookRequest`, in bytes. */
export const hookRequestLayout = {
  byteLength: 400,
  size: { offset: 0, byteLength: 4, type: "u32" },
  kind: { offset: 4, byteLength: 4, type: "u32" },
  signals: { offset: 8, byteLength: 4, type: "u32" },
  this_thread: { offset: 12, byteLength: 4, type: "u32" },
  range_start: { offset: 16, byteLength: 8, type: "u64" },
  range_length: { offset: 24, byteLength: 8, type: "u64" },
  function: { offset: 32, byteLength: 8, type: "u64" },
  data: { offset: 40, byteLength: 8, type: "u64" },
  value: { offset: 48, byteLength: 8, type: "u64" },
  fill: { offset: 56, byteLength: 8, type: "u64" },
  fill_length: { offset: 64, byteLength: 8, type: "u64" },
  register_mask: { offset: 72, byteLength: 8, type: "u64" },
  registers: { offset: 80, byteLength: 320, type: "bytes" },
} as const;

/** Layout of `abi.OpenedMemory`, in bytes. */
export const openedMemoryLayout = {
  byteLength: 32,
  size: { offset: 0, byteLength: 4, type: "u32" },
  errno: { offset: 4, byteLength: 4, type: "i32" },
  handle: { offset: 8, byteLength: 8, type: "u64" },
  address: { offset: 16, byteLength: 8, type: "u64" },
  tracking: { offset: 24, byteLength: 4, type: "u32" },
  _reserved: { offset: 28, byteLength: 4, type: "u32" },
} as const;

/** Layout of `abi.LostRange`, in bytes. */
export const lostRangeLayout = {
  byteLength: 24,
  offset: { offset: 0, byteLength: 8, type: "u64" },
  byte_length: { offset: 8, byteLength: 8, type: "u64" },
  state: { offset: 16, byteLength: 4, type: "u32" },
  _reserved: { offset: 20, byteLength: 4, type: "u32" },
} as const;

/** Layout of `abi.WrittenRange`, in bytes. */
export const writtenRangeLayout = {
  byteLength: 24,
  start: { offset: 0, byteLength: 8, type: "u64" },
  end: { offset: 8, byteLength: 8, type: "u64" },
  categories: { offset: 16, byteLength: 8, type: "u64" },
} as const;

/** Layout of `abi_crash.CrashRequest`, in bytes. */
export const crashRequestLayout = {
  byteLength: 12320,
  size: { offset: 0, byteLength: 4, type: "u32" },
  formats: { offset: 4, byteLength: 4, type: "u32" },
  stderr: { offset: 8, byteLength: 4, type: "u32" },
  reports_max: { offset: 12, byteLength: 4, type: "u32" },
  bytes_max: { offset: 16, byteLength: 4, type: "u32" },
  deadline_ms: { offset: 20, byteLength: 4, type: "u32" },
  redact: { offset: 24, byteLength: 4, type: "u32" },
  on_demand: { offset: 28, byteLength: 4, type: "u32" },
  directory: { offset: 32, byteLength: 4096, type: "bytes" },
  temporary: { offset: 4128, byteLength: 4096, type: "bytes" },
  symbols: { offset: 8224, byteLength: 4096, type: "bytes" },
} as const;

/** Layout of `abi_crash.ThreadDump`, in bytes. */
export const threadDumpLayout = {
  byteLength: 544,
  thread_id: { offset: 0, byteLength: 4, type: "u32" },
  frame_count: { offset: 4, byteLength: 4, type: "u32" },
  name_length: { offset: 8, byteLength: 4, type: "u32" },
  _padding: { offset: 12, byteLength: 4, type: "u32" },
  name: { offset: 16, byteLength: 16, type: "bytes" },
  frames: { offset: 32, byteLength: 512, type: "bytes" },
} as const;

/** Values of `abi.Access`. */
export const access = {
  unknown: 0,
  read: 1,
  write: 2,
  execute: 3,
} as const;

/** Values of `abi.Pending`. */
export const pending = {
  none: 0,
  exception: 1,
  closed: 2,
  thrown: 3,
  foreign: 4,
  hooked: 5,
} as const;

/** Values of `abi.Status`. */
export const nativeStatus = {
  ok: 0,
  invalid_argument: -1,
  no_memory: -2,
  too_many_threads: -3,
  no_free_slot: -4,
  foreign_handler: -5,
  not_found: -6,
  not_supported: -7,
  system_call_failed: -8,
  shadow_stack: -9,
} as const;

/** Values of `abi.Owner`. */
export const signalOwner = {
  default: 0,
  ignored: 1,
  faultline: 2,
  runtime: 3,
  other: 4,
} as const;

/** Values of `abi.SelfTest`. */
export const selfTestKind = {
  none: 0,
  null_read: 1,
  null_write: 2,
  read_only_write: 3,
  jump_to_null: 4,
  non_canonical_read: 5,
  privileged_instruction: 6,
  past_end_of_file: 7,
  integer_division: 8,
  illegal_instruction: 9,
  breakpoint: 10,
  stack_overflow: 11,
  abort: 12,
  misaligned_access: 13,
} as const;

/** Values of `abi.ProtectionBits`. */
export const protectionBits = {
  none: 0,
  read: 1,
  write: 2,
  execute: 4,
} as const;

/** Values of `abi.HookKind`. */
export const hookKind = {
  javascript: 0,
  next: 1,
  throw: 2,
  die: 3,
  skip_instruction: 4,
  set_registers: 5,
  protect: 6,
  map: 7,
  call: 8,
  lost_page: 9,
  track_writes: 10,
} as const;

/** Values of `abi.HooksSkipped`. */
export const hooksSkipped = {
  none: 0,
  unguarded: 1,
  stack: 2,
  stack_full: 3,
  depth: 5,
  no_progress: 6,
  other_thread: 7,
  no_room: 8,
  running: 9,
} as const;

/** Values of `abi.HookAnswer`. */
export const hookAnswer = {
  next: 1852143732,
  handled: 1751215716,
  thrown: 1953002095,
} as const;

/** Values of `abi.StatePart`. */
export const statePart = {
  floating_point: 1,
  vector: 2,
  single_step: 3,
} as const;

/** Values of `abi.PageState`. */
export const pageState = {
  clean: 0,
  written: 1,
  arming: 2,
  replacing: 3,
  lost_end: 4,
  lost_error: 5,
  lost_memory: 6,
  lost_memory_early: 7,
} as const;

/** Values of `abi.Tracking`. */
export const tracking = {
  any: 0,
  userfault: 1,
  protection: 2,
} as const;

/** Values of `abi_crash.CrashFormat`. */
export const crashFormat = {
  text: 1,
  json: 2,
  minidump: 4,
} as const;

/** Values of `abi_crash.Sabotage`. */
export const sabotage = {
  none: 0,
  fault: 1,
  endless: 2,
  abort: 3,
} as const;

/** Values of `abi_crash.WatchFlag`. */
export const watchFlag = {
  repeat: 1,
  exit: 2,
} as const;

/** Bits of an exception's flags. */
export const exceptionFlags = {
  has_address: 1,
  mask_changed: 2,
  raised: 4,
  extended_cut: 8,
  suspect_mentioned: 16,
} as const;

/** Offsets of the registers in the machine context, by architecture. */
export const machineRegisters = {
  x64: {
    r8: 40,
    r9: 48,
    r10: 56,
    r11: 64,
    r12: 72,
    r13: 80,
    r14: 88,
    r15: 96,
    rdi: 104,
    rsi: 112,
    rbp: 120,
    rbx: 128,
    rdx: 136,
    rax: 144,
    rcx: 152,
    rsp: 160,
    rip: 168,
    eflags: 176,
  },
  arm64: {
    x0: 184,
    x1: 192,
    x2: 200,
    x3: 208,
    x4: 216,
    x5: 224,
    x6: 232,
    x7: 240,
    x8: 248,
    x9: 256,
    x10: 264,
    x11: 272,
    x12: 280,
    x13: 288,
    x14: 296,
    x15: 304,
    x16: 312,
    x17: 320,
    x18: 328,
    x19: 336,
    x20: 344,
    x21: 352,
    x22: 360,
    x23: 368,
    x24: 376,
    x25: 384,
    x26: 392,
    x27: 400,
    x28: 408,
    x29: 416,
    x30: 424,
    sp: 432,
    pc: 440,
    pstate: 448,
  },
} as const;

/** The machine names of the portable register names. */
export const portableRegisters = {
  x64: {
    instructionPointer: "rip",
    stackPointer: "rsp",
    framePointer: "rbp",
    flags: "eflags",
  },
  arm64: {
    instructionPointer: "pc",
    stackPointer: "sp",
    framePointer: "x29",
    flags: "pstate",
  },
} as const;

/** Signatures of the exported functions. */
export const symbols = {
  fl_abi_hash: { parameters: [], result: "u64" },
  fl_version: { parameters: [], result: "u32" },
  fl_attach: { parameters: ["buffer", "u32"], result: "i32" },
  fl_thread_id: { parameters: [], result: "u32" },
  fl_give_chunk: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  fl_install: { parameters: ["u32"], result: "i32" },
  fl_uninstall: { parameters: ["buffer"], result: "i32" },
  fl_reinstall: { parameters: [], result: "i32" },
  fl_status: { parameters: ["buffer", "u32"], result: "i32" },
  fl_slot_open: { parameters: ["u64", "u32", "u32", "u32", "u32"], result: "i32" },
  fl_slot_release: { parameters: ["u32"], result: "i32" },
  fl_slot_in_flight: { parameters: ["u32"], result: "i32" },
  fl_thunk_address: { parameters: ["u32"], result: "u64" },
  fl_call_block: { parameters: ["buffer"], result: "void" },
  fl_block_open: { parameters: ["buffer"], result: "u64" },
  fl_block_run: { parameters: ["u64"], result: "void" },
  fl_block_submit: { parameters: ["u64", "u64"], result: "i32" },
  fl_block_done: { parameters: ["u64"], result: "i32" },
  fl_block_close: { parameters: ["u64", "buffer", "buffer", "u32"], result: "i32" },
  fl_set_exit: { parameters: ["u32"], result: "i32" },
  fl_callback_open: { parameters: ["u64"], result: "u64" },
  fl_callback_close: { parameters: ["u64"], result: "i32" },
  fl_barrier: { parameters: ["u64"], result: "u64" },
  fl_identity: { parameters: ["u64"], result: "u64" },
  fl_library_open: { parameters: ["buffer", "buffer", "u32"], result: "u64" },
  fl_library_symbol: { parameters: ["u64", "buffer"], result: "u64" },
  fl_library_close: { parameters: ["u64"], result: "i32" },
  fl_string_read: { parameters: ["u64", "buffer", "u32"], result: "u64" },
  fl_value_read: { parameters: ["u64", "u32"], result: "u64" },
  fl_read_memory: { parameters: ["u64", "buffer", "f64"], result: "void" },
  fl_write_memory: { parameters: ["u64", "buffer", "f64"], result: "void" },
  fl_is_readable: { parameters: ["u64", "f64"], result: "i32" },
  fl_protect: { parameters: ["u64", "f64", "u32", "buffer"], result: "i32" },
  fl_mapping_of: { parameters: ["u64", "buffer", "u32"], result: "i32" },
  fl_mappings_around: { parameters: ["u64", "buffer", "u32"], result: "i32" },
  fl_read_available: { parameters: ["u64", "buffer", "u32"], result: "i32" },
  fl_mapping_open: { parameters: ["u32", "u64", "f64", "u32", "buffer", "u32"], result: "i32" },
  fl_mapping_lost: { parameters: ["u64", "buffer", "buffer", "u32"], result: "i32" },
  fl_mapping_flush: { parameters: ["u64"], result: "i32" },
  fl_tracker_open: { parameters: ["f64", "u32", "buffer", "u32"], result: "i32" },
  fl_tracker_take: { parameters: ["u64", "buffer", "buffer", "u32"], result: "i32" },
  fl_memory_close: { parameters: ["u64", "u32"], result: "i32" },
  fl_suspects: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  fl_machine_facts: { parameters: ["buffer", "u32"], result: "i32" },
  fl_self_test: { parameters: ["u32"], result: "i32" },
  fl_hook_add: { parameters: ["buffer", "u32", "buffer"], result: "i32" },
  fl_hook_remove: { parameters: ["u32", "u64", "buffer"], result: "i32" },
  fl_hook_probe: { parameters: ["u64", "u32", "u32"], result: "void" },
  fl_hook_hits: { parameters: ["u32", "u64"], result: "u64" },
  fl_state_read: { parameters: ["f64", "u32", "buffer", "u32"], result: "i32" },
  fl_state_set_registers: { parameters: ["f64", "u64", "buffer"], result: "i32" },
  fl_state_write: { parameters: ["f64", "u32", "buffer", "u32"], result: "i32" },
  fl_crash_install: { parameters: ["buffer", "u32"], result: "i32" },
  fl_crash_uninstall: { parameters: [], result: "i32" },
  fl_crash_active: { parameters: [], result: "i32" },
  fl_crumbs: { parameters: ["buffer", "u32"], result: "i32" },
  fl_crash_sabotage: { parameters: ["u32", "u32"], result: "i32" },
  fl_threads_dump: { parameters: ["buffer", "u32"], result: "i32" },
  fl_watch_start: { parameters: ["u32", "u32", "buffer", "buffer"], result: "i32" },
  fl_watch_stop: { parameters: ["i32"], result: "i32" },
  fl_name_add: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  fl_slot_name: { parameters: ["u32", "u32"], result: "i32" },
} as const;

/** Thunks are exported as fl_t0, fl_t1 ... */
export const thunksMax = 1280;

/** Over all of the above. */
export const abiHash = 0x9cb448ac55919376n;

/** Of the package that all of this belongs to. */
export const version = "0.1.0";
