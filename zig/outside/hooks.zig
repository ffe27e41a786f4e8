//! Adds hooks and takes them away.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const dispatch = @import("../inside/dispatch.zig");
const inside = @import("../inside/hooks.zig");
const threads = @import("../inside/threads.zig");
const install = @import("install.zig");
const lock = @import("lock.zig");
const assert = std.debug.assert;

const table = &inside.table;
var last_id: u64 = 0;

/// A new hook in front of all others, and the handlers of its signals: its index, or a negative
/// status. `id` gets what tells it from others that had the same index.
pub fn add(request: *const abi.HookRequest, id: *u64) i32 {
    // Until the hook is in the list: whoever removes another one must not take the handlers away.
    lock.acquire();
    defer lock.release();
    const installed = install.installForHooks(request.signals);
    if (installed != .ok) return @backingInt(installed);
    const index = vacant() orelse return @backingInt(abi.Status.no_free_slot);
    const hook = &table[index];
    var fill: u64 = 0;
    if (request.kind == .map and request.fill_length != 0) {
        const pattern: [*]const u8 = @ptrFromInt(request.fill);
        fill = pageOf(pattern[0..request.fill_length]) orelse {
            return @backingInt(abi.Status.no_memory);
        };
    }
    last_id += 1;
    hook.* = .{
        .next = null,
        .id = last_id,
        .hits = 0,
        .removed = false,
        .thread = if (request.this_thread != 0) trampoline.threadPointer() else 0,
        .fill = fill,
        .request = request.*,
    };
    id.* = last_id;
    inside.publish(hook);
    return @intCast(index);
}

/// A page that repeats `pattern`.
fn pageOf(pattern: []const u8) ?u64 {
    assert(pattern.len != 0);
    const page = sys.map(sys.pageSize(), sys.protection_read | sys.protection_write) orelse {
        return null;
    };
    const bytes: [*]u8 = @ptrFromInt(page);
    for (bytes[0..sys.pageSize()], 0..) |*byte, index| byte.* = pattern[index % pattern.len];
    return page;
}

/// An entry that is free, or that was removed and that nobody is looking at any more.
fn vacant() ?u32 {
    for (table, 0..) |*hook, index| {
        if (hook.id == 0) return @intCast(index);
    }
    if (!inside.settle()) return null;
    var found: ?u32 = null;
    for (table, 0..) |*hook, index| {
        if (!hook.removed) continue;
        forget(hook);
        if (found == null) found = @intCast(index);
    }
    return found;
}

fn forget(hook: *inside.Hook) void {
    if (hook.fill != 0) sys.unmap(hook.fill, sys.pageSize());
    hook.fill = 0;
    hook.removed = false;
    hook.id = 0;
}

/// Runs `function`, which runs JavaScript hooks, with `byte_length` more on the stack, and notes
/// where that was if JavaScript could run there. Does nothing near the end of the stack, nor with
/// more than `length_max` in all.
pub fn probeStack(function: u64, byte_length: u32, length_max: u32) void {
    const thread = threads.current() orelse return;
    const here = @frameAddress();
    if (here < thread.stack_low or here >= thread.stack_high) return;
    if (thread.script_low == 0) thread.script_low = here; // Where it runs now.
    const end = thread.stack_low + thread.stack_guard + dispatch.stack_room;
    if (here < @max(end, thread.stack_high -| length_max) + byte_length) return;
    const answer = trampoline.callDeeper(function, byte_length);
    if (answer != @backingInt(abi.HookAnswer.handled)) return;
    thread.script_low = @min(thread.script_low, here - byte_length);
}

/// Takes a hook away: 1, or 0 when it is not there any more. `asked` gets how often it was asked.
/// When nothing holds it any longer, which a handler on another thread may for a moment.
pub fn remove(index: u32, id: u64, asked: *u64) i32 {
    if (index >= inside.hooks_max) return @backingInt(abi.Status.invalid_argument);
    const hook = &table[index];
    var signals: u32 = 0;
    {
        lock.acquire();
        defer lock.release();
        if (hook.id != id or hook.removed) return 0;
        signals = hook.request.signals;
        inside.unlink(hook);
    }
    _ = inside.settle();
    asked.* = @atomicLoad(u64, &hook.hits, .monotonic);
    install.uninstallUnused(signals);
    return 1;
}

/// How often a hook was asked, as long as it is there.
pub fn hits(index: u32, id: u64) u64 {
    if (index >= inside.hooks_max or table[index].id != id) return 0;
    return @atomicLoad(u64, &table[index].hits, .monotonic);
}

/// A thread ended, and its hooks with it: nobody could run them.
pub fn removeOwned(key: u64) void {
    lock.acquire();
    defer lock.release();
    for (table) |*hook| {
        if (hook.id != 0 and hook.thread == key and !hook.removed) inside.unlink(hook);
    }
}

test "hooks come and go, and the signals in use follow" {
    const expectEqual = std.testing.expectEqual;
    var request = std.mem.zeroes(abi.HookRequest);
    request.kind = .next;
    request.signals = 1 << (sys.sigfpe - 1);
    var first: u64 = 0;
    var second: u64 = 0;
    const index: u32 = @intCast(add(&request, &first));
    request.signals |= 1 << (sys.sigill - 1);
    const other: u32 = @intCast(add(&request, &second));
    try expectEqual(request.signals, inside.signalsInUse());
    var count: u64 = 7;
    try expectEqual(1, remove(other, second, &count));
    try expectEqual(0, count);
    try expectEqual(0, remove(other, second, &count));
    try expectEqual(1 << (sys.sigfpe - 1), inside.signalsInUse());
    try expectEqual(1, remove(index, first, &count));
    try expectEqual(0, inside.signalsInUse());
    try std.testing.expect(!inside.any());
}
