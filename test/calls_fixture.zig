//! What the tests of callbacks, other threads and exits call. Built for the tests only.

const std = @import("std");
const builtin = @import("builtin");

comptime {
    _ = switch (builtin.cpu.arch) {
        .x86_64 => @import("calls_fixture_x86_64.zig"),
        .aarch64 => @import("calls_fixture_aarch64.zig"),
        else => @compileError("no fixture for this architecture yet"),
    };
}

// ---- Callbacks ----------------------------------------------------------------------------------

/// `T cx_back_T(T (*function)(T), T value)`: what the function makes of the value.
fn Back(comptime T: type) type {
    return struct {
        fn call(function: *const fn (T) callconv(.c) T, value: T) callconv(.c) T {
            return function(value);
        }
    };
}

comptime {
    const types = .{
        .{ "bool", bool }, .{ "i8", i8 },   .{ "u8", u8 },   .{ "i16", i16 }, .{ "u16", u16 },
        .{ "i32", i32 },   .{ "u32", u32 }, .{ "i64", i64 }, .{ "u64", u64 }, .{ "f32", f32 },
        .{ "f64", f64 },
    };
    for (types) |entry| {
        @export(&Back(entry[1]).call, .{ .name = "cx_back_" ++ entry[0] });
    }
}

const Nullary = fn () callconv(.c) void;
const Unary = fn (i32) callconv(.c) i32;

/// Calls a `void ()`.
export fn cx_back_void(function: *const Nullary) void {
    function();
}

/// Calls `function(0)` to `function(count - 1)`, and adds up what they give.
export fn cx_back_sum(function: *const Unary, count: i32) i32 {
    var total: i32 = 0;
    var index: i32 = 0;
    while (index < count) : (index += 1) total +%= function(index);
    return total;
}

/// As `cx_back_sum`, into memory: what each call gave.
export fn cx_back_each(function: *const Unary, into: [*]i32, count: u32) void {
    for (into[0..count], 0..) |*place, index| place.* = function(@intCast(index));
}

const Mixed = fn (
    i8,
    u16,
    i32,
    u32,
    i64,
    u64,
    f32,
    f64,
    f64,
    f32,
    f64,
    f64,
    f64,
    f64,
    f64,
    f32,
    i8,
    u16,
    i64,
    f64,
    bool,
    u64,
) callconv(.c) f64;

/// Twenty-two arguments: every register, and eight words of stack.
export fn cx_back_mixed(function: *const Mixed) f64 {
    return function(
        -1,
        65535,
        -3,
        4_000_000_000,
        -5_000_000_000_000,
        0xffff_ffff_ffff_fff0,
        0.5,
        1.5,
        -2.5,
        4.25,
        5.5,
        6.5,
        -7.5,
        8.5,
        9.75,
        -10.25,
        -11,
        65524,
        -13,
        14.5,
        true,
        16,
    );
}

const U = u64;
const Words22 = fn (
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
) callconv(.c) U;
/// Sixteen words of stack: as much as a barrier passes on.
export fn cx_back_words22(function: *const Words22) u64 {
    return function(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22);
}

const Words26 = fn (
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
) callconv(.c) U;
/// Twenty words of stack.
export fn cx_back_words26(function: *const Words26) u64 {
    return @call(.auto, function, .{
        1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
        14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    });
}

/// Calls back, then reads `address`.
export fn cx_back_and_read(function: *const Unary, value: i32, address: u64) u64 {
    _ = function(value);
    return cx_load(address);
}

/// Reads memory before and after the callback, which must not have moved or freed it.
export fn cx_back_keeping(bytes: [*]const u8, length: u64, function: *const Nullary) u64 {
    const before = sum(bytes[0..length]);
    function();
    return if (sum(bytes[0..length]) == before) before else std.math.maxInt(u64);
}

fn sum(bytes: []const u8) u64 {
    var total: u64 = 0;
    for (bytes) |*byte| total += @as(*const volatile u8, byte).*;
    return total;
}

var kept: ?*const Unary = null;
/// Keeps a function for `cx_call_kept`.
export fn cx_keep(function: ?*const Unary) void {
    kept = function;
}
export fn cx_call_kept(value: i32) i32 {
    const function = kept orelse return -1;
    return function(value);
}

const Errand = struct { function: *const Unary, value: i32, result: i32 = -1 };

fn runErrand(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const errand: *Errand = @ptrCast(@alignCast(argument.?));
    errand.result = errand.function(errand.value);
    return null;
}

/// Calls back on a thread of its own, and gives what came back; -1 without a thread.
export fn cx_back_on_thread(function: *const Unary, value: i32) i32 {
    var errand: Errand = .{ .function = function, .value = value };
    var thread: std.c.pthread_t = undefined;
    if (std.c.pthread_create(&thread, null, runErrand, &errand) != .SUCCESS) return -1;
    _ = std.c.pthread_join(thread, null);
    return errand.result;
}

extern fn cx_load(address: u64) callconv(.c) u64;

// ---- Time and stack -----------------------------------------------------------------------------

/// Waits, then gives `value`.
export fn cx_sleep(milliseconds: u32, value: i64) i64 {
    sleep(milliseconds);
    return value;
}

/// Waits, then writes `value` to every byte.
export fn cx_sleep_and_fill(milliseconds: u32, bytes: [*]u8, length: u64, value: u8) void {
    sleep(milliseconds);
    @memset(bytes[0..length], value);
}

fn sleep(milliseconds: u32) void {
    const time: std.os.linux.timespec = .{
        .sec = milliseconds / 1000,
        .nsec = @as(isize, milliseconds % 1000) * 1_000_000,
    };
    _ = std.os.linux.nanosleep(&time, null);
}

/// Recurses without end.
export fn cx_overflow(depth: u64) u64 {
    var frame: [512]u8 = undefined;
    const first: *volatile u8 = &frame[depth % frame.len];
    first.* = 1;
    const below = cx_overflow(depth + 1);
    return below + first.*;
}
