//! Raw system calls of Linux that crash reports need: files, clocks, timers, other threads.
//!
//! Layouts: Linux include/uapi/asm-generic/fcntl.h, arch/arm64/include/uapi/asm/fcntl.h,
//! include/uapi/linux/time_types.h, include/uapi/asm-generic/siginfo.h (`struct sigevent`),
//! include/linux/dirent.h (`struct linux_dirent64`), include/uapi/linux/ptrace.h,
//! include/uapi/asm-generic/poll.h.

const builtin = @import("builtin");
const std = @import("std");
const linux = std.os.linux;
const assert = std.debug.assert;

fn failed(result: usize) bool {
    return linux.errno(result) != .SUCCESS;
}

/// The working directory, where a directory's descriptor is asked for.
pub const working_directory: i32 = -100;

const open_write_new = 0o1 | 0o100 | 0o200; // O_WRONLY | O_CREAT | O_EXCL
const open_write = 0o1 | 0o100 | 0o1000; // O_WRONLY | O_CREAT | O_TRUNC
const close_on_exec = 0o2000000;
const directory_only = switch (builtin.cpu.arch) {
    .aarch64 => 0o40000,
    else => 0o200000,
};

fn descriptorArgument(directory: i32) usize {
    return @bitCast(@as(i64, directory));
}

/// Opens a file that must not exist yet, for writing by this user alone.
pub fn createFile(directory: i32, name: [*:0]const u8) ?u32 {
    return open(directory, name, open_write_new | close_on_exec);
}

/// Opens a file for writing, emptied when it exists.
pub fn replaceFile(directory: i32, name: [*:0]const u8) ?u32 {
    return open(directory, name, open_write | close_on_exec);
}

/// Opens a file for reading.
pub fn openRead(directory: i32, name: [*:0]const u8) ?u32 {
    return open(directory, name, close_on_exec);
}

pub fn openDirectory(directory: i32, name: [*:0]const u8) ?u32 {
    return open(directory, name, directory_only | close_on_exec);
}

fn open(directory: i32, name: [*:0]const u8, flags: usize) ?u32 {
    const mode = 0o600;
    const result = linux.syscall4(
        .openat,
        descriptorArgument(directory),
        @intFromPtr(name),
        flags,
        mode,
    );
    return if (failed(result)) null else @intCast(result);
}

/// Writes all of `bytes`; false when the system took less.
pub fn writeAll(descriptor: u32, bytes: []const u8) bool {
    var rest = bytes;
    while (rest.len > 0) {
        const result = linux.syscall3(.write, descriptor, @intFromPtr(rest.ptr), rest.len);
        switch (linux.errno(result)) {
            .SUCCESS => rest = rest[result..],
            .INTR => {},
            else => return false,
        }
        if (result == 0) return false;
    }
    return true;
}

pub fn rename(directory: i32, from: [*:0]const u8, to: [*:0]const u8) bool {
    const at = descriptorArgument(directory);
    const result = linux.syscall5(.renameat2, at, @intFromPtr(from), at, @intFromPtr(to), 0);
    return !failed(result);
}

pub fn remove(directory: i32, name: [*:0]const u8) void {
    _ = linux.syscall3(.unlinkat, descriptorArgument(directory), @intFromPtr(name), 0);
}

/// Entries of an open directory, as many as fit; 0 at the end.
pub fn readDirectory(descriptor: u32, into: []u8) usize {
    const result = linux.syscall3(.getdents64, descriptor, @intFromPtr(into.ptr), into.len);
    return if (failed(result)) 0 else result;
}

/// Goes through what `readDirectory` gave.
pub const Entries = struct {
    bytes: []const u8,

    pub fn next(entries: *Entries) ?[:0]const u8 {
        const name_at = 19;
        if (entries.bytes.len <= name_at) return null;
        const length = std.mem.readInt(u16, entries.bytes[16..18], .little);
        if (length <= name_at or length > entries.bytes.len) return null;
        const text = entries.bytes[name_at..length];
        const end = std.mem.indexOfScalar(u8, text, 0) orelse return null;
        entries.bytes = entries.bytes[length..];
        return text[0..end :0];
    }
};

/// Another descriptor for the same file, numbered out of the way of programs that count on low
/// numbers.
pub fn duplicate(descriptor: u32) ?u32 {
    const duplicate_close_on_exec = 1030; // F_DUPFD_CLOEXEC
    const lowest = 100;
    const result = linux.syscall3(.fcntl, descriptor, duplicate_close_on_exec, lowest);
    return if (failed(result)) null else @intCast(result);
}

const Poll = extern struct { descriptor: i32, events: i16, returned: i16 };

/// Waits until a write to the descriptor would not block; false when that takes too long.
pub fn waitWritable(descriptor: u32, milliseconds: u32) bool {
    const writable = 4; // POLLOUT
    var wanted: Poll = .{ .descriptor = @intCast(descriptor), .events = writable, .returned = 0 };
    const time: Time = .of(@as(u64, milliseconds) * 1_000_000);
    const result = linux.syscall5(.ppoll, @intFromPtr(&wanted), 1, @intFromPtr(&time), 0, 8);
    return !failed(result) and result == 1 and wanted.returned & writable != 0;
}

/// `struct __kernel_timespec`.
pub const Time = extern struct {
    seconds: i64 = 0,
    nanoseconds: i64 = 0,

    const second = 1_000_000_000;

    pub fn of(nanoseconds: u64) Time {
        return .{
            .seconds = @intCast(nanoseconds / second),
            .nanoseconds = @intCast(nanoseconds % second),
        };
    }

    pub fn total(time: Time) u64 {
        return @as(u64, @intCast(time.seconds)) * second + @as(u64, @intCast(time.nanoseconds));
    }
};

pub const clock_realtime = 0;
pub const clock_monotonic = 1;

/// Nanoseconds of a clock.
pub fn now(clock: u32) u64 {
    var time: Time = .{};
    _ = linux.syscall2(.clock_gettime, clock, @intFromPtr(&time));
    return time.total();
}

pub fn sleep(nanoseconds: u64) void {
    const time: Time = .of(nanoseconds);
    _ = linux.syscall4(.clock_nanosleep, clock_monotonic, 0, @intFromPtr(&time), 0);
}

/// `struct sigevent` with SIGEV_THREAD_ID.
const Event = extern struct {
    value: u64,
    signal: u32,
    notify: u32 = 4,
    thread: u32,
    _padding: [44]u8 = @splat(0),

    comptime {
        assert(@sizeOf(Event) == 64);
    }
};
const Interval = extern struct { interval: Time = .{}, value: Time };

/// A timer that sends `signal` with `value` to one thread. null when the system refuses.
pub fn makeTimer(thread: u32, signal: u32, value: u64) ?u32 {
    var event: Event = .{ .value = value, .signal = signal, .thread = thread };
    var timer: u32 = 0;
    const made = linux.syscall3(
        .timer_create,
        clock_monotonic,
        @intFromPtr(&event),
        @intFromPtr(&timer),
    );
    return if (failed(made)) null else timer;
}

/// Lets a timer go off once, later; 0 stops it.
pub fn setTimer(timer: u32, nanoseconds: u64) void {
    const setting: Interval = .{ .value = .of(nanoseconds) };
    _ = linux.syscall4(.timer_settime, timer, 0, @intFromPtr(&setting), 0);
}

pub fn stopTimer(timer: u32) void {
    _ = linux.syscall1(.timer_delete, timer);
}

/// `si_code` of what a timer sends.
pub const si_timer = -2;

pub fn exitProcess(status: u32) noreturn {
    while (true) _ = linux.syscall1(.exit_group, status);
}

pub fn kill(process: u32, signal: u32) void {
    _ = linux.syscall2(.kill, process, signal);
}

/// The system in one line: its name, release, version and machine. How much of it fits.
pub fn systemName(into: []u8) u32 {
    var names: linux.utsname = undefined;
    if (failed(linux.uname(&names))) return 0;
    var used: usize = 0;
    inline for (.{ &names.sysname, &names.release, &names.version, &names.machine }) |name| {
        const text = std.mem.sliceTo(name, 0);
        const gap = @intFromBool(used > 0);
        if (used + gap + text.len <= into.len) {
            if (gap > 0) into[used] = ' ';
            @memcpy(into[used + gap ..][0..text.len], text);
            used += gap + text.len;
        }
    }
    return @intCast(used);
}

/// How many processors this process may run on; 0 when the system does not say.
pub fn processorCount() u32 {
    var set: [128]u64 = @splat(0);
    const result = linux.syscall3(.sched_getaffinity, 0, @sizeOf(@TypeOf(set)), @intFromPtr(&set));
    if (failed(result)) return 0;
    var count: u32 = 0;
    for (set[0 .. result / 8]) |word| count += @popCount(word);
    return count;
}

pub const sigkill = 9;
pub const sigusr1 = 10;
pub const sigusr2 = 12;

/// Where a symbolic link leads, cut to fit: its length.
pub fn readLink(path: [*:0]const u8, into: []u8) u32 {
    const result = linux.syscall4(
        .readlinkat,
        descriptorArgument(working_directory),
        @intFromPtr(path),
        @intFromPtr(into.ptr),
        into.len,
    );
    return if (failed(result)) 0 else @intCast(result);
}

/// Fresh memory that copies of this process share.
pub fn mapShared(length: u64) ?u64 {
    const read_and_write = 3;
    const shared_anonymous = 0x01 | 0x20;
    const none: usize = @bitCast(@as(i64, -1));
    const result = linux.syscall6(.mmap, 0, length, read_and_write, shared_anonymous, none, 0);
    return if (failed(result)) null else result;
}

/// SIGPIPE and SIGXFSZ, bit n-1 for signal n.
pub const write_signals: u64 = 1 << 12 | 1 << 24;

/// Signals that wait until they are let through.
pub fn pendingSignals() u64 {
    var set: u64 = 0;
    _ = linux.syscall2(.rt_sigpending, @intFromPtr(&set), @sizeOf(u64));
    return set;
}

/// Takes signals of `set` that are pending, without effect. They must be blocked.
pub fn dropSignals(set: u64) void {
    const no_time: Time = .{};
    const all = 64;
    for (0..all) |_| {
        const result = linux.syscall4(
            .rt_sigtimedwait,
            @intFromPtr(&set),
            0,
            @intFromPtr(&no_time),
            @sizeOf(u64),
        );
        if (failed(result)) return;
    }
}
