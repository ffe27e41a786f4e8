//! The slots: which function each thunk calls. Wrappers that want the same share one.

const std = @import("std");
const abi = @import("../abi.zig");
const trampoline = @import("../trampoline.zig").machine;
const signals = @import("../inside/signals.zig");
const threads = @import("../inside/threads.zig");
const install = @import("install.zig");
const lock = @import("lock.zig");

const table = trampoline.slot_table;
const propagate_bit = trampoline.Slot.propagate_bit;
var open_count: u32 = 0;

/// What makes two wrappers' slots the same.
pub const Wanted = struct {
    target: u64,
    caught: u32,
    raised: u32,
    stack_bytes: u32,
    propagate: bool,

    fn matches(wanted: *const Wanted, slot: *const trampoline.Slot) bool {
        return slot.target == wanted.target and slot.signals == wanted.caught and
            slot.raised == wanted.raised and slot.stack_bytes == wanted.stack_bytes and
            slot.propagates() == wanted.propagate;
    }
};

pub fn openCount() u32 {
    return @atomicLoad(u32, &open_count, .monotonic);
}

/// A slot for `wanted`, shared or new; null when all are taken, or the thread is not attached. The
/// handlers are installed by the first call, not here.
pub fn open(wanted: Wanted) ?u32 {
    const thread = threads.current() orelse return null;
    threads.note(thread);
    lock.acquire();
    defer lock.release();
    const index = find(&wanted) orelse return null;
    if (thread.holds[index] == std.math.maxInt(u16)) return null;
    const slot = &table[index];
    if (slot.state == 0) {
        slot.target = wanted.target;
        slot.signals = wanted.caught;
        slot.raised = wanted.raised;
        slot.stack_bytes = wanted.stack_bytes;
        slot.state = if (wanted.propagate) propagate_bit else 0;
        @atomicStore(u64, &slot.entry, trampoline.armEntry(), .release);
    }
    slot.state += 1;
    thread.holds[index] += 1;
    open_count += 1;
    return index;
}

/// The slot that matches, else the first free one of the pool.
fn find(wanted: *const Wanted) ?u32 {
    const with_stack = wanted.stack_bytes != 0;
    const first: u32 = if (with_stack) trampoline.first_stack_slot else 0;
    const end: u32 = if (with_stack) trampoline.slots_max else trampoline.first_stack_slot;
    var free: ?u32 = null;
    for (first..end) |index| {
        const slot = &table[index];
        if (slot.state == 0) {
            if (free == null) free = @intCast(index);
        } else if (wanted.matches(slot)) return @intCast(index);
    }
    return free;
}

/// Drops one use of a slot by the running thread. The caller knows that the wrapper can not be
/// called any more, and that no call of it is open.
pub fn release(index: u32) void {
    const thread = threads.current() orelse return;
    lock.acquire();
    defer lock.release();
    if (thread.holds[index] == 0) return;
    thread.holds[index] -= 1;
    drop(&table[index], 1);
}

fn drop(slot: *trampoline.Slot, uses: u32) void {
    slot.state -= uses;
    open_count -= uses;
    if (slot.state & ~propagate_bit != 0) return;
    @atomicStore(u64, &slot.entry, trampoline.closedEntry(), .release);
    slot.state = 0;
    slot.target = 0;
}

/// Whether a call through the slot is open on the running thread.
pub fn inFlight(index: u32) bool {
    const thread = threads.current() orelse return false;
    var guard = thread.local.guard;
    while (guard != 0) {
        if (guard & trampoline.ThreadLocal.barrier_bit != 0) {
            const enclosing: *const u64 = @ptrFromInt(guard - trampoline.ThreadLocal.barrier_bit);
            guard = enclosing.*;
            continue;
        }
        const point: *const trampoline.RecoveryFrame = @ptrFromInt(guard);
        if (point.slot == @intFromPtr(&table[index])) return true;
        guard = point.previous;
    }
    return false;
}

/// A thread ended: its wrappers are gone with it.
pub fn releaseHeld(thread: *threads.Thread) void {
    lock.acquire();
    defer lock.release();
    for (&thread.holds, table) |*held, *slot| {
        if (held.* != 0) drop(slot, held.*);
        held.* = 0;
    }
}

/// Makes every open slot install the handlers again at its next call.
pub fn disarm() void {
    for (table) |*slot| {
        if (slot.state == 0) continue;
        const target = slot.target;
        _ = @cmpxchgStrong(u64, &slot.entry, target, trampoline.armEntry(), .release, .monotonic);
    }
}

/// Called by the stub `fl_arm`, in place of the target, before it.
fn armSlot(slot: *trampoline.Slot) callconv(.c) void {
    // A failure leaves the stub in place: the call runs unguarded, as it would without us, and the
    // next one tries again. It takes a system call filter to get there.
    if (install.install(slot.signals | slot.raised) != .ok) return;
    const stub = trampoline.armEntry();
    _ = @cmpxchgStrong(u64, &slot.entry, stub, slot.target, .release, .monotonic);
}

comptime {
    @export(&armSlot, .{ .name = "fl_arm_slot", .visibility = .hidden });
}

test "a thread that never attached gets no slot" {
    const expect = std.testing.expect;
    const wanted: Wanted = .{
        .target = 1,
        .caught = signals.mask_default,
        .raised = 0,
        .stack_bytes = 0,
        .propagate = false,
    };
    try expect(open(wanted) == null);
    try expect(openCount() == 0);
    try expect(!inFlight(0));
}
