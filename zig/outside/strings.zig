//! Reads memory that a user's library pointed to. Called through thunks: every load here may fault,
//! and the recovery point of the call is what makes that an exception.

const std = @import("std");
const assert = std.debug.assert;

const Block = @Vector(16, u8);
const block_zero: Block = @splat(0);

/// One load that the compiler neither repeats nor leaves out. Aligned to nothing.
fn load(comptime T: type, address: u64) T {
    const pointer: *allowzero align(1) const volatile T = @ptrFromInt(address);
    return pointer.*;
}

/// Bytes before the first zero at or after `address`. Never touches a page that the string does not
/// reach: single bytes up to the first whole block, and a block never crosses a page.
fn length(address: u64) u64 {
    var at = address;
    while (at % @sizeOf(Block) != 0) : (at +%= 1) {
        if (load(u8, at) == 0) return at -% address;
    }
    while (true) : (at +%= @sizeOf(Block)) {
        assert(at % @sizeOf(Block) == 0);
        const zeros = load(Block, at) == block_zero;
        if (std.simd.firstTrue(zeros)) |index| return at -% address + index;
    }
}

/// Copies as much of the string at `address` as fits, without its zero, and gives its whole length.
pub fn read(address: u64, into: []u8) u64 {
    const whole = length(address);
    const copied = @min(whole, into.len);
    if (copied > 0) @memcpy(into[0..copied], @as([*]const u8, @ptrFromInt(address))[0..copied]);
    return whole;
}

/// A value of 1, 2, 4 or 8 bytes, in the low bits. One load of that width.
pub fn value(address: u64, byte_length: u32) ?u64 {
    return switch (byte_length) {
        1 => load(u8, address),
        2 => load(u16, address),
        4 => load(u32, address),
        8 => load(u64, address),
        else => null,
    };
}

test "read gives the whole length and copies what fits" {
    const expect = std.testing.expect;
    const text: [*:0]const u8 = "0123456789abcdefghijklmnopqrstuvwxyz";
    const whole = std.mem.len(text);
    for (0..whole + 1) |start| {
        for ([_]usize{ 0, 1, 7, 63 }) |capacity| {
            var into: [64]u8 = @splat(0xff);
            try expect(read(@intFromPtr(text + start), into[0..capacity]) == whole - start);
            const copied = @min(capacity, whole - start);
            try expect(std.mem.eql(u8, into[0..copied], text[start..][0..copied]));
            try expect(into[copied] == 0xff);
        }
    }
}

test "value reads at any alignment, and refuses other widths" {
    const expect = std.testing.expect;
    const bytes = [_]u8{ 0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 };
    const address = @intFromPtr(&bytes) + 1;
    try expect(value(address, 1).? == 0x11);
    try expect(value(address, 2).? == 0x2211);
    try expect(value(address, 4).? == 0x44332211);
    try expect(value(address, 8).? == 0x8877665544332211);
    try expect(value(address, 3) == null);
    try expect(value(address, 0) == null);
}
