//! Code that the tests of hooks interrupt. Everything that the tests must find whole afterwards is
//! in registers when it faults.

const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("fixture_x86_64.zig"),
    .aarch64 => @import("fixture_aarch64.zig"),
    else => @compileError("no fixture for this architecture yet"),
};

comptime {
    _ = switch (builtin.cpu.arch) {
        .x86_64 => @import("hooks_fixture_x86_64.zig"),
        .aarch64 => @import("hooks_fixture_aarch64.zig"),
        else => unreachable,
    };
}

fn readNull(_: u32) callconv(.c) void {
    machine.load(0);
}

/// Reads address 0 in a handler of SIGUSR2, which runs on the stack of this call.
export fn fh_fault_in_handler() i32 {
    const sigusr2 = 12;
    const action = [4]u64{ @intFromPtr(&readNull), 0x0400_0000, @intFromPtr(&machine.restorer), 0 };
    const set = linux.syscall4(.rt_sigaction, sigusr2, @intFromPtr(&action), 0, 8);
    if (set != 0) return -1;
    const process: usize = @intCast(linux.getpid());
    _ = linux.syscall3(.tgkill, process, @intCast(linux.gettid()), sigusr2);
    return 0;
}

/// Faults `count` times, each time with an instruction that a hook can skip: `machine.load_length`.
export fn fh_fault_often(count: u32) void {
    for (0..count) |_| machine.load(0);
}

// ---- Hooks in native code -----------------------------------------------------------------------

const Mode = enum(u64) { next, skip, protect, fault };

/// What `fh_hook` is told, and what it says.
const Told = extern struct {
    mode: Mode,
    /// Bytes to skip.
    length: u64,
    calls: u64,
    signal: u64,
    address: u64,
    ip: u64,
    thread: u64,
};

/// A hook for the action "call": its data points to a `Told`.
export fn fh_hook(info: *const linux.siginfo_t, context: *machine.Context, told: *Told) i32 {
    told.calls += 1;
    told.signal = @intCast(@backingInt(info.signo));
    told.address = @intFromPtr(info.fields.sigfault.addr);
    told.ip = context.ip;
    told.thread = @intCast(linux.gettid());
    switch (told.mode) {
        .next => return 0,
        .skip => context.ip += told.length,
        .protect => {
            const page = told.address & ~@as(u64, 4095);
            if (linux.syscall3(.mprotect, page, 4096, 3) != 0) return 0;
        },
        .fault => readNull(0),
    }
    return 1;
}

/// The data of the action "call" without a pointer: the number itself is noted.
var noted: u64 = 0;
export fn fh_note(_: *const anyopaque, _: *const anyopaque, data: u64) i32 {
    noted = data;
    return 0;
}
export fn fh_noted() u64 {
    return noted;
}

// ---- Threads ------------------------------------------------------------------------------------

const Task = extern struct { address: u64, count: u64, sum: u64, thread: u64 };

fn work(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const task: *Task = @ptrCast(@alignCast(argument));
    task.thread = @intCast(linux.gettid());
    for (0..task.count) |index| {
        const place: *volatile u8 = @ptrFromInt(task.address + 4096 * index);
        task.sum += place.*;
        place.* = 7;
    }
    return null;
}

/// Reads and writes the first byte of `count` pages on a thread of its own, which never attached.
export fn fh_on_thread(task: *Task) i32 {
    var thread: std.c.pthread_t = undefined;
    if (std.c.pthread_create(&thread, null, work, task) != .SUCCESS) return -1;
    _ = std.c.pthread_join(thread, null);
    return 0;
}

/// Sends this process a signal with a value, as sigqueue() does.
export fn fh_queue_self(signal: u32) i32 {
    var info: [128]u8 align(8) = @splat(0);
    std.mem.writeInt(i32, info[0..4], @intCast(signal), .little);
    std.mem.writeInt(i32, info[8..12], -1, .little); // SI_QUEUE
    const process: usize = @intCast(linux.getpid());
    const sent = linux.syscall3(.rt_sigqueueinfo, process, signal, @intFromPtr(&info));
    return @truncate(@as(i64, @bitCast(sent)));
}
