//! The watchdog: a thread of its own that writes where all threads are when nobody cancels it in
//! time, also while a thread is stuck in native code.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const report = @import("../sys.zig").report;
const trace = @import("../sys.zig").trace;
const reporter = @import("../inside/crash/reporter.zig");
const signals = @import("../inside/signals.zig");
const crash = @import("crash.zig");
const host = @import("host.zig");
const lock = @import("lock.zig");

const watches_max = 64;
/// What the process ends with, when it is to end.
const exit_status = 124;

const State = enum(u8) { free, running };
const Watch = struct {
    state: State = .free,
    /// Counts the uses of this place, so that nobody cancels another's.
    generation: u16 = 0,
    cancelled: i32 = 0,
    nanoseconds: u64 = 0,
    flags: u32 = 0,
    thread: u32 = 0,
    output: i32 = -1,
};
var watches: [watches_max]Watch = @splat(.{});

pub const Request = struct {
    timeout_ms: u32,
    flags: u32,
    /// Empty for standard error.
    path: [:0]const u8,
    symbols: [:0]const u8,
};

/// Starts a watchdog for the running thread: what names it, or a negative status.
pub fn start(request: *const Request) i32 {
    const ready = crash.prepareFor(request.symbols);
    if (ready != .ok) return @backingInt(ready);
    const output = if (request.path.len > 0)
        report.replaceFile(report.working_directory, request.path)
    else
        report.duplicate(2);
    const opened = output orelse return @backingInt(abi.Status.system_call_failed);
    lock.acquire();
    const index: u32 = for (&watches, 0..) |*watch, at| {
        if (watch.state == .free) break @intCast(at);
    } else {
        lock.release();
        sys.close(opened);
        return @backingInt(abi.Status.no_free_slot);
    };
    const watch = &watches[index];
    watch.* = .{
        .state = .running,
        .generation = (watch.generation + 1) & 0x7fff,
        .nanoseconds = @as(u64, request.timeout_ms) * 1_000_000,
        .flags = request.flags,
        .thread = sys.threadId(),
        .output = @intCast(opened),
    };
    const id = @as(i32, watch.generation) << 8 | @as(i32, @intCast(index));
    lock.release();
    if (!startThread(watch)) {
        finish(watch);
        return @backingInt(abi.Status.no_memory);
    }
    return id;
}

fn startThread(watch: *Watch) bool {
    const Start = fn (?*anyopaque) callconv(.c) ?*anyopaque;
    const Create = fn (*u64, ?*const anyopaque, *const Start, ?*anyopaque) callconv(.c) i32;
    const create = host.function(Create, "pthread_create") orelse return false;
    const detach = host.function(fn (u64) callconv(.c) i32, "pthread_detach") orelse return false;
    // No signal of the program is for the new thread, from its first instruction on.
    const mask = sys.signalMask();
    sys.setSignalMask(~@as(u64, signals.mask_all));
    defer sys.setSignalMask(mask);
    var thread: u64 = 0;
    if (create(&thread, null, run, watch) != 0) return false;
    _ = detach(thread);
    return true;
}

/// Cancels a watchdog: 1, or 0 when it is over already.
pub fn stop(id: i32) i32 {
    const index: usize = @intCast(id & 0xff);
    if (id < 0 or index >= watches_max) return @backingInt(abi.Status.invalid_argument);
    lock.acquire();
    defer lock.release();
    const watch = &watches[index];
    if (watch.state == .free or watch.generation != id >> 8) return 0;
    @atomicStore(i32, &watch.cancelled, 1, .release);
    trace.wake(&watch.cancelled);
    return 1;
}

fn run(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const watch: *Watch = @ptrCast(@alignCast(argument.?));
    defer finish(watch);
    var due = report.now(report.clock_monotonic) + watch.nanoseconds;
    while (true) {
        const now = report.now(report.clock_monotonic);
        if (@atomicLoad(i32, &watch.cancelled, .acquire) != 0) return null;
        if (now < due) {
            trace.waitFor(&watch.cancelled, 0, due - now);
            continue;
        }
        reporter.watchdog(&.{ .thread = watch.thread, .output = watch.output });
        if (watch.flags & @backingInt(abi.WatchFlag.exit) != 0) report.exitProcess(exit_status);
        if (watch.flags & @backingInt(abi.WatchFlag.repeat) == 0) return null;
        due = report.now(report.clock_monotonic) + watch.nanoseconds;
    }
}

fn finish(watch: *Watch) void {
    lock.acquire();
    defer lock.release();
    sys.close(@intCast(watch.output));
    watch.state = .free;
}
