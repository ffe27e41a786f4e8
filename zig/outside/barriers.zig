//! The barriers in use: one for each function that was passed to native code as it was, and one for
//! each callback that was made for it.

const std = @import("std");
const abi = @import("../abi.zig");
const trampoline = @import("../trampoline.zig").machine;
const threads = @import("../inside/threads.zig");
const lock = @import("lock.zig");

const table = trampoline.barrier_table;
const barriers_max = trampoline.barriers_max;

/// When each callback's barrier was closed, 0 for one that is not. Native code may still hold the
/// address of a closed callback, so those closed longest ago are taken again first, and only when
/// no barrier is left that was never used.
var closed_at: [barriers_max]u32 = @splat(0);
var closings: u32 = 0;

/// The barrier in front of `function`, the same one each time; null when all are taken. It stays:
/// native code may keep its address and call it at any time.
pub fn of(function: u64) ?u64 {
    lock.acquire();
    defer lock.release();
    for (table, 0..) |*barrier, index| {
        if (barrier.target != function or barrier.owner != 0) continue;
        if (closed_at[index] == 0) return trampoline.barrierAddress(@intCast(index));
    }
    const index = vacant() orelse return null;
    use(index, function, 0);
    return trampoline.barrierAddress(index);
}

/// A barrier of its own for a callback of the running thread; null when all are taken.
pub fn open(function: u64) ?u64 {
    const thread = threads.current() orelse return null;
    lock.acquire();
    defer lock.release();
    const index = vacant() orelse return null;
    use(index, function, thread.key);
    return trampoline.barrierAddress(index);
}

fn use(index: u32, function: u64, owner: u64) void {
    closed_at[index] = 0;
    @atomicStore(u64, &table[index].owner, owner, .release);
    @atomicStore(u64, &table[index].target, function, .release);
}

fn vacant() ?u32 {
    var oldest: ?u32 = null;
    for (table, 0..) |*barrier, index| {
        if (barrier.target == 0) return @intCast(index);
        if (closed_at[index] == 0) continue;
        if (oldest == null or age(index) > age(oldest.?)) oldest = @intCast(index);
    }
    return oldest;
}

/// Closings since this one was closed.
fn age(index: usize) u32 {
    return closings -% closed_at[index];
}

fn indexOf(address: u64) ?u32 {
    const first = trampoline.barrierAddress(0);
    if (address < first or address > trampoline.barrierAddress(barriers_max - 1)) return null;
    return @intCast((address - first) / 16);
}

/// Whether `address` is a barrier already, as one that a library gave back is.
pub fn isBarrier(address: u64) bool {
    return indexOf(address) != null;
}

/// From now on the callback's barrier returns 0.
pub fn close(address: u64) void {
    const index = indexOf(address) orelse return;
    lock.acquire();
    defer lock.release();
    closeIndex(index);
}

fn closeIndex(index: u32) void {
    if (closed_at[index] != 0) return;
    @atomicStore(u64, &table[index].target, trampoline.returnZero(), .release);
    @atomicStore(u64, &table[index].owner, 0, .release);
    closings +%= 1;
    closed_at[index] = @max(closings, 1);
}

/// A thread ended: its callbacks can not run any more.
pub fn closeOwned(key: u64) void {
    lock.acquire();
    defer lock.release();
    for (table, 0..) |*barrier, index| {
        if (barrier.owner == key) closeIndex(@intCast(index));
    }
}

/// A callback was reached from a thread that does not own it. The guarded call of this thread that
/// led here is told; on a thread without one, the owner's, if it is in a guarded call.
fn foreignCallback(barrier: *const trampoline.Barrier) callconv(.c) void {
    if (threads.current()) |thread| {
        if (thread.local.guard != 0) return tell(thread);
    }
    const key = @atomicLoad(u64, &barrier.owner, .acquire);
    if (key == 0) return;
    lock.acquire();
    defer lock.release();
    const owner = threads.find(key) orelse return;
    if (owner.local.guard != 0) tell(owner);
}

fn tell(thread: *const threads.Thread) void {
    if (thread.record == 0) return;
    const record: *abi.ThreadRecord = @ptrFromInt(thread.record);
    _ = @cmpxchgStrong(abi.Pending, &record.pending, .none, .foreign, .release, .monotonic);
}

comptime {
    @export(&foreignCallback, .{ .name = "fl_foreign_callback", .visibility = .hidden });
}

test "of gives one barrier per function" {
    const first = of(0x1000).?;
    try std.testing.expectEqual(first, of(0x1000).?);
    try std.testing.expect(first != of(0x2000).?);
    try std.testing.expect(isBarrier(first));
    try std.testing.expect(!isBarrier(0x1000));
    close(first);
    try std.testing.expect(first != of(0x1000).?); // Quarantined while others are free.
}
