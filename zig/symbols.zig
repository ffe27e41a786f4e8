//! The symbols library: frames of an exception, and what is known about an address. It is opened
//! at the first look-up, and runs outside of signal handlers only.

const std = @import("std");
const abi = @import("abi.zig");
const lock = @import("outside/lock.zig");
const sys = @import("sys.zig").machine;
const interface = @import("symbols/interface.zig");
const lookup = @import("symbols/lookup.zig");
const modules = @import("symbols/modules.zig");
const unwind = @import("symbols/unwind.zig");

/// As in the main library: a failed check is a crash, and printing would pull in libc.
pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{
    .enable_segfault_handler = false,
    // Where pages have different sizes the standard library asks libc, which this one is without.
    .queryPageSize = pageSize,
};

fn pageSize() usize {
    return sys.pageSize();
}

const failed = -1;

/// Compared at load.
pub export fn fl_sym_version() u32 {
    return interface.version;
}

/// Notes which files are mapped where. What the other functions tell is as of the last call.
pub export fn fl_sym_refresh() void {
    lock.acquire();
    defer lock.release();
    modules.refresh();
}

/// Writes up to `capacity` frames of the exception, of `byte_length` bytes and 8-byte aligned.
/// How many, or -1 when it is damaged.
pub export fn fl_sym_unwind(
    exception: *const abi.Exception,
    byte_length: u32,
    into: [*]interface.Entry,
    capacity: u32,
) i32 {
    if (@intFromPtr(exception) % @alignOf(abi.Exception) != 0) return failed;
    if (byte_length < @sizeOf(abi.Exception)) return failed;
    lock.acquire();
    defer lock.release();
    const count = unwind.unwind(exception, byte_length, into[0..capacity]) orelse return failed;
    return @intCast(count);
}

/// Writes what is known about the code at `address`: `interface.Found` and what follows it. Its
/// length, or -1 when the address is in no file's code or the answer is longer than `capacity`.
/// With `functions` 0 only the module is looked up.
pub export fn fl_sym_lookup(address: u64, functions: u32, into: [*]u8, capacity: u32) i32 {
    lock.acquire();
    defer lock.release();
    const buffer = into[0..capacity];
    const length = lookup.lookup(address, functions != 0, buffer) orelse return failed;
    return @intCast(length);
}

test {
    _ = @import("symbols/cursor.zig");
    _ = @import("symbols/expression.zig");
}

/// What is told about the caller.
fn describedHere() interface.Found {
    var buffer: [64 * 1024]u8 align(8) = undefined;
    fl_sym_refresh();
    const length = fl_sym_lookup(@returnAddress() - 1, 1, &buffer, buffer.len);
    std.debug.assert(length > @sizeOf(interface.Found));
    return std.mem.bytesToValue(interface.Found, buffer[0..@sizeOf(interface.Found)]);
}

test "fl_sym_lookup describes this program, by checked code" {
    const found = describedHere();
    try std.testing.expect(found.function_count > 0);
    try std.testing.expect(found.symbol_address > found.module_base);
    var small: [16]u8 = undefined;
    try std.testing.expectEqual(-1, fl_sym_lookup(@returnAddress() - 1, 1, &small, small.len));
    try std.testing.expectEqual(-1, fl_sym_lookup(0, 1, &small, small.len));
}
