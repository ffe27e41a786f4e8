//! Makes a thread ready for guarded calls: its entry in the thread table, its thread-local words,
//! an alternate stack large enough for us and for whoever we chain to, and its end.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const frame = @import("../frame.zig").machine;
const handler = @import("../inside/handler.zig");
const names = @import("../inside/crash/names.zig");
const runtime_code = @import("../inside/runtime_code.zig");
const threads = @import("../inside/threads.zig");
const engine_code = @import("engine_code.zig");
const hooks = @import("hooks.zig");
const host = @import("host.zig");
const lock = @import("lock.zig");
const barriers = @import("barriers.zig");
const blocks = @import("blocks.zig");
const regions = @import("regions.zig");
const slots = @import("slots.zig");
const suspects = @import("suspects.zig");

/// Bun's crash handler faults in itself on 16 KiB and works on 32; AMX state alone can take 11.
const alternate_stack_length = 64 * 1024;

const Key = u32;
var end_key: ?Key = null;
var prepared = false;
var static_tls = false;

/// Attaches the running thread, or gives an attached one another record. A thread without
/// JavaScript has no record of its own: it runs call blocks, which bring theirs.
pub fn attach(record: ?*abi.ThreadRecord) abi.Status {
    const offset = trampoline.resolveOffset();
    prepare(offset);
    const local: *trampoline.ThreadLocal = @ptrFromInt(trampoline.threadPointer() +% offset);
    if (threads.current()) |thread| known: {
        // A thread that ended without its destructor left its entry to one with the same pointer.
        if (thread.thread_id != sys.threadId()) {
            threads.remove(thread);
            break :known;
        }
        thread.record = @intFromPtr(record);
        local.record = thread.record;
        threads.note(thread);
        return .ok;
    }
    // A recovery leaves functions without their returns, and popping the shadow stack has never
    // been tried: no machine that had one was there.
    if (sys.shadowStackEnabled()) return .shadow_stack;
    const bounds = host.stackBounds();
    var thread: threads.Thread = .{
        .local = local,
        .record = @intFromPtr(record),
        .process_id = sys.processId(),
        .thread_id = sys.threadId(),
        .stack_low = bounds.low,
        .stack_high = bounds.high,
        .stack_guard = bounds.guard,
        .signal_mask = 0,
        .alternate_base = 0,
        .alternate_length = 0,
        .alternate_owned = false,
        .busy = false,
        .unclaimed = .{},
    };
    if (!giveAlternateStack(&thread)) return .no_memory;
    threads.note(&thread);
    const entry = threads.add(thread) orelse {
        freeAlternateStack(&thread);
        return .too_many_threads;
    };
    local.* = .{ .guard = 0, .record = thread.record };
    atThreadEnd(entry);
    return .ok;
}

pub fn hasStaticTls() bool {
    return static_tls;
}

/// Once per process: the runtime's code range, the thread-end key and the kind of TLS. Every thread
/// checks the latter, since only equal offsets on all threads make the short way safe.
fn prepare(offset: u64) void {
    lock.acquire();
    defer lock.release();
    if (!prepared) {
        prepared = true;
        host.pin();
        host.visitProgram(noteProgram);
        noteRuntimeCode();
        suspects.prepare();
        const create = host.function(
            fn (*Key, *const fn (?*anyopaque) callconv(.c) void) callconv(.c) i32,
            "pthread_key_create",
        );
        var key: Key = 0;
        if (create) |function| {
            if (function(&key, threadEnded) == 0) end_key = key;
        }
        // A static descriptor's argument is the offset itself; a dynamic one's is a heap address.
        static_tls = trampoline.descriptorArgument() == offset;
        if (static_tls) trampoline.tls_offset.* = offset;
        handler.leave_by_jump = !sys.needsSigreturn();
        frame.noteProtectionKeys(sys.protectionKeyOffset());
    } else if (static_tls and trampoline.tls_offset.* != offset) {
        static_tls = false;
        trampoline.tls_offset.* = 0;
    }
}

/// An address in the program's file; 0 when the host does not say.
var program_address: u64 = 0;

fn noteProgram(program: *const host.LoadedObject) void {
    program_address = @intFromPtr(program.headers);
}

fn noteRuntimeCode() void {
    var ranges: [runtime_code.ranges.len]engine_code.Range = undefined;
    const count = engine_code.find(program_address, &ranges);
    for (ranges[0..count], runtime_code.ranges[0..count]) |range, *noted| {
        noted.* = .{ .start = range.start, .end = range.end };
    }
}

/// Keeps an alternate stack that is large enough; else maps one with a guard page below it.
fn giveAlternateStack(thread: *threads.Thread) bool {
    var old: sys.AlternateStack = .{};
    if (!sys.sigaltstack(null, &old)) return false;
    const usable = old.flags & sys.AlternateStack.disabled == 0;
    if (usable and old.length >= alternate_stack_length) {
        thread.alternate_base = old.base;
        thread.alternate_length = old.length;
        return true;
    }
    const guard_length = sys.pageSize();
    const total = alternate_stack_length + guard_length;
    const mapping = sys.map(total, sys.protection_none) orelse return false;
    const base = mapping + guard_length;
    const access = sys.protection_read | sys.protection_write;
    const stack: sys.AlternateStack = .{ .base = base, .length = alternate_stack_length };
    if (!sys.protect(base, alternate_stack_length, access) or !sys.sigaltstack(&stack, null)) {
        sys.unmap(mapping, total);
        return false;
    }
    thread.alternate_base = base;
    thread.alternate_length = alternate_stack_length;
    thread.alternate_owned = true;
    return true;
}

/// Frees our alternate stack. Whoever replaced it meanwhile keeps theirs.
fn freeAlternateStack(thread: *const threads.Thread) void {
    if (!thread.alternate_owned) return;
    var now: sys.AlternateStack = .{};
    if (sys.sigaltstack(null, &now) and now.base == thread.alternate_base) {
        const off: sys.AlternateStack = .{ .flags = sys.AlternateStack.disabled };
        if (!sys.sigaltstack(&off, null)) return; // Still in use: it has to stay.
    }
    const guard_length = sys.pageSize();
    sys.unmap(thread.alternate_base - guard_length, thread.alternate_length + guard_length);
}

fn atThreadEnd(thread: *threads.Thread) void {
    const key = end_key orelse return;
    const set = host.function(
        fn (Key, ?*const anyopaque) callconv(.c) i32,
        "pthread_setspecific",
    ) orelse return;
    _ = set(key, thread);
}

/// The destructor of `end_key`, on the thread that ends.
fn threadEnded(data: ?*anyopaque) callconv(.c) void {
    const thread: *threads.Thread = @ptrCast(@alignCast(data.?));
    // First the words that the handler and the thunks read: the record dies with the JavaScript.
    thread.local.* = .{ .guard = 0, .record = 0 };
    slots.releaseHeld(thread);
    barriers.closeOwned(thread.key);
    hooks.removeOwned(thread.key);
    regions.closeOwned(thread.key);
    blocks.orphan(thread.key);
    freeAlternateStack(thread);
    lock.acquire();
    defer lock.release();
    names.setRing(thread.key, null);
    threads.remove(thread);
}
