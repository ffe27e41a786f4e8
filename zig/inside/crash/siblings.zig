//! The other threads of the process: a helper process that shares its memory stops each for a
//! moment and reads its registers and stack. A thread cannot trace its own process.

const std = @import("std");
const crash_frame = @import("../../frame.zig").crash;
const report = @import("../../sys.zig").report;
const sys = @import("../../sys.zig").machine;
const trace = @import("../../sys.zig").trace;
const config = @import("config.zig");
const session = @import("session.zig");
const snapshot_module = @import("snapshot.zig");
const walk = @import("walk.zig");
const Sibling = snapshot_module.Sibling;
const Snapshot = snapshot_module.Snapshot;

pub const stack_length = 64 * 1024;
/// How long the helper may take before it is given up.
const patience = 1_500_000_000;
/// How long threads may take to stop. One in the kernel's uninterruptible sleep never does.
const stop_patience = 500_000_000;
const pause = 200_000;

const no_helper = "the system refused to start the process that reads them";
const no_tracing =
    "the system refused to trace them: a debugger is attached, or a policy forbids it";
const no_end = "the process that reads them did not end in time";

const Shared = struct {
    snapshot: *Snapshot,
    /// Set once the helper is allowed to trace.
    go: i32 = 0,
    running: i32 = 1,
    refused: bool = false,
    finished: bool = false,
};
var shared: Shared = undefined;
/// The helper that runs; 0 when none does.
var helper: u32 = 0;

/// Reads all other threads. `stack` is the helper's.
pub fn read(snapshot: *Snapshot, stack: *[stack_length]u8) void {
    list(snapshot);
    if (snapshot.sibling_count == 0) return;
    shared = .{ .snapshot = snapshot };
    const top = @intFromPtr(stack) + stack_length;
    helper = trace.startHelper(&help, 0, top, &shared.running) orelse {
        snapshot.siblings_skipped = no_helper;
        return;
    };
    trace.allowTracer(helper);
    @atomicStore(i32, &shared.go, 1, .release);
    trace.wake(&shared.go);
    const end = session.waitEnd(patience);
    while (@atomicLoad(i32, &shared.running, .acquire) != 0) {
        const now = report.now(report.clock_monotonic);
        if (now >= end) break;
        trace.waitFor(&shared.running, 1, end - now);
    }
    stopHelper();
    if (shared.refused) {
        snapshot.siblings_skipped = no_tracing;
    } else if (!shared.finished) snapshot.siblings_skipped = no_end;
}

/// Ends a helper that is left over. Threads that it holds go on then.
pub fn stopHelper() void {
    if (helper == 0) return;
    report.kill(helper, report.sigkill);
    trace.reap(helper);
    helper = 0;
}

/// Notes which threads there are, and their names.
fn list(snapshot: *Snapshot) void {
    const directory = report.openDirectory(report.working_directory, "/proc/self/task") orelse {
        snapshot.siblings_skipped = "the system does not list them";
        return;
    };
    defer sys.close(directory);
    var buffer: [4096]u8 = undefined;
    const own = sys.threadId();
    const chunks_max = 64;
    for (0..chunks_max) |_| {
        const length = report.readDirectory(directory, &buffer);
        if (length == 0) return;
        var entries: report.Entries = .{ .bytes = buffer[0..length] };
        while (entries.next()) |name| {
            const id = std.fmt.parseInt(u32, name, 10) catch continue;
            if (id == own) {
                snapshot.thread_name_length =
                    nameOf(@intCast(directory), name, &snapshot.thread_name);
                continue;
            }
            if (snapshot.sibling_count == snapshot.siblings.len) {
                snapshot.siblings_skipped = "there are more than 128";
                return;
            }
            const sibling = &snapshot.siblings[snapshot.sibling_count];
            clear(sibling, id);
            sibling.name_length = nameOf(@intCast(directory), name, &sibling.name);
            snapshot.sibling_count += 1;
        }
    }
}

fn clear(sibling: *Sibling, id: u32) void {
    sibling.id = id;
    sibling.name_length = 0;
    sibling.known = false;
    @memset(std.mem.asBytes(&sibling.registers), 0);
    sibling.frame_count = 0;
    sibling.named_count = 0;
    sibling.stack_address = 0;
    sibling.stack_length = 0;
}

fn nameOf(directory: i32, id: []const u8, into: *[16]u8) u32 {
    var path: [32:0]u8 = undefined;
    const text = std.fmt.bufPrintSentinel(&path, "{s}/comm", .{id}, 0) catch return 0;
    const file = report.openRead(directory, text) orelse return 0;
    defer sys.close(file);
    const length = sys.read(file, into) orelse return 0;
    return @intCast(std.mem.indexOfScalar(u8, into[0..length], '\n') orelse length);
}

/// The helper's work. It ends with the function.
fn help(_: usize) callconv(.c) u8 {
    while (@atomicLoad(i32, &shared.go, .acquire) == 0) trace.waitFor(&shared.go, 0, pause);
    const snapshot = shared.snapshot;
    var held: [snapshot_module.siblings_max]bool = @splat(false);
    var left: usize = 0;
    for (snapshot.siblings[0..snapshot.sibling_count], 0..) |*sibling, index| {
        switch (trace.seize(sibling.id)) {
            .done => {
                held[index] = true;
                left += 1;
                trace.interrupt(sibling.id);
            },
            .gone => {},
            .refused => {
                shared.refused = true;
                return 0;
            },
        }
    }
    const end = report.now(report.clock_monotonic) + stop_patience;
    while (left > 0 and report.now(report.clock_monotonic) < end) {
        const before = left;
        for (snapshot.siblings[0..snapshot.sibling_count], 0..) |*sibling, index| {
            if (!held[index]) continue;
            const status = trace.stopped(sibling.id) orelse continue;
            held[index] = false;
            left -= 1;
            const signal = trace.signalOf(status) orelse continue;
            look(snapshot, sibling);
            trace.detach(sibling.id, signal);
        }
        if (left == before) report.sleep(pause);
    }
    shared.finished = true;
    return 0;
}

/// Reads a thread that stands still.
fn look(snapshot: *Snapshot, sibling: *Sibling) void {
    var traced: crash_frame.Traced = undefined;
    if (!trace.readRegisters(sibling.id, std.mem.asBytes(&traced))) return;
    sibling.registers = traced.registers();
    sibling.known = true;
    sibling.frame_count =
        walk.Walker.walk(&snapshot.map, &sibling.registers, &sibling.frames);
    if (!config.config.formats.minidump) return;
    const pointer = crash_frame.stackPointer(&sibling.registers);
    sibling.stack_length = snapshot_module.copyStack(
        &snapshot.map,
        pointer,
        &sibling.stack,
        &sibling.stack_address,
    );
}
