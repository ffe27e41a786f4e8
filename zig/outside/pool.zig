//! Threads that run call blocks, for a runtime that has none to lend. A thread is started when no
//! other is idle, up to a limit, and then waits for more work.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const threads = @import("../inside/threads.zig");
const blocks = @import("blocks.zig");
const host = @import("host.zig");
const lock = @import("lock.zig");

const workers_max = 32;

const Job = struct {
    block: *blocks.Block,
    /// A function that wakes the JavaScript thread, from any thread; null where that thread asks.
    doorbell: ?*const fn () callconv(.c) void,
};

var queue: [4096]Job = undefined;
/// Counters, not indices: the queue holds the jobs from `taken` up to `added`.
var taken: u64 = 0;
var added: u64 = 0;
var idle: u32 = 0;
var workers: u32 = 0;
/// Changes with every job, so that a worker can sleep until it does.
var signal: u32 = 0;

/// Queues a block. What its arguments point to must stay until it is done.
pub fn submit(block: *blocks.Block, doorbell: u64) abi.Status {
    lock.acquire();
    if (added - taken == queue.len) {
        lock.release();
        return .no_memory;
    }
    queue[added % queue.len] = .{
        .block = block,
        .doorbell = @ptrFromInt(doorbell),
    };
    added += 1;
    const waiting = added - taken;
    const start = waiting > idle and workers < workers_max;
    if (start) workers += 1;
    const alone = workers == 0 or (start and workers == 1);
    lock.release();

    if (start and !startWorker()) {
        lock.acquire();
        defer lock.release();
        workers -= 1;
        if (alone) {
            added -= 1;
            return .no_memory;
        }
    }
    _ = @atomicRmw(u32, &signal, .Add, 1, .release);
    sys.futexWake(&signal);
    return .ok;
}

fn startWorker() bool {
    const Start = fn (?*anyopaque) callconv(.c) ?*anyopaque;
    const Create = fn (*u64, ?*const anyopaque, *const Start, ?*anyopaque) callconv(.c) i32;
    const create = host.function(Create, "pthread_create") orelse return false;
    const detach = host.function(fn (u64) callconv(.c) i32, "pthread_detach") orelse return false;
    var thread: u64 = 0;
    if (create(&thread, null, work, null) != 0) return false;
    _ = detach(thread);
    return true;
}

fn next() ?Job {
    lock.acquire();
    defer lock.release();
    if (taken == added) return null;
    taken += 1;
    return queue[(taken - 1) % queue.len];
}

fn work(_: ?*anyopaque) callconv(.c) ?*anyopaque {
    while (true) {
        const seen = @atomicLoad(u32, &signal, .acquire);
        if (next()) |job| {
            finish(job);
            continue;
        }
        _ = @atomicRmw(u32, &idle, .Add, 1, .monotonic);
        sys.futexWait(&signal, seen);
        _ = @atomicRmw(u32, &idle, .Sub, 1, .monotonic);
    }
}

fn finish(job: Job) void {
    const owner = blocks.run(job.block) orelse return;
    const ring = job.doorbell orelse return;
    lock.acquire();
    defer lock.release();
    // The doorbell dies with its thread, which takes this lock when it ends.
    if (threads.find(owner) != null) ring();
}
