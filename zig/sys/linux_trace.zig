//! Raw system calls of Linux by which a helper process looks at the threads of another one.
//!
//! Layouts: Linux include/uapi/linux/ptrace.h, include/uapi/linux/sched.h, include/uapi/linux/
//! wait.h, include/uapi/linux/prctl.h, include/uapi/linux/futex.h.

const std = @import("std");
const linux = std.os.linux;
const Time = @import("linux_report.zig").Time;

fn failed(result: usize) bool {
    return linux.errno(result) != .SUCCESS;
}

const clone_vm = 0x100;
const clone_files = 0x400;
const clone_untraced = 0x80_0000;
const clone_child_cleartid = 0x20_0000;

/// Starts a process that shares this one's memory, without a signal at its end: the program does
/// not notice it. It runs `function` on the stack that ends at `stack`; `running` becomes 0 when it
/// is over. Its id; null when the system refuses.
pub fn startHelper(
    function: *const fn (argument: usize) callconv(.c) u8,
    argument: usize,
    stack: u64,
    running: *i32,
) ?u32 {
    const flags = clone_vm | clone_files | clone_untraced | clone_child_cleartid;
    const result = linux.clone(function, stack, flags, argument, null, 0, running);
    return if (failed(result)) null else @intCast(result);
}

/// Starts a process with a copy of this one's memory, likewise. The kernel tells nobody when it is
/// over.
pub fn startCopy(
    function: *const fn (argument: usize) callconv(.c) u8,
    argument: usize,
    stack: u64,
) ?u32 {
    const result = linux.clone(function, stack, clone_untraced, argument, null, 0, null);
    return if (failed(result)) null else @intCast(result);
}

/// Sleeps while `word` holds `value`, for a time.
pub fn waitFor(word: *const i32, value: i32, nanoseconds: u64) void {
    const futex_wait = 0; // The kernel wakes who waits for the end of a process this way.
    const time: Time = .of(nanoseconds);
    _ = linux.syscall4(
        .futex,
        @intFromPtr(word),
        futex_wait,
        @as(u32, @bitCast(value)),
        @intFromPtr(&time),
    );
}

pub fn wake(word: *const i32) void {
    const futex_wake = 1;
    _ = linux.syscall3(.futex, @intFromPtr(word), futex_wake, 1);
}

const wait_all = 0x4000_0000; // __WALL
const wait_no_hang = 1;

/// Takes note of a helper's end.
pub fn reap(process: u32) void {
    var status: i32 = 0;
    _ = linux.syscall4(.wait4, process, @intFromPtr(&status), wait_all, 0);
}

/// Takes note of a helper's end, if it has ended.
pub fn hasEnded(process: u32) bool {
    return stopped(process) != null;
}

/// The status of a traced thread that stopped; null when it has not.
pub fn stopped(thread: u32) ?i32 {
    var status: i32 = 0;
    const flags = wait_all | wait_no_hang;
    const result = linux.syscall4(.wait4, thread, @intFromPtr(&status), flags, 0);
    return if (failed(result) or result == 0) null else status;
}

/// The signal that a stopped thread is about to get; 0 for a stop that we asked for. null when it
/// did not stop but end.
pub fn signalOf(status: i32) ?u32 {
    if (status & 0xff != 0x7f) return null;
    const event_stop = 128; // PTRACE_EVENT_STOP
    const event = status >> 16;
    return if (event == event_stop) 0 else @intCast(status >> 8 & 0xff);
}

/// Lets `process` trace this one where the Yama module restricts that.
pub fn allowTracer(process: u32) void {
    const set_tracer = 0x5961_6d61; // PR_SET_PTRACER
    _ = linux.syscall5(.prctl, set_tracer, process, 0, 0, 0);
}

pub const SeizeResult = enum { done, gone, refused };

pub fn seize(thread: u32) SeizeResult {
    const result = linux.syscall4(.ptrace, 0x4206, thread, 0, 0);
    return switch (linux.errno(result)) {
        .SUCCESS => .done,
        .SRCH => .gone,
        else => .refused,
    };
}

pub fn interrupt(thread: u32) void {
    _ = linux.syscall4(.ptrace, 0x4207, thread, 0, 0);
}

pub fn detach(thread: u32, signal: u32) void {
    _ = linux.syscall4(.ptrace, 17, thread, 0, signal);
}

/// Reads a stopped thread's general registers; false when that does not work.
pub fn readRegisters(thread: u32, into: []u8) bool {
    const registers_set = 1; // NT_PRSTATUS
    var vector: extern struct { base: u64, length: u64 } = .{
        .base = @intFromPtr(into.ptr),
        .length = into.len,
    };
    const result = linux.syscall4(.ptrace, 0x4204, thread, registers_set, @intFromPtr(&vector));
    return !failed(result) and vector.length == into.len;
}
