//! The slots: which function each thunk calls.

const std = @import("std");
const abi = @import("../abi.zig");
const trampoline = @import("../trampoline.zig").machine;
const signals = @import("../inside/signals.zig");
const threads = @import("../inside/threads.zig");
const install = @import("install.zig");
const lock = @import("lock.zig");

const table = &trampoline.fl_slots;
var open_count: u32 = 0;
/// Where the search for a free slot starts, so that filling the table is not quadratic.
var next: u32 = 0;

pub fn openCount() u32 {
    return @atomicLoad(u32, &open_count, .monotonic);
}

/// Takes a free slot for `target`; the index, or null when all are taken. The handlers are
/// installed by the first call, not here.
pub fn open(target: u64, caught: u32, raised: u32) ?u32 {
    const thread = threads.current() orelse return null;
    lock.acquire();
    defer lock.release();
    for (0..trampoline.slots_max) |distance| {
        const index: u32 = @intCast((next + distance) % trampoline.slots_max);
        const slot = &table[index];
        if (slot.owner != 0) continue;
        slot.target = target;
        slot.signals = caught;
        slot.raised = raised;
        slot.owner = thread.key;
        @atomicStore(u64, &slot.entry, trampoline.armEntry(), .release);
        next = (index + 1) % trampoline.slots_max;
        open_count += 1;
        return index;
    }
    return null;
}

/// Calls through the slot report "closed" from now on.
pub fn close(index: u32) void {
    @atomicStore(u64, &table[index].entry, trampoline.closedEntry(), .release);
}

/// Gives a closed slot back. The caller knows that nobody can call through it any more.
pub fn release(index: u32) void {
    lock.acquire();
    defer lock.release();
    free(&table[index]);
}

fn free(slot: *trampoline.Slot) void {
    if (slot.owner == 0) return;
    @atomicStore(u64, &slot.entry, trampoline.closedEntry(), .release);
    slot.owner = 0;
    slot.target = 0;
    open_count -= 1;
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
pub fn releaseOwned(key: u64) void {
    lock.acquire();
    defer lock.release();
    for (table) |*slot| {
        if (slot.owner == key) free(slot);
    }
}

/// Makes every open slot install the handlers again at its next call.
pub fn disarm() void {
    for (table) |*slot| {
        if (slot.owner == 0) continue;
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

test "a slot's whole life" {
    const expect = std.testing.expect;
    try expect(open(1, signals.mask_default, 0) == null); // Not attached.
    try expect(openCount() == 0);
    try expect(!inFlight(0));
}
