//! The barriers in use: one for each function that was passed to native code as a callback.

const std = @import("std");
const trampoline = @import("../trampoline.zig").machine;
const lock = @import("lock.zig");

const targets = trampoline.barrier_targets;

/// The barrier in front of `function`, the same one each time; null when all are taken. A barrier
/// stays: native code may keep its address and call it at any time.
pub fn of(function: u64) ?u64 {
    lock.acquire();
    defer lock.release();
    const start: u32 = @truncate((function >> 4) *% 0x9e37_79b1);
    for (0..trampoline.barriers_max) |distance| {
        const index: u32 = @intCast((start +% distance) % trampoline.barriers_max);
        if (targets[index] == 0) @atomicStore(u64, &targets[index], function, .release);
        if (targets[index] == function) return trampoline.barrierAddress(index);
    }
    return null;
}

/// Whether `address` is a barrier already, as one that a library gave back is.
pub fn isBarrier(address: u64) bool {
    const first = trampoline.barrierAddress(0);
    return address >= first and address <= trampoline.barrierAddress(trampoline.barriers_max - 1);
}

test "of gives one barrier per function" {
    const first = of(0x1000).?;
    try std.testing.expectEqual(first, of(0x1000).?);
    try std.testing.expect(first != of(0x2000).?);
    try std.testing.expect(isBarrier(first));
    try std.testing.expect(!isBarrier(0x1000));
}
