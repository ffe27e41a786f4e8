//! The C ABI between the native library and TypeScript. Every struct that crosses the boundary is
//! declared here, or in abi_crash.zig and named here. `lib/abi.ts` is generated from this file, the
//! signal frames and the exported functions (`zig build abi`). Offsets and enum values are only
//! appended.

const std = @import("std");
const crash = @import("abi_crash.zig");
const frame = @import("frame.zig");
const assert = std.debug.assert;

/// The version of the package, as package.json and deno.json have it.
pub const version: std.SemanticVersion = .{ .major = 0, .minor = 1, .patch = 0 };

/// What the faulting access did, as far as the CPU told the kernel.
pub const Access = enum(u32) { unknown = 0, read = 1, write = 2, execute = 3 };

/// What a wrapper finds in `ThreadRecord.pending` after a guarded call: that a hardware exception
/// ended it, that its slot was closed, that a callback threw, that a callback was reached from a
/// thread that does not own it, or that an exception ended it that a JavaScript hook had seen.
pub const Pending = enum(u32) {
    none = 0,
    exception = 1,
    closed = 2,
    thrown = 3,
    foreign = 4,
    /// `exception_offset` is then the depth of the hooks, under which JavaScript noted the bytes.
    hooked = 5,
};

/// What a hook does.
pub const HookKind = enum(u32) {
    javascript = 0,
    next = 1,
    throw = 2,
    die = 3,
    skip_instruction = 4,
    set_registers = 5,
    protect = 6,
    map = 7,
    call = 8,
    /// Replaces pages of a mapped file that are not there any more, and notes which.
    lost_page = 9,
    /// Notes the first write to each page.
    track_writes = 10,
};

/// Why JavaScript hooks that would have been asked were not. The first reason counts.
pub const HooksSkipped = enum(u32) {
    none = 0,
    /// No guarded call was running where the exception happened.
    unguarded = 1,
    /// The stack pointer was not in the thread's own stack.
    stack = 2,
    /// The stack had no room left for a hook.
    stack_full = 3,
    /// Hooks ran inside hooks already.
    depth = 5,
    /// The same exception was answered "handled" over and over.
    no_progress = 6,
    /// It happened on another thread than the one that added the hook.
    other_thread = 7,
    /// The handler had no memory for the exception.
    no_room = 8,
    /// The hook was running.
    running = 9,
};

/// What a JavaScript hook answers. An engine that does not run it, since its stack is full or its
/// thread is being ended, answers something else: mostly 0.
pub const HookAnswer = enum(i32) {
    next = 0x6e65_7874,
    handled = 0x6861_6e64,
    thrown = 0x7468_726f,
};

/// Parts of a thread's state, besides the general registers, that a hook may read and write.
pub const StatePart = enum(u32) { floating_point = 1, vector = 2, single_step = 3 };

pub const hook_registers_max = 40;

/// A hook to add.
pub const HookRequest = extern struct {
    size: u32,
    kind: HookKind,
    /// Signals that it is asked about, bit n-1 for signal n.
    signals: u32,
    /// 1 when it is asked about the adding thread's exceptions only.
    this_thread: u32,
    /// The memory that it is asked about; length 0 for any exception.
    range_start: u64,
    range_length: u64,
    /// What to call: the JavaScript hooks' callback, or the function of a "call" action.
    function: u64,
    /// For "call" its argument; for pages what looks after them.
    data: u64,
    /// Bytes to skip, or the bits of a protection.
    value: u64,
    /// What "map" fills the page with: address and length. Copied.
    fill: u64,
    fill_length: u64,
    /// Which of `registers` "set-registers" sets, by their order in the machine context.
    register_mask: u64,
    registers: [hook_registers_max * 8]u8,

    comptime {
        assert(@offsetOf(HookRequest, "range_start") == 16);
        assert(@sizeOf(HookRequest) == 80 + hook_registers_max * 8);
    }
};

/// What `lost_page` and `track_writes` note about a page.
pub const PageState = enum(u8) {
    /// Whole, or protected.
    clean = 0,
    /// Written since the last look.
    written = 1,
    /// Being protected again.
    arming = 2,
    /// Being replaced.
    replacing = 3,
    /// Replaced after BUS_ADRERR: past the end of the file.
    lost_end = 4,
    /// Replaced after BUS_OBJERR: an input or output error.
    lost_error = 5,
    /// Replaced after BUS_MCEERR_AR and BUS_MCEERR_AO: the memory failed.
    lost_memory = 6,
    lost_memory_early = 7,
};

/// Results of the exported functions that can fail. Negative, so that counts and indices stay free.
pub const Status = enum(i32) {
    ok = 0,
    invalid_argument = -1,
    no_memory = -2,
    too_many_threads = -3,
    no_free_slot = -4,
    foreign_handler = -5,
    not_found = -6,
    not_supported = -7,
    system_call_failed = -8,
    /// The kernel checks the thread's returns against a shadow stack.
    shadow_stack = -9,
};

/// Who a signal's disposition belongs to now.
pub const Owner = enum(u32) { default = 0, ignored = 1, faultline = 2, runtime = 3, other = 4 };

/// Bits of `Mapping.protection`, as mprotect takes them.
pub const ProtectionBits = enum(u32) { none = 0, read = 1, write = 2, execute = 4 };

/// What `fl_self_test` makes happen. Each is one instruction or call that really faults.
pub const SelfTest = enum(u32) {
    none = 0,
    null_read = 1,
    null_write = 2,
    read_only_write = 3,
    jump_to_null = 4,
    non_canonical_read = 5,
    privileged_instruction = 6,
    past_end_of_file = 7,
    integer_division = 8,
    illegal_instruction = 9,
    breakpoint = 10,
    stack_overflow = 11,
    abort = 12,
    misaligned_access = 13,
};

/// Bits of `Exception.flags`.
pub const ExceptionFlags = packed struct(u32) {
    /// `address` is what the CPU reported; else the CPU reports none for this exception.
    has_address: bool = false,
    /// The signal mask differed from the one noted at attach, which was put back.
    mask_changed: bool = false,
    /// The signal was sent by the library itself (raise, abort), not by the CPU.
    raised: bool = false,
    /// The extended state did not fit and is cut.
    extended_cut: bool = false,
    /// The instruction pointer, a frame or a word of the copied stack lies in an allocator, the
    /// loader or a function that holds a lock: `fl_suspects` says whether one was running.
    suspect_mentioned: bool = false,
    _reserved: u27 = 0,
};

pub const frames_max = 64;
/// Enough for the 8 KiB that glibc puts on the stack to print to a stream without a buffer.
pub const stack_copy_max = 12 * 1024;
/// Standard-form XSAVE with AMX tiles takes 11,008 bytes.
pub const extended_max = 12 * 1024;
pub const siginfo_size = 128;

/// One exception as the handler saw it: this head, then a tail of `extended_length` bytes of
/// extended processor state, `frame_count` return addresses and `stack_length` bytes of stack.
pub const Exception = ExceptionOf(frame.machine.context_size);

/// The head as an architecture has it: only the context differs, so it comes last.
pub fn ExceptionOf(comptime context_size: u32) type {
    return extern struct {
        /// Bytes in use from the start of this struct, tail included.
        size: u32,
        signal: u32,
        /// `si_code`; positive when the kernel raised it.
        code: i32,
        flags: ExceptionFlags,
        access: Access,
        /// Index of the slot whose call was running.
        slot: u32,
        process_id: u32,
        thread_id: u32,
        hooks_skipped: HooksSkipped,
        extended_length: u32,
        frame_count: u32,
        stack_length: u32,
        address: u64,
        instruction_pointer: u64,
        stack_pointer: u64,
        /// Bounds of the thread's stack and the size of its guard, noted at attach; 0 when unknown.
        stack_low: u64,
        stack_high: u64,
        stack_guard: u64,
        /// Address of the recovery frame: the end of the guarded call's part of the stack.
        recovery_point: u64,
        /// Where the copied stack bytes were.
        stack_address: u64,
        siginfo: [siginfo_size]u8,
        /// Where in the extended state bytes were left out that are all zero, and how many.
        extended_gap_at: u32,
        extended_gap: u32,
        /// The kernel's `struct ucontext`, without the extended state that it points to.
        context: [context_size]u8,

        comptime {
            assert(@sizeOf(@This()) == 248 + context_size);
            assert(@offsetOf(@This(), "address") == 48);
            assert(@offsetOf(@This(), "siginfo") == 112);
            assert(@offsetOf(@This(), "context") == 248);
        }
    };
}

pub const exception_max = @sizeOf(Exception) + extended_max + frames_max * 8 + stack_copy_max;

/// One per attached thread. JavaScript allocates it, so that a call costs no second native call to
/// learn its outcome; the trampoline writes the results, the handler the rest.
///
/// Exceptions are written behind each other into a chunk that JavaScript gives: an Error keeps the
/// chunk and an offset, so that nothing is copied when it is thrown.
pub const ThreadRecord = extern struct {
    size: u32,
    pending: Pending,
    /// rax or x0 of the call that returned last.
    result: u64,
    /// xmm0 or v0 of the call that returned last, low 64 bits.
    result_float: u64,
    /// Address of the chunk; 0 before the first.
    chunk: u64,
    chunk_length: u32,
    /// Bytes of the chunk in use. It is replaced while more than `exception_max` bytes are free.
    chunk_used: u32,
    /// Where in the chunk the pending exception starts.
    exception_offset: u32,
    exception_size_max: u32,
    _reserved: [2]u64,

    comptime {
        assert(@offsetOf(ThreadRecord, "pending") == 4);
        assert(@offsetOf(ThreadRecord, "result") == 8);
        assert(@offsetOf(ThreadRecord, "result_float") == 16);
        assert(@sizeOf(ThreadRecord) == 64);
    }
};

/// `Exception.slot` of a call that went through a call block.
pub const slot_of_block: u32 = 0xffff_ffff;

/// A call whose arguments lie in memory: for other threads, for addresses without a thunk, and for
/// when every thunk is taken. It has a record of its own, so that it can run beside its thread's
/// other calls.
pub const CallBlock = extern struct {
    record: ThreadRecord,
    /// The slot that the trampoline calls through.
    entry: u64,
    target: u64,
    /// Signal masks as in `fl_slot_open`.
    caught: u32,
    raised: u32,
    /// Bytes of stack arguments, a multiple of 16, also in `stack_bytes`.
    slot_stack_bytes: u32,
    slot_state: u32,
    /// As many as an architecture passes in registers: 6 on x86-64, 8 on arm64.
    integers: [8]u64,
    floats: [8]f64,
    /// Address of the stack arguments; 0 when there are none.
    stack: u64,
    stack_bytes: u32,
    _padding: u32,
    /// What became of the call; `record` says the rest when that is `ok`. On a thread that has a
    /// record of its own that one is used, so that calls from callbacks find theirs.
    status: Status,
    /// What crash reports call it: a number from `fl_name_add` and one more; 0 for nothing.
    name: u32,

    comptime {
        assert(@offsetOf(CallBlock, "entry") == 64);
        assert(@offsetOf(CallBlock, "integers") == 96);
        assert(@offsetOf(CallBlock, "floats") == 160);
        assert(@offsetOf(CallBlock, "stack") == 224);
        assert(@sizeOf(CallBlock) == 248);
    }
};

pub const signals_max = 7;

pub const SignalStatus = extern struct {
    number: u32,
    owner: Owner,
    handler: u64,

    comptime {
        assert(@sizeOf(SignalStatus) == 16);
    }
};

pub const ProcessStatus = extern struct {
    size: u32,
    /// Signals that we own now, bit n-1 for signal n.
    installed: u32,
    open_slots: u32,
    slots_max: u32,
    attached_threads: u32,
    /// 1 when the loader put our thread-locals into static TLS; else calls take a slower entry.
    static_tls: u32,
    caught: u64,
    alternate_stack_base: u64,
    alternate_stack_length: u64,
    signals: [signals_max]SignalStatus,

    comptime {
        assert(@offsetOf(ProcessStatus, "caught") == 24);
        assert(@offsetOf(ProcessStatus, "signals") == 48);
        assert(@sizeOf(ProcessStatus) == 160);
    }
};

/// A mapping of this process, as the kernel lists it.
pub const Mapping = extern struct {
    size: u32,
    protection: u32,
    start: u64,
    end: u64,
    path_length: u32,
    _reserved: u32,
    /// As the kernel prints it, cut to fit; empty for anonymous memory without a name.
    path: [4096]u8,

    comptime {
        assert(@sizeOf(Mapping) == 32 + 4096);
        assert(@offsetOf(Mapping, "path") == 32);
    }
};

/// What this machine and this process allow, for `faultline doctor`. Results of attempts are 0 or a
/// negative errno.
pub const MachineFacts = extern struct {
    size: u32,
    /// Yama's kernel.yama.ptrace_scope; -1 without Yama.
    ptrace_scope: i32,
    /// The process that traces this one, or 0.
    tracer: u32,
    /// kernel.perf_event_paranoid; -100 when the kernel does not say.
    perf_event_paranoid: i32,
    /// A hardware breakpoint by perf_event_open that raises SIGTRAP, made and closed.
    perf_breakpoint: i32,
    userfaultfd: i32,
    /// The same, for faults of user mode only.
    userfaultfd_user_mode: i32,
    memory_file: i32,
    kernel_release: [64]u8,
    /// glibc's version; empty under another libc.
    glibc_version: [32]u8,

    comptime {
        assert(@offsetOf(MachineFacts, "kernel_release") == 32);
        assert(@sizeOf(MachineFacts) == 128);
    }
};

/// Memory that was made for JavaScript, or why it was not.
pub const OpenedMemory = extern struct {
    size: u32,
    /// The system's, 0 when it succeeded.
    errno: i32,
    handle: u64,
    /// Of the first byte that was asked for.
    address: u64,
    tracking: Tracking,
    _reserved: u32,

    comptime {
        assert(@sizeOf(OpenedMemory) == 32);
    }
};

/// How writes are noted: as asked for, and as it is.
pub const Tracking = enum(u32) { any = 0, userfault = 1, protection = 2 };

/// A part of a mapped file that was lost; `state` is a `PageState`.
pub const LostRange = extern struct {
    /// In the file.
    offset: u64,
    byte_length: u64,
    state: u32,
    _reserved: u32,

    comptime {
        assert(@sizeOf(LostRange) == 24);
    }
};

/// Pages that were written: `struct page_region` of include/uapi/linux/fs.h.
pub const WrittenRange = extern struct {
    start: u64,
    end: u64,
    categories: u64,

    comptime {
        assert(@sizeOf(WrittenRange) == 24);
    }
};

pub const CrashFormat = crash.CrashFormat;
pub const CrashRequest = crash.CrashRequest;
pub const ThreadDump = crash.ThreadDump;
pub const dump_frames_max = crash.dump_frames_max;
pub const WatchFlag = crash.WatchFlag;
pub const Sabotage = crash.Sabotage;

/// The structs and enums that TypeScript gets, by the name it gets them under; `Exception` besides,
/// as every architecture has it.
pub const structs = .{
    .{ "threadRecordLayout", ThreadRecord },
    .{ "callBlockLayout", CallBlock },
    .{ "signalStatusLayout", SignalStatus },
    .{ "processStatusLayout", ProcessStatus },
    .{ "mappingLayout", Mapping },
    .{ "machineFactsLayout", MachineFacts },
    .{ "hookRequestLayout", HookRequest },
    .{ "openedMemoryLayout", OpenedMemory },
    .{ "lostRangeLayout", LostRange },
    .{ "writtenRangeLayout", WrittenRange },
    .{ "crashRequestLayout", CrashRequest },
    .{ "threadDumpLayout", ThreadDump },
};
pub const enums = .{
    .{ "access", Access },
    .{ "pending", Pending },
    .{ "nativeStatus", Status },
    .{ "signalOwner", Owner },
    .{ "selfTestKind", SelfTest },
    .{ "protectionBits", ProtectionBits },
    .{ "hookKind", HookKind },
    .{ "hooksSkipped", HooksSkipped },
    .{ "hookAnswer", HookAnswer },
    .{ "statePart", StatePart },
    .{ "pageState", PageState },
    .{ "tracking", Tracking },
    .{ "crashFormat", CrashFormat },
    .{ "sabotage", Sabotage },
    .{ "watchFlag", WatchFlag },
};
