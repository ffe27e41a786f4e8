//! Raw system calls of Linux that the library needs, with the kernel's own layouts. No libc, no
//! errno: results are the kernel's, negative numbers are errors.
//!
//! Layouts: Linux include/uapi/asm-generic/signal-defs.h, arch/x86/include/uapi/asm/signal.h,
//! include/uapi/asm-generic/siginfo.h.

const std = @import("std");
const linux = std.os.linux;
const builtin = @import("builtin");
const cpu = switch (builtin.cpu.arch) {
    .x86_64 => @import("cpu_x86_64.zig"),
    .aarch64 => @import("cpu_aarch64.zig"),
    else => @compileError("this architecture is not known yet"),
};
const assert = std.debug.assert;

pub const sigill = 4;
pub const sigtrap = 5;
pub const sigabrt = 6;
pub const sigbus = 7;
pub const sigfpe = 8;
pub const sigsegv = 11;
pub const sigsys = 31;

pub const si_user = 0;
pub const si_kernel = 0x80;
pub const si_tkill = -6;
pub const segv_maperr = 1;
pub const segv_accerr = 2;
pub const bus_adraln = 1;
pub const bus_objerr = 3;
pub const bus_mceerr_ar = 4;
pub const bus_mceerr_ao = 5;
pub const trap_trace = 2;
pub const trap_perf = 6;

pub const sa_siginfo: u64 = 0x4;
pub const sa_onstack: u64 = 0x0800_0000;
pub const sa_nodefer: u64 = 0x4000_0000;
pub const sa_resethand: u64 = 0x8000_0000;
pub const sa_restorer: u64 = 0x0400_0000;

pub const sig_dfl = 0;
pub const sig_ign = 1;

const sig_block = 0;
const sig_setmask = 2;

/// `struct kernel_sigaction` of arch/x86/include/uapi/asm/signal.h.
pub const Action = extern struct {
    handler: u64 = sig_dfl,
    flags: u64 = 0,
    restorer: u64 = 0,
    mask: u64 = 0,

    comptime {
        assert(@sizeOf(Action) == 32);
        assert(@offsetOf(Action, "mask") == 24);
    }
};

/// `struct siginfo` as far as one union member at a time can be read.
pub const Siginfo = extern struct {
    signal: i32,
    errno: i32,
    code: i32,
    _padding: i32,
    /// `si_addr` of a fault; `si_pid` and `si_uid` of a sent signal.
    payload: extern union {
        address: u64,
        sender: extern struct { process_id: i32, user_id: u32 },
        /// BUS_MCEERR_*: the lost range is 2 to the power of `bits` long.
        failure: extern struct { address: u64, bits: i16 },
        bytes: [112]u8,
    },

    comptime {
        assert(@sizeOf(Siginfo) == 128);
        assert(@offsetOf(Siginfo, "payload") == 16);
    }
};

/// `stack_t`.
pub const AlternateStack = extern struct {
    base: u64 = 0,
    flags: u32 = 0,
    _padding: u32 = 0,
    length: u64 = 0,

    pub const disabled: u32 = 2;

    comptime {
        assert(@sizeOf(AlternateStack) == 24);
        assert(@offsetOf(AlternateStack, "length") == 16);
    }
};

fn failed(result: usize) bool {
    return linux.errno(result) != .SUCCESS;
}

/// Reads the disposition of `signal`, and replaces it when `new` is given.
pub fn sigaction(signal: u32, new: ?*const Action, old: ?*Action) bool {
    const result = linux.syscall4(
        .rt_sigaction,
        signal,
        @intFromPtr(new),
        @intFromPtr(old),
        @sizeOf(u64),
    );
    return !failed(result);
}

pub fn signalMask() u64 {
    var mask: u64 = 0;
    _ = linux.syscall4(.rt_sigprocmask, sig_block, 0, @intFromPtr(&mask), @sizeOf(u64));
    return mask;
}

/// Whether the kernel can read the 8 bytes around `address`: it does before it looks at what to do
/// with them, and refuses that. The cheapest system call that takes a pointer and has no effect.
pub fn kernelCanRead(address: u64) bool {
    const no_such_operation = std.math.maxInt(u32);
    const word = address & ~@as(u64, 7);
    const result = linux.syscall4(.rt_sigprocmask, no_such_operation, word, 0, @sizeOf(u64));
    return linux.errno(result) != .FAULT;
}

pub fn setSignalMask(mask: u64) void {
    _ = linux.syscall4(.rt_sigprocmask, sig_setmask, @intFromPtr(&mask), 0, @sizeOf(u64));
}

pub fn sigaltstack(new: ?*const AlternateStack, old: ?*AlternateStack) bool {
    return !failed(linux.syscall2(.sigaltstack, @intFromPtr(new), @intFromPtr(old)));
}

pub fn processId() u32 {
    return @intCast(linux.syscall0(.getpid));
}

pub fn threadId() u32 {
    return @intCast(linux.syscall0(.gettid));
}

const futex_wait_private = 0 | 128;
const futex_wake_private = 1 | 128;

/// Sleeps while `word` holds `value`.
pub fn futexWait(word: *const u32, value: u32) void {
    _ = linux.syscall4(.futex, @intFromPtr(word), futex_wait_private, value, 0);
}

/// Wakes one thread that sleeps on `word`.
pub fn futexWake(word: *const u32) void {
    _ = linux.syscall3(.futex, @intFromPtr(word), futex_wake_private, 1);
}

pub fn yield() void {
    _ = linux.syscall0(.sched_yield);
}

/// Whether only rt_sigreturn puts everything back: with protection keys the kernel runs handlers
/// under other rights.
pub fn needsSigreturn() bool {
    return cpu.hasProtectionKeys();
}

/// Where XSAVE keeps the rights of protection keys; 0 when it does not.
pub fn protectionKeyOffset() u32 {
    return cpu.pkruOffset();
}

/// This thread's rights, where there are protection keys.
pub fn protectionKeyRights() u32 {
    return cpu.protectionKeyRights();
}

/// Whether this thread has a shadow stack.
pub fn shadowStackEnabled() bool {
    return cpu.shadowStackEnabled();
}

/// Queues `info` to this very thread again, as it was. The kernel allows any code to oneself.
pub fn requeue(signal: u32, info: *const Siginfo) bool {
    const result = linux.syscall4(
        .rt_tgsigqueueinfo,
        processId(),
        threadId(),
        signal,
        @intFromPtr(info),
    );
    return !failed(result);
}

/// `raise` without libc.
pub fn raise(signal: u32) void {
    _ = linux.syscall3(.tgkill, processId(), threadId(), signal);
}

/// No page is smaller.
pub const page_size_min = 4096;

/// The size of a page. Known when compiling on x86-64; 4, 16 or 64 KiB on arm64, as the kernel was
/// built.
pub inline fn pageSize() u64 {
    return cpu.pageSize();
}

pub const protection_none: u32 = 0;
pub const protection_read: u32 = 1;
pub const protection_write: u32 = 2;
pub const protection_execute: u32 = 4;
const map_shared: u32 = 0x01;
const map_private: u32 = 0x02;
const map_fixed: u32 = 0x10;
const map_anonymous: u32 = 0x20;
const map_noreserve: u32 = 0x4000;
const map_stack: u32 = 0x20000;

/// Fresh private memory, or null.
pub fn map(length: u64, protection: u32) ?u64 {
    const flags = map_private | map_anonymous | map_noreserve | map_stack;
    const result = linux.syscall6(.mmap, 0, length, protection, flags, @bitCast(@as(i64, -1)), 0);
    return if (failed(result)) null else result;
}

/// A private mapping of a file's first `length` bytes, read-only, or null.
pub fn mapFile(descriptor: u32, length: u64) ?u64 {
    const result = linux.syscall6(.mmap, 0, length, protection_read, map_shared, descriptor, 0);
    return if (failed(result)) null else result;
}

/// A mapping of `length` bytes of a file from `offset` on, readable and writable. What is written
/// gets into the file only when it is shared. The error is mmap's errno.
pub fn mapFileAt(
    descriptor: u32,
    offset: u64,
    length: u64,
    shared: bool,
    errno: *i32,
) ?u64 {
    const protection = protection_read | protection_write;
    // Without a reservation: a file may be larger than the memory that could hold it changed.
    const flags = if (shared) map_shared else map_private | map_noreserve;
    const result = linux.syscall6(.mmap, 0, length, protection, flags, descriptor, offset);
    errno.* = @backingInt(linux.errno(result));
    return if (failed(result)) null else result;
}

/// Fresh zeroed memory, readable and writable, in place of a whole range, without a reservation.
pub fn mapZeroes(address: u64, length: u64) bool {
    const protection = protection_read | protection_write;
    const flags = map_private | map_anonymous | map_fixed | map_noreserve;
    const none: usize = @bitCast(@as(i64, -1));
    return !failed(linux.syscall6(.mmap, address, length, protection, flags, none, 0));
}

/// Writes changed pages of a shared mapping to its file: the errno of msync, 0 when it succeeded.
pub fn synchronize(address: u64, length: u64) i32 {
    const wait_for_it = 4; // MS_SYNC
    const result = linux.syscall3(.msync, address, length, wait_for_it);
    return @backingInt(linux.errno(result));
}

/// Fresh zeroed memory in place of whatever is at `address`.
pub fn mapAt(address: u64, length: u64, protection: u32) bool {
    const flags = map_private | map_anonymous | map_fixed;
    const none: usize = @bitCast(@as(i64, -1));
    return !failed(linux.syscall6(.mmap, address, length, protection, flags, none, 0));
}

/// Moves a mapping over whatever is at `to`, in one step.
pub fn move(from: u64, length: u64, to: u64) bool {
    const may_move_to_fixed = 1 | 2; // MREMAP_MAYMOVE | MREMAP_FIXED
    return !failed(linux.syscall5(.mremap, from, length, length, may_move_to_fixed, to));
}

pub fn unmap(address: u64, length: u64) void {
    _ = linux.syscall2(.munmap, address, length);
}

pub fn protect(address: u64, length: u64, protection: u32) bool {
    return protectErrno(address, length, protection) == 0;
}

/// The errno of mprotect, 0 when it succeeded.
pub fn protectErrno(address: u64, length: u64, protection: u32) i32 {
    const result = linux.syscall3(.mprotect, address, length, protection);
    return @backingInt(linux.errno(result));
}

pub const enomem: i32 = @backingInt(linux.E.NOMEM);

/// A descriptor of an empty anonymous file, or null.
pub fn memfd(name: [*:0]const u8) ?u32 {
    const close_on_exec = 1;
    const result = linux.syscall2(.memfd_create, @intFromPtr(name), close_on_exec);
    return if (failed(result)) null else @intCast(result);
}

/// A descriptor for reading a file, or null.
pub fn openRead(path: [*:0]const u8) ?u32 {
    const at_working_directory: usize = @bitCast(@as(i64, -100));
    const close_on_exec = 0o2000000;
    const result = linux.syscall4(
        .openat,
        at_working_directory,
        @intFromPtr(path),
        close_on_exec,
        0,
    );
    return if (failed(result)) null else @intCast(result);
}

/// Bytes read, 0 at the end; null on an error.
pub fn read(descriptor: u32, into: []u8) ?usize {
    const result = linux.syscall3(.read, descriptor, @intFromPtr(into.ptr), into.len);
    return if (failed(result)) null else result;
}

/// Another descriptor of the same open file, closed on exec, or null.
pub fn duplicate(descriptor: u32) ?u32 {
    const duplicate_close_on_exec = 1030; // F_DUPFD_CLOEXEC
    const result = linux.syscall3(.fcntl, descriptor, duplicate_close_on_exec, 0);
    return if (failed(result)) null else @intCast(result);
}

/// The size of a file now, or null. Moves the descriptor's position, which nobody uses.
pub fn fileSize(descriptor: u32) ?u64 {
    const to_the_end = 2; // SEEK_END
    const result = linux.syscall3(.lseek, descriptor, 0, to_the_end);
    return if (failed(result)) null else result;
}

/// The result of an ioctl that takes a struct; negative errno on failure.
pub fn control(descriptor: u32, request: u32, argument: *anyopaque) i64 {
    return @bitCast(linux.syscall3(.ioctl, descriptor, request, @intFromPtr(argument)));
}

/// A descriptor by which page faults of user mode are looked after, or null where the system does
/// not allow it.
pub fn userfault() ?u32 {
    const user_mode_only = 1;
    const close_on_exec = 0o2000000;
    const do_not_block = 0o4000;
    const flags = user_mode_only | close_on_exec | do_not_block;
    const result = linux.syscall1(.userfaultfd, flags);
    return if (failed(result)) null else @intCast(result);
}

pub fn close(descriptor: u32) void {
    _ = linux.syscall1(.close, descriptor);
}

/// `struct perf_event_attr` of include/uapi/linux/perf_event.h, version 7, as far as a breakpoint
/// needs it.
const PerfAttributes = extern struct {
    kind: u32,
    size: u32 = @sizeOf(PerfAttributes),
    config: u64 = 0,
    sample_period: u64 = 1,
    sample_type: u64 = 0,
    read_format: u64 = 0,
    flags: u64,
    wakeup_events: u32 = 0,
    breakpoint_type: u32,
    breakpoint_address: u64,
    breakpoint_length: u64,
    _rest: [7]u64 = @splat(0),

    comptime {
        assert(@offsetOf(PerfAttributes, "breakpoint_address") == 56);
        assert(@sizeOf(PerfAttributes) == 128);
    }
};

/// Whether this thread may have a hardware breakpoint that raises SIGTRAP: 0 or a negative errno.
/// It is made for a write to `word`, disabled, and closed again.
pub fn tryPerfBreakpoint(word: *const u64) i32 {
    const kind_breakpoint = 5;
    const disabled = 1 << 0;
    const exclude_kernel = 1 << 5; // Without it, perf_event_paranoid 2 refuses.
    const exclude_hypervisor = 1 << 6;
    const remove_on_exec = 1 << 36; // The kernel wants it beside sigtrap.
    const raise_sigtrap = 1 << 37;
    const breakpoint_write = 2;
    const close_on_exec = 8;
    const attributes: PerfAttributes = .{
        .kind = kind_breakpoint,
        .flags = disabled | exclude_kernel | exclude_hypervisor | remove_on_exec | raise_sigtrap,
        .breakpoint_type = breakpoint_write,
        .breakpoint_address = @intFromPtr(word),
        .breakpoint_length = 8,
    };
    const none: usize = @bitCast(@as(i64, -1)); // Any CPU; no group.
    const address = @intFromPtr(&attributes);
    return closed(linux.syscall5(.perf_event_open, address, 0, none, none, close_on_exec));
}

/// Whether this process may have a userfaultfd: 0 or a negative errno.
pub fn tryUserfaultfd(user_mode_only: bool) i32 {
    const close_on_exec = 0o2000000;
    const user_mode: u64 = if (user_mode_only) 1 else 0;
    return closed(linux.syscall1(.userfaultfd, close_on_exec | user_mode));
}

/// Whether this process may have a file in memory: 0 or a negative errno.
pub fn tryMemoryFile() i32 {
    const close_on_exec = 1;
    return closed(linux.syscall2(.memfd_create, @intFromPtr("faultline probe"), close_on_exec));
}

/// Closes the descriptor that a system call gave. 0, or the call's negative errno.
fn closed(result: usize) i32 {
    if (failed(result)) return @intCast(@as(i64, @bitCast(result)));
    close(@intCast(result));
    return 0;
}

/// What the processor calls itself. Only where crash reports are.
pub fn identifyProcessor() cpu.Processor {
    return cpu.identify();
}

/// The kernel's release, cut to fit and with a zero behind it.
pub fn kernelRelease(into: []u8) void {
    var names: linux.utsname = undefined;
    @memset(into, 0);
    if (failed(linux.uname(&names))) return;
    const release = std.mem.sliceTo(&names.release, 0);
    const length = @min(release.len, into.len - 1);
    @memcpy(into[0..length], release[0..length]);
}
