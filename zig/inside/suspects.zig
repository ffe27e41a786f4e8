//! Where the functions lie that leave the process in doubt when they are interrupted: allocators,
//! the dynamic loader, whatever holds a lock. The handler asks only whether the stack mentions one,
//! which takes no system call; whether it was really running is found out after the recovery.

const std = @import("std");
const codeAddress = @import("../frame.zig").machine.codeAddress;
const assert = std.debug.assert;

pub const Range = struct { start: u64, end: u64 };

pub const ranges_max = 160;

/// By their starts. Written once, before `count` is.
pub var ranges: [ranges_max]Range = undefined;
pub var count: usize = 0;

/// Index of the function that holds `address`.
pub fn find(address: u64) ?usize {
    const known = @atomicLoad(usize, &count, .acquire);
    if (known == 0 or address < ranges[0].start) return null;
    var first: usize = 0;
    var length = known;
    while (length > 1) {
        const half = length / 2;
        if (ranges[first + half].start <= address) {
            first += half;
            length -= half;
        } else length = half;
    }
    return if (address < ranges[first].end) first else null;
}

/// Whether one of `words` lies in such a function; true as long as none is known.
pub fn mentioned(words: []const u64) bool {
    const known = @atomicLoad(usize, &count, .acquire);
    if (known == 0) return true;
    const low = ranges[0].start;
    const span = ranges[known - 1].end - low;
    for (words) |word| {
        const address = codeAddress(word);
        if (address -% low < span and find(address) != null) return true;
    }
    return false;
}

test "find and mentioned know ranges by their edges" {
    const expectEqual = std.testing.expectEqual;
    const saved = .{ ranges, count };
    defer {
        ranges = saved[0];
        count = saved[1];
    }
    count = 0;
    try expectEqual(null, find(5));
    try expectEqual(true, mentioned(&.{5}));
    ranges[0..3].* = .{
        .{ .start = 10, .end = 20 }, .{ .start = 20, .end = 21 }, .{ .start = 30, .end = 40 },
    };
    count = 3;
    const table = [_]struct { u64, ?usize }{
        .{ 0, null }, .{ 9, null },  .{ 10, 0 },                      .{ 19, 0 },
        .{ 20, 1 },   .{ 21, null }, .{ 29, null },                   .{ 30, 2 },
        .{ 39, 2 },   .{ 40, null }, .{ std.math.maxInt(u64), null },
    };
    for (table) |row| {
        try expectEqual(row[1], find(row[0]));
        try expectEqual(row[1] != null, mentioned(&.{ 1, row[0] }));
    }
}
