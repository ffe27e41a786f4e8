//! Native code that reads and writes memory while the tests take it away, and the C way of noting
//! first writes. Built for the tests only.

const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("fixture_x86_64.zig"),
    .aarch64 => @import("fixture_aarch64.zig"),
    else => @compileError("no fixture for this architecture yet"),
};

const page_size = 4096;

// ---- Readers ------------------------------------------------------------------------------------

/// Reads one byte of each page, over and over, on a thread of its own.
const Reader = struct {
    address: u64,
    pages: u64,
    thread: std.c.pthread_t,
    stop: u32,
    rounds: u64,
    /// Bytes that were neither 0 nor `expected`.
    wrong: u64,
    expected: u8,
};
var readers: [4]Reader = undefined;

fn readPages(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const reader: *Reader = @ptrCast(@alignCast(argument.?));
    const bytes: [*]const volatile u8 = @ptrFromInt(reader.address);
    while (@atomicLoad(u32, &reader.stop, .acquire) == 0) {
        for (0..reader.pages) |page| {
            const byte = bytes[page * page_size];
            if (byte != 0 and byte != reader.expected) reader.wrong += 1;
        }
        _ = @atomicRmw(u64, &reader.rounds, .Add, 1, .release);
    }
    return null;
}
export fn fm_reader_start(index: u32, address: u64, pages: u64, expected: u8) i32 {
    const reader = &readers[index];
    reader.* = .{
        .address = address,
        .pages = pages,
        .thread = undefined,
        .stop = 0,
        .rounds = 0,
        .wrong = 0,
        .expected = expected,
    };
    return if (std.c.pthread_create(&reader.thread, null, readPages, reader) == .SUCCESS) 0 else -1;
}
export fn fm_reader_rounds(index: u32) u64 {
    return @atomicLoad(u64, &readers[index].rounds, .acquire);
}
/// Ends the thread and gives how many bytes were wrong.
export fn fm_reader_stop(index: u32) u64 {
    const reader = &readers[index];
    @atomicStore(u32, &reader.stop, 1, .release);
    _ = std.c.pthread_join(reader.thread, null);
    return reader.wrong;
}

/// The sum of one byte of each page.
export fn fm_sum_pages(address: u64, pages: u64) u64 {
    const bytes: [*]const volatile u8 = @ptrFromInt(address);
    var sum: u64 = 0;
    for (0..pages) |page| sum += bytes[page * page_size];
    return sum;
}
/// Truncates the file in the middle of reading it: the sum of one byte of each page.
export fn fm_truncate_and_sum(descriptor: i32, length: i64, address: u64, pages: u64) u64 {
    const bytes: [*]const volatile u8 = @ptrFromInt(address);
    var sum: u64 = 0;
    for (0..pages) |page| {
        if (page == pages / 2 and linux.ftruncate(descriptor, length) != 0) return 0;
        sum += bytes[page * page_size];
    }
    return sum;
}

// ---- Writers ------------------------------------------------------------------------------------

const Writer = struct {
    address: u64,
    pages: u64,
    thread: std.c.pthread_t,
    stop: u32,
    writes: u64,
    seed: u64,
    /// The word of the page that is this writer's own.
    word: u64,
};
var writers: [8]Writer = undefined;

/// Adds 1 to its word of some page, over and over.
fn writePages(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const writer: *Writer = @ptrCast(@alignCast(argument.?));
    while (@atomicLoad(u32, &writer.stop, .acquire) == 0) {
        var seed = writer.seed;
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        writer.seed = seed;
        const page = seed % writer.pages;
        const word: *volatile u64 = @ptrFromInt(writer.address + page * page_size + writer.word);
        word.* += 1;
        _ = @atomicRmw(u64, &writer.writes, .Add, 1, .release);
        if (seed & 7 == 0) _ = linux.syscall0(.sched_yield);
    }
    return null;
}
export fn fm_writers_start(count: u32, address: u64, pages: u64) i32 {
    for (writers[0..count], 0..) |*writer, index| {
        writer.* = .{
            .address = address,
            .pages = pages,
            .thread = undefined,
            .stop = 0,
            .writes = 0,
            .seed = 0x9e37_79b9_7f4a_7c15 *% (index + 1),
            .word = 8 * index,
        };
        if (std.c.pthread_create(&writer.thread, null, writePages, writer) != .SUCCESS) return -1;
    }
    return 0;
}
export fn fm_writers_written(count: u32) u64 {
    var sum: u64 = 0;
    for (writers[0..count]) |*writer| sum += @atomicLoad(u64, &writer.writes, .acquire);
    return sum;
}
export fn fm_writers_stop(count: u32) u64 {
    for (writers[0..count]) |*writer| @atomicStore(u32, &writer.stop, 1, .release);
    for (writers[0..count]) |*writer| _ = std.c.pthread_join(writer.thread, null);
    return fm_writers_written(count);
}

// ---- Memory that fails --------------------------------------------------------------------------

const Failure = extern struct {
    signal: i32,
    errno: i32,
    code: i32,
    _padding: i32,
    address: u64,
    bits: i16,
    _rest: [102]u8,
};

/// Has the kernel deliver to this thread what it would if memory had failed. The result of the
/// system call: 0 when the program went on.
export fn fm_fail(code: i32, address: u64, bits: i32) i32 {
    const sigbus = 7;
    var info = std.mem.zeroes(Failure);
    info.signal = sigbus;
    info.code = code;
    info.address = address;
    info.bits = @intCast(bits);
    const process: usize = @intCast(linux.getpid());
    const thread: usize = @intCast(linux.gettid());
    const result = linux.syscall4(.rt_tgsigqueueinfo, process, thread, sigbus, @intFromPtr(&info));
    return @truncate(@as(i64, @bitCast(result)));
}
/// The same before and after a read of the memory, to see what is there once it was dealt with.
export fn fm_fail_and_read(code: i32, address: u64, bits: i32) u64 {
    const word: *const volatile u64 = @ptrFromInt(address);
    const before = word.*;
    if (fm_fail(code, address, bits) != 0) return before;
    return word.*;
}

// ---- First writes, the C way --------------------------------------------------------------------

var noted_base: u64 = 0;
var noted: [4096]u8 = undefined;

fn noteWrite(_: u32, info: *const [4]u64, _: *anyopaque) callconv(.c) void {
    const page = info[2] & ~@as(u64, page_size - 1);
    noted[(page - noted_base) / page_size] = 1;
    _ = linux.syscall3(.mprotect, page, page_size, 3);
}

/// Writes one byte to each page: nanoseconds.
export fn fm_touch_pages(address: u64, pages: u64) f64 {
    const bytes: [*]volatile u8 = @ptrFromInt(address);
    const start = now();
    for (0..pages) |page| bytes[page * page_size] = 1;
    return now() - start;
}

/// The same with pages that the barest SIGSEGV handler there can be makes writable: nanoseconds,
/// or -1 when it did not note every page.
export fn fm_touch_noted(address: u64, pages: u64) f64 {
    const sigsegv = 11;
    const flags = 0x4 | 0x0800_0000 | 0x4000_0000 | 0x0400_0000;
    const action = [4]u64{ @intFromPtr(&noteWrite), flags, @intFromPtr(&machine.restorer), 0 };
    var old: [4]u64 = undefined;
    noted_base = address;
    @memset(noted[0..pages], 0);
    _ = linux.syscall3(.mprotect, address, pages * page_size, 1);
    _ = linux.syscall4(.rt_sigaction, sigsegv, @intFromPtr(&action), @intFromPtr(&old), 8);
    const time = fm_touch_pages(address, pages);
    _ = linux.syscall4(.rt_sigaction, sigsegv, @intFromPtr(&old), 0, 8);
    for (noted[0..pages]) |one| if (one != 1) return -1;
    return time;
}

fn now() f64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(f64, @floatFromInt(time.sec)) * 1e9 + @as(f64, @floatFromInt(time.nsec));
}
