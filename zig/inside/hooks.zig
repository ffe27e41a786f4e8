//! Hooks: who is asked about an exception before it is recovered or passed on, newest first.
//!
//! The list is read by handlers on any thread while others add to it and take away. A hook is
//! published by one store and unlinked by another. What was unlinked is used again only when no
//! walk is under way: each walk counts itself before it reads the list's head.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const Frame = @import("../frame.zig").Frame;
const red_zone = @import("../frame.zig").machine.red_zone;
const actions = @import("actions.zig");
const signals = @import("signals.zig");
const threads = @import("threads.zig");

pub const hooks_max = 1024;

/// A hook that answers "handled" this often to an exception that stays the same mends nothing.
const repeats_max = 1000;

pub const Hook = struct {
    next: ?*Hook,
    /// Grows with each hook that is added; 0 when free.
    id: u64,
    hits: u64,
    /// Unlinked, but perhaps still being looked at.
    removed: bool,
    /// The only thread whose exceptions it is asked about; 0 for any.
    thread: u64,
    /// A page of what "map" puts in place; 0 for zeroes.
    fill: u64,
    request: abi.HookRequest,
};

/// All zero, so that it starts as zero pages.
pub var table: [hooks_max]Hook = @splat(std.mem.zeroes(Hook));
var newest: ?*Hook = null;
/// How many handlers look at the list, in two counts: one drains while new ones use the other.
var walks: [2]u32 = @splat(0);
var side: u32 = 0;

/// An exception that hooks are asked about.
pub const Event = struct {
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
    /// Whether a guarded call is running where it happened. If not, only hooks with a range are
    /// asked: what happens elsewhere is not theirs.
    armed: bool,
    /// Why no JavaScript hook can run here.
    barred: abi.HooksSkipped,
    /// Why one that would have been asked was not.
    skipped: abi.HooksSkipped = .none,
    /// A hook knows that it has changed something: the same exception may come again and again.
    progressed: bool = false,

    fn skip(event: *Event, reason: abi.HooksSkipped) void {
        if (event.skipped == .none) event.skipped = reason;
    }
};

pub const Chosen = struct { index: u32, id: u64, function: u64 };
/// `mended` is "handled" by something that lets the instruction succeed, for certain.
pub const Answer = union(enum) { nobody, handled, mended, thrown, die, javascript: Chosen };

pub fn any() bool {
    return @atomicLoad(?*Hook, &newest, .monotonic) != null;
}

/// Asks the hooks that are older than `below`: the one that a walk before came to, or the list's
/// end. A JavaScript hook is not run but named.
pub fn ask(event: *Event, below: u64) Answer {
    const walking = &walks[@atomicLoad(u32, &side, .monotonic)];
    _ = @atomicRmw(u32, walking, .Add, 1, .seq_cst);
    defer _ = @atomicRmw(u32, walking, .Sub, 1, .release);
    var candidate = @atomicLoad(?*Hook, &newest, .seq_cst);
    while (candidate) |hook| : (candidate = @atomicLoad(?*Hook, &hook.next, .acquire)) {
        if (hook.id >= below or !concerns(hook, event)) continue;
        if (hook.request.kind == .javascript) {
            if (!mayRun(hook, event)) continue;
            countHit(hook);
            const index = (@intFromPtr(hook) - @intFromPtr(&table)) / @sizeOf(Hook);
            const function = hook.request.function;
            return .{ .javascript = .{
                .index = @intCast(index),
                .id = hook.id,
                .function = function,
            } };
        }
        countHit(hook);
        switch (actions.act(hook, event)) {
            .nobody => {},
            else => |answer| {
                if (event.progressed) if (event.thread) |thread| {
                    thread.progress = .{};
                };
                return answer;
            },
        }
    }
    return .nobody;
}

pub const everything = std.math.maxInt(u64);

fn countHit(hook: *Hook) void {
    _ = @atomicRmw(u64, &hook.hits, .Add, 1, .monotonic);
}

fn concerns(hook: *const Hook, event: *Event) bool {
    const request = &hook.request;
    if (@atomicLoad(bool, &hook.removed, .acquire)) return false;
    if (request.signals & signals.bit(event.signal) == 0) return false;
    const in_range = request.range_length != 0 and touches(event, request);
    if (request.range_length != 0 and !in_range) return false;
    if (signals.advisory(event.signal, event.info.code) and !actions.mendsMemory(request.kind)) {
        return false;
    }
    if (hook.thread != 0 and hook.thread != trampoline.threadPointer()) {
        if (request.kind == .javascript) event.skip(.other_thread);
        return false;
    }
    if (event.armed or in_range) return true;
    if (request.kind == .javascript) event.skip(.unguarded);
    return false;
}

/// Whether the exception's address lies in the hook's range. Memory that failed is a range itself.
fn touches(event: *const Event, request: *const abi.HookRequest) bool {
    if (!signals.hasAddress(event.signal, event.info.code)) return false;
    const span = spanOf(event.signal, event.info);
    const last = span.start + (span.length - 1);
    const range_last = request.range_start +% (request.range_length - 1);
    return span.start <= range_last and last >= request.range_start;
}

pub const Span = struct { start: u64, length: u64 };

/// The memory that an exception with an address is about.
pub fn spanOf(signal: u32, info: *const sys.Siginfo) Span {
    const address = info.payload.address;
    const failed = signals.memoryFailed(signal, info.code);
    const bits = info.payload.failure.bits;
    if (!failed or bits <= 0 or bits > 40) return .{ .start = address, .length = 1 };
    const length = @as(u64, 1) << @intCast(bits);
    return .{ .start = address & ~(length - 1), .length = length };
}

fn mayRun(hook: *const Hook, event: *Event) bool {
    if (event.barred != .none) {
        event.skip(event.barred);
        return false;
    }
    var running = if (event.thread) |thread| thread.running else null;
    while (running) |one| : (running = one.outer) {
        if (one.hook != hook.id) continue;
        event.skip(.running);
        return false;
    }
    return true;
}

/// Notes that the program changes memory: what comes next is another exception, even if it looks
/// the same. What a hook changes does not count: it may be the wrong thing, over and over.
pub fn noteChange() void {
    const thread = threads.current() orelse return;
    if (thread.running == null) thread.progress = .{};
}

/// What a recovery record says when no other value of `result` can be meant: a guarded call that
/// returned since has put its own there.
const mended_mark: u64 = 0x6d65_6e64_6564_2121;

/// Notes that a hook answered "handled".
pub fn countRepeat(thread: *threads.Thread) void {
    thread.progress.repeats += 1;
    if (thread.record == 0) return;
    const known: *abi.ThreadRecord = @ptrFromInt(thread.record);
    known.result = mended_mark;
}

/// From so many repeats on, the stack has to stay the same as well: code that is not optimised
/// keeps its variables there. Looking at it each time would be dear.
const repeats_by_registers = 16;
const stack_words = 80;

/// Whether this exception was answered "handled" so often, with nothing changed in between, that
/// nobody can be mending it.
pub fn stuck(thread: *threads.Thread, info: *const sys.Siginfo, frame: *const Frame) bool {
    const last = &thread.progress;
    var now: threads.Progress = .{
        .instruction_pointer = frame.instructionPointer(),
        .address = info.payload.address,
        .digest = frame.digest(),
        .guard = thread.local.guard,
    };
    var same = last.instruction_pointer == now.instruction_pointer and
        last.address == now.address and last.digest == now.digest and
        last.guard == now.guard and !returnedSince(thread);
    if (same and last.repeats >= repeats_by_registers) {
        now.stack = stackDigest(thread, frame);
        same = last.repeats == repeats_by_registers or last.stack == now.stack;
        last.stack = now.stack;
    }
    if (!same) last.* = now;
    if (last.repeats < repeats_max) return false;
    last.* = .{};
    return true;
}

/// A sum over what the interrupted function has on its stack, the red zone included.
fn stackDigest(thread: *const threads.Thread, frame: *const Frame) u64 {
    const start = frame.stackPointer() -% red_zone;
    if (start < thread.stack_low + thread.stack_guard or start >= thread.stack_high) return 0;
    var words: [stack_words]u64 = undefined;
    const length = @min(@sizeOf(@TypeOf(words)), thread.stack_high - start);
    const copied = trampoline.probeCopy(std.mem.asBytes(&words)[0..length], start);
    var sum: u64 = 0;
    for (words[0 .. copied / 8]) |word| sum = std.math.rotl(u64, sum, 7) ^ word;
    return sum;
}

fn returnedSince(thread: *const threads.Thread) bool {
    if (thread.record == 0) return false;
    const known: *const abi.ThreadRecord = @ptrFromInt(thread.record);
    return known.result != mended_mark;
}

/// Puts a hook in front. Under the lock; the hook is filled in and not in the list.
pub fn publish(hook: *Hook) void {
    hook.next = newest;
    @atomicStore(?*Hook, &newest, hook, .seq_cst);
}

/// Takes a hook out. Under the lock. Walks that are under way may still come by it.
pub fn unlink(hook: *Hook) void {
    @atomicStore(bool, &hook.removed, true, .release);
    var place: *?*Hook = &newest;
    while (place.*) |one| : (place = &one.next) {
        if (one != hook) continue;
        @atomicStore(?*Hook, place, hook.next, .seq_cst);
        return;
    }
}

/// How often a handler that still looks at a removed hook is waited for.
const waits_max = 10_000;

/// Waits until nobody can hold a hook that was unlinked before; false if that takes too long. Who
/// came before has left when each count was 0 once: whoever comes later does not find the hook.
/// Never in a handler.
pub fn settle() bool {
    for ([_]u32{ 0, 1 }) |waited| {
        @atomicStore(u32, &side, 1 - waited, .seq_cst);
        for (0..waits_max) |_| {
            if (@atomicRmw(u32, &walks[waited], .Add, 0, .seq_cst) == 0) break;
            sys.yield();
        } else return false;
    }
    return true;
}

/// Signals that at least one hook is asked about. Under the lock.
pub fn signalsInUse() u32 {
    var mask: u32 = 0;
    var candidate = newest;
    while (candidate) |hook| : (candidate = hook.next) mask |= hook.request.signals;
    return mask;
}

test "spanOf is the lost range of a memory failure, and one byte of anything else" {
    var info = std.mem.zeroes(sys.Siginfo);
    info.payload.failure = .{ .address = 0x12345, .bits = 12 };
    info.code = sys.bus_mceerr_ar;
    const expectEqual = std.testing.expectEqual;
    try expectEqual(Span{ .start = 0x12000, .length = 4096 }, spanOf(sys.sigbus, &info));
    info.code = 2;
    try expectEqual(Span{ .start = 0x12345, .length = 1 }, spanOf(sys.sigbus, &info));
}
