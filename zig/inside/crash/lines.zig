//! Functions, files and lines by debug information. The library that reads it maps files and takes
//! a lock of its own, which must not happen here: a process with a copy of this one's memory does
//! that, and leaves what it found in memory that both share.

const std = @import("std");
const report = @import("../../sys.zig").report;
const trace = @import("../../sys.zig").trace;
const config = @import("config.zig");
const session = @import("session.zig");
const snapshot_module = @import("snapshot.zig");
const Named = snapshot_module.Named;
const Snapshot = snapshot_module.Snapshot;

pub const stack_length = 512 * 1024;
pub const answer_length = 128 * 1024;
/// How long the copy may take. The C library's debug information alone can take half a second.
const patience = 1_500_000_000;
const pause = 20_000_000;

const entries_max = 96;
const name_max = 240;
const file_max = 400;

/// A function at a frame's address.
const Entry = extern struct {
    frame: u32,
    line: u32,
    column: u32,
    name_length: u16,
    file_length: u16,
    start: u64,
    /// Inlined into the one behind.
    inlined: u32,
    _padding: u32 = 0,
    name: [name_max]u8,
    file: [file_max]u8,
};

/// Lies in memory that both processes share.
pub const Lines = extern struct {
    count: u32,
    running: i32,
    entries: [entries_max]Entry,

    fn all(lines: *const Lines) []const Entry {
        return lines.entries[0..@min(@atomicLoad(u32, &lines.count, .acquire), entries_max)];
    }
};

/// Head of what the library answers, and of each function in it (zig/symbols/interface.zig).
const Found = extern struct {
    size: u32,
    function_count: u32,
    module_base: u64,
    symbol_address: u64,
    path_length: u32,
    _padding: u32,
};
const Function = extern struct {
    start: u64,
    line: u32,
    column: u32,
    name_length: u32,
    file_length: u32,
};

const Job = struct { snapshot: *const Snapshot, lines: *Lines, answer: *[answer_length]u8 };
var job: Job = undefined;
/// The copy that runs; 0 when none does.
var copy: u32 = 0;

pub fn wanted() bool {
    return config.config.symbols_lookup != 0 and config.config.symbols_refresh != 0;
}

/// Looks the frames up, and puts what is found into the snapshot.
pub fn read(
    snapshot: *Snapshot,
    lines: *Lines,
    answer: *[answer_length]u8,
    stack: *[stack_length]u8,
) void {
    lines.count = 0;
    lines.running = 1;
    job = .{ .snapshot = snapshot, .lines = lines, .answer = answer };
    const top = @intFromPtr(stack) + stack_length;
    copy = trace.startCopy(&lookUp, 0, top) orelse return;
    const end = session.waitEnd(patience);
    while (@atomicLoad(i32, &lines.running, .acquire) != 0) {
        if (report.now(report.clock_monotonic) >= end) break;
        // It may end without a word, by a fault of its own.
        trace.waitFor(&lines.running, 1, pause);
        if (trace.hasEnded(copy)) {
            copy = 0;
            break;
        }
    }
    stopCopy();
    apply(snapshot, lines);
}

/// Ends a copy that is left over.
pub fn stopCopy() void {
    if (copy == 0) return;
    report.kill(copy, report.sigkill);
    trace.reap(copy);
    copy = 0;
}

/// The copy's work. Frames are done from the innermost on: if it ends early, these are known.
fn lookUp(_: usize) callconv(.c) u8 {
    const refresh: *const fn () callconv(.c) void = @ptrFromInt(config.config.symbols_refresh);
    const look: *const fn (u64, u32, [*]u8, u32) callconv(.c) i32 =
        @ptrFromInt(config.config.symbols_lookup);
    refresh();
    const snapshot = job.snapshot;
    for (snapshot.frames[0..snapshot.frame_count], 0..) |*frame, index| {
        const at = if (frame.exact) frame.address else frame.address -% 1;
        const length = look(at, 1, job.answer, answer_length);
        if (length < @sizeOf(Found)) continue;
        takeAnswer(job.answer[0..@intCast(length)], @intCast(index));
    }
    @atomicStore(i32, &job.lines.running, 0, .release);
    trace.wake(&job.lines.running);
    return 0;
}

fn takeAnswer(bytes: []const u8, frame: u32) void {
    const found = std.mem.bytesToValue(Found, bytes[0..@sizeOf(Found)]);
    var at = @sizeOf(Found) + found.path_length;
    for (0..found.function_count) |index| {
        if (at + @sizeOf(Function) > bytes.len) return;
        const function = std.mem.bytesToValue(Function, bytes[at..][0..@sizeOf(Function)]);
        at += @sizeOf(Function);
        if (at + function.name_length + function.file_length > bytes.len) return;
        const name = bytes[at..][0..function.name_length];
        const file = bytes[at + function.name_length ..][0..function.file_length];
        at += function.name_length + function.file_length;
        const lines = job.lines;
        if (lines.count == entries_max) return;
        const entry = &lines.entries[lines.count];
        entry.* = .{
            .frame = frame,
            .line = function.line,
            .column = function.column,
            .name_length = @intCast(@min(name.len, name_max)),
            .file_length = @intCast(@min(file.len, file_max)),
            .start = function.start,
            .inlined = @intFromBool(index + 1 < found.function_count),
            .name = undefined,
            .file = undefined,
        };
        @memcpy(entry.name[0..entry.name_length], name[0..entry.name_length]);
        @memcpy(entry.file[0..entry.file_length], file[file.len - entry.file_length ..]);
        @atomicStore(u32, &lines.count, lines.count + 1, .release);
    }
}

/// Replaces the frames' names by what was found, functions that are inlined included.
fn apply(snapshot: *Snapshot, lines: *const Lines) void {
    const bare = snapshot.named;
    const bare_count = snapshot.named_count;
    const entries = lines.all();
    snapshot.named_count = 0;
    for (bare[0..bare_count], 0..) |*named, index| {
        var any = false;
        for (entries) |*entry| {
            if (entry.frame != index) continue;
            any = true;
            append(snapshot, better(named, entry));
        }
        if (!any) append(snapshot, named.*);
    }
}

fn append(snapshot: *Snapshot, named: Named) void {
    if (snapshot.named_count == snapshot.named.len) return;
    snapshot.named[snapshot.named_count] = named;
    snapshot.named_count += 1;
}

fn better(bare: *const Named, entry: *const Entry) Named {
    var named = bare.*;
    named.inlined = entry.inlined != 0;
    named.file = entry.file[0..@min(entry.file_length, file_max)];
    named.line = entry.line;
    named.column = entry.column;
    if (entry.name_length > 0) {
        named.symbol = entry.name[0..@min(entry.name_length, name_max)];
        if (entry.start != 0) named.offset = named.frame.address -% entry.start;
    }
    return named;
}
