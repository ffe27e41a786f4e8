//! The reports: of an exception that nobody took, of a process that a signal or the watchdog asks
//! about. Each is a list of stages, which share one workspace.

const std = @import("std");
const abi = @import("../../abi.zig");
const frame_module = @import("../../frame.zig");
const sys = @import("../../sys.zig").machine;
const report_calls = @import("../../sys.zig").report;
const threads = @import("../threads.zig");
const config = @import("config.zig");
const files = @import("files.zig");
const json = @import("json.zig");
const lines = @import("lines.zig");
const minidump = @import("minidump.zig");
const names = @import("names.zig");
const Out = @import("out.zig").Out;
const session = @import("session.zig");
const siblings = @import("siblings.zig");
const snapshot_module = @import("snapshot.zig");
const text = @import("text.zig");
const walk = @import("walk.zig");
const Frame = frame_module.Frame;
const Snapshot = snapshot_module.Snapshot;
const Stage = session.Stage;

pub const dump_max = 16 * 1024 * 1024;
const text_max = 512 * 1024;

/// All memory that a report needs. Mapped when the reporter is installed, touched when it works.
pub const Workspace = struct {
    stacks: session.Stacks,
    helper_stack: [siblings.stack_length]u8 align(4096),
    copy_stack: [lines.stack_length]u8 align(4096),
    answer: [lines.answer_length]u8 align(16),
    snapshot: Snapshot,
    listing: files.Listing,
    text: [text_max]u8,
    dump: [dump_max]u8,
};

var space: *Workspace = undefined;
var shared_lines: *lines.Lines = undefined;
var ready: bool = false;

/// Before anything is reported.
pub fn setWorkspace(memory: *Workspace, shared: *lines.Lines) void {
    space = memory;
    shared_lines = shared;
    @atomicStore(bool, &ready, true, .release);
}

/// How many reports there were: part of their ids.
var serial: u32 = 0;
/// The text that is being made.
var out: Out = .{ .bytes = &.{} };
/// Where text for people goes; -1 for nowhere.
var output: i32 = -1;

pub const Event = struct {
    reason: snapshot_module.Reason,
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    thread: ?*const threads.Thread,
};

/// Writes a report of an exception. Returns when it is finished, given up or not to be had.
pub noinline fn run(event: *const Event) void {
    const known = &config.config;
    if (!config.active() or !@atomicLoad(bool, &ready, .acquire)) return;
    if (!session.claim(known.deadline_ms)) return;
    defer session.release();
    output = known.stderr;
    const snapshot = &space.snapshot;
    snapshot.begin(event.reason, event.signal, event.info, event.frame, event.thread);
    makeId(snapshot);
    const rights = if (event.thread) |thread| thread.key_rights else 0;
    session.run(&space.stacks, &crash_stages, known.deadline_ms, rights, &noteFailure);
    siblings.stopHelper();
    lines.stopCopy();
}

/// What the watchdog asks for.
pub const Watch = struct { thread: u32, output: i32, deadline_ms: u32 = 5000 };
var watched: u32 = 0;

/// Writes where all threads are, from a thread of our own.
pub fn watchdog(watch: *const Watch) void {
    if (!@atomicLoad(bool, &ready, .acquire) or !session.claim(watch.deadline_ms)) return;
    defer session.release();
    output = watch.output;
    watched = watch.thread;
    space.snapshot.beginWithoutSignal(watch.thread);
    session.run(&space.stacks, &watch_stages, watch.deadline_ms, 0, &noteFailure);
    siblings.stopHelper();
    lines.stopCopy();
}

/// Copies where all threads are: the calling one first. How many; null when the others cannot be
/// read. `registers` are the caller's own.
pub fn dump(
    registers: *const frame_module.crash.Registers,
    into: []abi.ThreadDump,
) ?usize {
    const deadline_ms = 5000;
    if (!@atomicLoad(bool, &ready, .acquire) or !session.claim(deadline_ms)) return null;
    defer session.release();
    const snapshot = &space.snapshot;
    snapshot.beginWithoutSignal(sys.threadId());
    snapshot.registers = registers.*;
    session.run(&space.stacks, &dump_stages, deadline_ms, 0, &noteFailure);
    siblings.stopHelper();
    if (snapshot.siblings_skipped.len > 0 or into.len == 0) return null;
    const own = snapshot.frames[0..snapshot.frame_count];
    into[0] = dumpOf(snapshot.thread_id, snapshot.threadName(), own);
    var count: usize = 1;
    for (snapshot.others()) |*sibling| {
        if (count == into.len) break;
        const frames = sibling.frames[0..sibling.frame_count];
        into[count] = dumpOf(sibling.id, sibling.nameText(), frames);
        count += 1;
    }
    return count;
}

fn dumpOf(id: u32, name: []const u8, frames: []const walk.Frame) abi.ThreadDump {
    var result: abi.ThreadDump = .{
        .thread_id = id,
        .frame_count = @intCast(@min(frames.len, abi.dump_frames_max)),
        .name_length = @intCast(name.len),
        .name = @splat(0),
        .frames = @splat(0),
    };
    @memcpy(result.name[0..name.len], name);
    for (frames[0..result.frame_count], 0..) |*frame, index| {
        result.frames[index * 2] = frame.address;
        const exact: u64 = @intFromBool(frame.exact);
        result.frames[index * 2 + 1] = @backingInt(frame.trust) | exact << 32;
    }
    return result;
}

fn noteFailure(stage: []const u8, expired: bool) void {
    space.snapshot.noteFailure(stage, expired);
}

fn makeId(snapshot: *Snapshot) void {
    const date = json.dateOf(snapshot.time);
    var id: Out = .{ .bytes = &snapshot.id };
    id.digits(date.year, 10, 4);
    id.digits(date.month, 10, 2);
    id.digits(date.day, 10, 2);
    id.byte('T');
    id.digits(date.hour, 10, 2);
    id.digits(date.minute, 10, 2);
    id.digits(date.second, 10, 2);
    id.byte('-');
    id.decimal(snapshot.process_id);
    id.byte('-');
    id.decimal(snapshot.thread_id);
    id.byte('-');
    id.decimal(serial);
    serial += 1;
    snapshot.id_length = id.used;
}

const crash_stages = [_]Stage{
    .{ .name = "first line", .function = &sayFirst, .wanted = &hasOutput },
    .{ .name = "mappings", .function = &readMap },
    .{ .name = "frames", .function = &walkStack },
    .{ .name = "threads", .function = &readSiblings },
    .{ .name = "names", .function = &nameFrames },
    .{ .name = "names of threads", .function = &nameSiblings },
    .{ .name = "code", .function = &copyCode },
    .{ .name = "stack", .function = &copyStack },
    .{ .name = "minidump", .function = &writeMinidump, .wanted = &wantsMinidump },
    .{ .name = "lines", .function = &readLines, .wanted = &lines.wanted },
    .{ .name = "text", .function = &makeText },
    .{ .name = "standard error", .function = &sayText, .wanted = &hasOutput },
    .{ .name = "text file", .function = &writeText, .wanted = &wantsText },
    .{ .name = "JSON file", .function = &writeJson, .wanted = &wantsJson },
    .{ .name = "old reports", .function = &trim },
};
pub const stage_count = crash_stages.len;

const watch_stages = [_]Stage{
    .{ .name = "mappings", .function = &readMap },
    .{ .name = "threads", .function = &readSiblings },
    .{ .name = "frames", .function = &adoptWatched },
    .{ .name = "names", .function = &nameFrames },
    .{ .name = "names of threads", .function = &nameSiblings },
    .{ .name = "code", .function = &copyCode },
    .{ .name = "lines", .function = &readLines, .wanted = &lines.wanted },
    .{ .name = "text", .function = &makeText },
    .{ .name = "output", .function = &sayAll },
};

const dump_stages = [_]Stage{
    .{ .name = "mappings", .function = &readMap },
    .{ .name = "frames", .function = &walkStack },
    .{ .name = "threads", .function = &readSiblings },
};

fn hasOutput() bool {
    return output >= 0;
}
fn wantsText() bool {
    return config.config.formats.text;
}
fn wantsJson() bool {
    return config.config.formats.json;
}
fn wantsMinidump() bool {
    return config.config.formats.minidump;
}

/// Writes to standard error in parts that a pipe takes at once, as long as somebody reads.
noinline fn say(bytes: []const u8) void {
    const part = 4096;
    const patience_ms = 1000;
    const descriptor: u32 = @intCast(output);
    var rest = bytes;
    while (rest.len > 0) {
        if (!report_calls.waitWritable(descriptor, patience_ms)) return;
        const length = @min(part, rest.len);
        if (!report_calls.writeAll(descriptor, rest[0..length])) return;
        rest = rest[length..];
    }
}

fn sayFirst(_: u64) callconv(.c) void {
    var buffer: [512]u8 = undefined;
    var first: Out = .{ .bytes = &buffer };
    text.writeFirst(&first, &space.snapshot);
    say(first.written());
}

fn readMap(_: u64) callconv(.c) void {
    space.snapshot.readMap();
}

fn walkStack(_: u64) callconv(.c) void {
    space.snapshot.walkStack();
}

fn nameFrames(_: u64) callconv(.c) void {
    space.snapshot.nameFrames();
}

fn readSiblings(_: u64) callconv(.c) void {
    siblings.read(&space.snapshot, &space.helper_stack);
}

fn readLines(_: u64) callconv(.c) void {
    lines.read(&space.snapshot, shared_lines, &space.answer, &space.copy_stack);
}

fn nameSiblings(_: u64) callconv(.c) void {
    space.snapshot.nameSiblings();
}

fn copyCode(_: u64) callconv(.c) void {
    space.snapshot.copyCode();
}

fn copyStack(_: u64) callconv(.c) void {
    space.snapshot.copyOwnStack();
}

/// The head line is only for the file: standard error has one already.
var head_length: usize = 0;

fn makeText(_: u64) callconv(.c) void {
    out = .{ .bytes = &space.text };
    text.writeHead(&out, &space.snapshot);
    head_length = out.used;
    text.writeBody(&out, &space.snapshot);
}

fn sayText(_: u64) callconv(.c) void {
    say(out.written()[head_length..]);
}

fn sayAll(_: u64) callconv(.c) void {
    say(out.written());
}

/// What is reported is the thread that is watched: it stands first.
fn adoptWatched(_: u64) callconv(.c) void {
    space.snapshot.adopt(watched);
}

fn writeText(_: u64) callconv(.c) void {
    place("txt", out.written());
}

fn writeJson(_: u64) callconv(.c) void {
    out = .{ .bytes = &space.text };
    json.write(&out, &space.snapshot);
    place("json", out.written());
}

fn writeMinidump(_: u64) callconv(.c) void {
    const limit = @min(config.config.bytes_max, space.dump.len);
    const length = minidump.write(&space.snapshot, space.dump[0..limit]);
    place("dmp", space.dump[0..length]);
}

fn trim(_: u64) callconv(.c) void {
    files.trim(&space.listing, config.config.reports_max);
}

/// Writes one file, and says so where it is not where it was wanted.
noinline fn place(ending: []const u8, bytes: []const u8) void {
    const id = space.snapshot.idText();
    const where = files.write(id, ending, bytes);
    if (where == .directory or output < 0) return;
    var buffer: [512]u8 = undefined;
    var said: Out = .{ .bytes = &buffer };
    said.texts(&.{ "FAULTLINE: ", id, ".", ending });
    said.text(switch (where) {
        .directory => unreachable,
        .working_directory => " is in the working directory: its own does not take it\n",
        .temporary_directory => " is in the temporary directory: its own does not take it\n",
        .nowhere => " could not be written anywhere\n",
    });
    say(said.written());
    if (where == .nowhere and std.mem.eql(u8, ending, "json")) say(bytes);
}

test {
    _ = @import("codes.zig");
    _ = @import("names.zig");
    _ = @import("out.zig");
    _ = files;
    _ = json;
    _ = names;
}
