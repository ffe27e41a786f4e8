//! The attached threads, found by thread pointer without touching thread-local storage.
//!
//! A signal handler may run on a thread that has never heard of this library, and the first touch
//! of a thread-local may allocate. So the handler looks itself up here: one register, one probe of
//! an open-addressed table. Only a thread itself adds, changes and removes its entry, so that a
//! lookup of one's own entry needs no ordering beyond the key's.

const std = @import("std");
const abi = @import("../abi.zig");
const frame = @import("../frame.zig").machine;
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const assert = std.debug.assert;

pub const threads_max = 1024;

const key_free = 0;
const key_removed = 1;
const key_claimed = 2;

pub const Thread = struct {
    key: u64 = key_free,
    local: *trampoline.ThreadLocal,
    record: u64,
    process_id: u32,
    thread_id: u32,
    stack_low: u64,
    stack_high: u64,
    stack_guard: u64,
    /// Slot of the call block that runs on this thread; 0 when none does.
    block_slot: u64 = 0,
    /// How many wrappers of this thread use each slot. Dropped when the thread ends.
    holds: [trampoline.slots_max]u16 = @splat(0),
    /// The signal mask at attach, which a recovery restores.
    signal_mask: u64,
    /// The rights of protection keys at attach, which a recovery restores; 0 without keys.
    key_rights: u32 = 0,
    /// The alternate stack, and whether it is ours to free.
    alternate_base: u64,
    alternate_length: u64,
    alternate_owned: bool,
    /// Set while our own code handles an exception on this thread.
    busy: bool,
    unclaimed: Unclaimed,
    progress: Progress = .{},
    /// The exception that hooks have seen and want to be passed on when it comes again.
    passing: Passing = .{},
    /// The hook that runs on this thread, and those below it.
    running: ?*const Running = null,
    /// The lowest stack pointer at which JavaScript has been seen to run; 0 when nobody tried.
    /// Engines end their stacks above the system's end.
    script_low: u64 = 0,
    /// A hook asked for single steps.
    stepping: bool = false,
};

/// A JavaScript hook that runs, and the one that it interrupted.
pub const Running = extern struct { outer: ?*const Running, hook: u64, depth: u32 };

/// The last exception that a hook mended, to notice that it never stays so.
pub const Progress = struct {
    instruction_pointer: u64 = 0,
    address: u64 = 0,
    digest: u64 = 0,
    guard: u64 = 0,
    stack: u64 = 0,
    repeats: u32 = 0,
};

pub const Passing = struct { signal: u32 = 0, instruction_pointer: u64 = 0, digest: u64 = 0 };

/// The last exception that nobody took, to notice that nothing ever changes.
pub const Unclaimed = struct {
    instruction_pointer: u64 = 0,
    address: u64 = 0,
    digest: u64 = 0,
    repeats: u32 = 0,
};

var table: [threads_max]Thread = undefined;
/// Apart from the entries, so that it starts as zero pages.
var keys: [threads_max]u64 = @splat(key_free);
var count: u32 = 0;

fn firstIndex(key: u64) usize {
    // Thread control blocks are at least 64 bytes apart and mostly pages apart.
    return @intCast(((key >> 6) *% 0x9e37_79b9_7f4a_7c15) >> (64 - 10));
}

comptime {
    assert(threads_max == 1 << 10); // The shift above.
}

/// The entry of the running thread, or null when it never attached.
pub fn current() ?*Thread {
    const key = trampoline.threadPointer();
    var index = firstIndex(key);
    for (0..threads_max) |_| {
        const found = @atomicLoad(u64, &keys[index], .acquire);
        if (found == key) return &table[index];
        if (found == key_free) return null;
        index = (index + 1) % threads_max;
    }
    return null;
}

/// The entry of another thread, by its key. Outside the handler only, under the lock that the end
/// of a thread takes.
pub fn find(key: u64) ?*Thread {
    for (&keys, &table) |*place, *thread| {
        if (@atomicLoad(u64, place, .acquire) == key) return thread;
    }
    return null;
}

/// Adds the running thread, which must not be in the table. Null when the table is full.
pub fn add(thread: Thread) ?*Thread {
    const key = trampoline.threadPointer();
    assert(key > key_claimed);
    var index = firstIndex(key);
    for (0..threads_max) |_| {
        const found = @atomicLoad(u64, &keys[index], .monotonic);
        if (found == key_free or found == key_removed) {
            const place = &keys[index];
            if (@cmpxchgStrong(u64, place, found, key_claimed, .acquire, .monotonic) == null) {
                table[index] = thread;
                table[index].key = key;
                @atomicStore(u64, place, key, .release);
                _ = @atomicRmw(u32, &count, .Add, 1, .monotonic);
                return &table[index];
            }
        }
        index = (index + 1) % threads_max;
    }
    return null;
}

/// Removes the running thread's entry. The slot stays a tombstone, so that lookups go past it.
pub fn remove(thread: *Thread) void {
    assert(thread.key == trampoline.threadPointer());
    const index = (@intFromPtr(thread) - @intFromPtr(&table)) / @sizeOf(Thread);
    _ = @atomicRmw(u32, &count, .Sub, 1, .monotonic);
    @atomicStore(u64, &keys[index], key_removed, .release);
}

/// Notes what a recovery of the running thread puts back. Whoever opened a library, or called one
/// before, may have changed it for good.
pub fn note(thread: *Thread) void {
    thread.signal_mask = sys.signalMask();
    if (frame.hasKeyRights()) thread.key_rights = sys.protectionKeyRights();
}

var caught_count: u64 = 0;

pub fn countCaught() void {
    _ = @atomicRmw(u64, &caught_count, .Add, 1, .monotonic);
}

/// Exceptions that ended in a recovery, on all threads.
pub fn caught() u64 {
    return @atomicLoad(u64, &caught_count, .monotonic);
}

pub fn attachedCount() u32 {
    return @atomicLoad(u32, &count, .monotonic);
}

test "add and remove find the running thread and leave a tombstone that others look past" {
    try std.testing.expect(current() == null);
    var local: trampoline.ThreadLocal = .{ .guard = 0, .record = 0 };
    const entry = add(.{
        .local = &local,
        .record = 0,
        .process_id = 1,
        .thread_id = 2,
        .stack_low = 0,
        .stack_high = 0,
        .stack_guard = 0,
        .signal_mask = 0,
        .alternate_base = 0,
        .alternate_length = 0,
        .alternate_owned = false,
        .busy = false,
        .unclaimed = .{},
    }).?;
    try std.testing.expectEqual(entry, current().?);
    try std.testing.expectEqual(1, attachedCount());
    remove(entry);
    try std.testing.expect(current() == null);
    try std.testing.expectEqual(0, attachedCount());
}
