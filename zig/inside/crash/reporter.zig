//! Reports an exception that nobody took. The work is cut into stages that run on a stack of their
//! own: one that faults or does not end is abandoned, and the next one goes on with what there is.
//! Whatever happens, the handler goes on afterwards, and the process ends as it would have.

const std = @import("std");
const abi = @import("../../abi.zig");
const frame_module = @import("../../frame.zig");
const sys = @import("../../sys.zig").machine;
const report_calls = @import("../../sys.zig").report;
const trampoline = @import("../../trampoline.zig").machine;
const chain = @import("../chain.zig");
const signals = @import("../signals.zig");
const threads = @import("../threads.zig");
const config = @import("config.zig");
const files = @import("files.zig");
const json = @import("json.zig");
const lines = @import("lines.zig");
const minidump = @import("minidump.zig");
const names = @import("names.zig");
const Out = @import("out.zig").Out;
const siblings = @import("siblings.zig");
const snapshot_module = @import("snapshot.zig");
const text = @import("text.zig");
const Frame = frame_module.Frame;
const Snapshot = snapshot_module.Snapshot;

const work_stack_length = 256 * 1024;
const nested_stack_length = 64 * 1024;
pub const dump_max = 16 * 1024 * 1024;
const text_max = 512 * 1024;

/// All memory that a report needs. Mapped when the reporter is installed, touched when it works.
pub const Workspace = struct {
    work_stack: [work_stack_length]u8 align(4096),
    /// Where the kernel delivers what happens meanwhile: the thread's own alternate stack is in use.
    nested_stack: [nested_stack_length]u8 align(4096),
    helper_stack: [siblings.stack_length]u8 align(4096),
    copy_stack: [lines.stack_length]u8 align(4096),
    answer: [lines.answer_length]u8 align(16),
    snapshot: Snapshot,
    listing: files.Listing,
    text: [text_max]u8,
    dump: [dump_max]u8,
};

var workspace: ?*Workspace = null;
var shared_lines: *lines.Lines = undefined;

/// Before the reporter is active.
pub fn setWorkspace(memory: *Workspace, shared: *lines.Lines) void {
    workspace = memory;
    shared_lines = shared;
}

/// The thread that reports; 0 when none does.
var owner: u32 = 0;
/// Its process: a copy of it that shares its memory is another one.
var owner_process: u32 = 0;
/// Where a stage that is abandoned goes on; 0 when none runs.
var resume_at: u64 = 0;
/// The deadline has passed.
var expired: bool = false;
/// How many reports there were: part of their ids.
var serial: u32 = 0;
var key_rights: u32 = 0;

const timer_mark: u64 = 0x666c_5f64_6561_646c; // "fl_deadl"

/// What the stages share.
const Session = struct {
    space: *Workspace,
    previous_stack: sys.AlternateStack = .{},
    text: Out,
};
var session: Session = undefined;

/// Whether this thread reports right now, and `signal` came from that: then `frame` goes on with
/// the next stage.
pub fn intercept(signal: u32, info: *const sys.Siginfo, frame: *Frame) bool {
    const thread = @atomicLoad(u32, &owner, .acquire);
    if (thread == 0) return false;
    if (sys.processId() != @atomicLoad(u32, &owner_process, .acquire)) {
        // The helper that looks at other threads. It is of no use any more.
        report_calls.exitProcess(1);
    }
    if (thread != sys.threadId()) return false;
    const payload: u64 = std.mem.readInt(u64, info.payload.bytes[8..16], .little);
    if (info.code == report_calls.si_timer and payload == timer_mark) {
        expired = true;
    } else if (!signals.synchronous(signal, info.code)) return false;
    if (resume_at == 0) return info.code == report_calls.si_timer;
    frame.resumeAt(trampoline.abandonStage(), resume_at, 0, .{
        .mxcsr = frame_module.machine.default_mxcsr,
        .key_rights = key_rights,
    });
    return true;
}

pub const Event = struct {
    reason: snapshot_module.Reason,
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    thread: ?*const threads.Thread,
};

/// Writes a report. Returns when it is finished, given up or not to be had.
pub fn run(event: *const Event) void {
    if (!config.active()) return;
    const space = workspace orelse return;
    if (!claim()) return;
    defer release();
    // Our own faults and the deadline must reach us, whatever the thread had blocked.
    const mask = sys.signalMask();
    sys.setSignalMask(~@as(u64, signals.mask_all));
    defer sys.setSignalMask(mask);
    const still_ours = takeFaults();
    defer giveFaultsBack(&still_ours);
    expired = false;
    session = .{ .space = space, .text = .{ .bytes = &space.text } };
    const nanoseconds = @as(u64, config.config.deadline_ms) * 1_000_000;
    const timer = report_calls.startTimer(sys.threadId(), sys.sigsys, timer_mark, nanoseconds);
    defer if (timer) |known| report_calls.stopTimer(known);
    key_rights = if (event.thread) |known| known.key_rights else 0;
    space.snapshot.begin(
        event.reason,
        event.signal,
        event.info,
        event.frame,
        event.thread,
    );
    makeId(&space.snapshot);
    runStages();
}

fn runStages() void {
    _ = runStage(&useNestedStack);
    for (&stages, 1..) |*stage, number| {
        if (expired or !stage.wanted()) continue;
        const function = if (number == sabotaged_stage) &failOnPurpose else stage.function;
        if (!runStage(function)) session.space.snapshot.noteFailure(stage.name, expired);
    }
    siblings.stopHelper();
    lines.stopCopy();
    expired = false;
    _ = runStage(&usePreviousStack);
}

/// For tests: the stage that fails, from 1 on, and how.
pub var sabotaged_stage: u32 = 0;
pub var sabotage: abi.Sabotage = .none;

pub const stage_count = stages.len;

fn failOnPurpose(_: u64) callconv(.c) void {
    switch (sabotage) {
        .none => {},
        .fault => @as(*allowzero volatile u8, @ptrFromInt(16)).* = 1,
        .endless => while (true) std.mem.doNotOptimizeAway(sabotaged_stage),
        .abort => sys.raise(sys.sigabrt),
    }
}

/// Runs one stage to its end, to a fault or to the deadline.
fn runStage(function: *const fn (u64) callconv(.c) void) bool {
    const top = @intFromPtr(&session.space.work_stack) + work_stack_length;
    const finished = trampoline.runStage(function, 0, top, &resume_at);
    resume_at = 0;
    return finished;
}

/// One report at a time. Who comes second waits: the first one ends the process.
fn claim() bool {
    const own = sys.threadId();
    const wait = 5_000_000;
    var left = @as(u64, config.config.deadline_ms) * 1_000_000 + 1_000_000_000;
    while (@cmpxchgStrong(u32, &owner, 0, own, .acquire, .monotonic)) |other| {
        if (other == own or left < wait) return false;
        report_calls.sleep(wait);
        left -= wait;
    }
    @atomicStore(u32, &owner_process, sys.processId(), .release);
    return true;
}

fn release() void {
    resume_at = 0;
    @atomicStore(u32, &owner, 0, .release);
}

/// The dispositions that reads which may fail, and the deadline, depend on.
const needed = [_]u32{ sys.sigsegv, sys.sigbus, sys.sigsys, sys.sigill, sys.sigfpe, sys.sigtrap };

fn takeFaults() [needed.len]sys.Action {
    var before: [needed.len]sys.Action = @splat(.{});
    for (needed, &before) |signal, *action| _ = sys.sigaction(signal, &chain.ourAction(), action);
    return before;
}

fn giveFaultsBack(before: *const [needed.len]sys.Action) void {
    for (needed, before) |signal, *action| _ = sys.sigaction(signal, action, null);
}

fn makeId(snapshot: *Snapshot) void {
    const date = json.dateOf(snapshot.time);
    var out: Out = .{ .bytes = &snapshot.id };
    out.digits(date.year, 10, 4);
    out.digits(date.month, 10, 2);
    out.digits(date.day, 10, 2);
    out.byte('T');
    out.digits(date.hour, 10, 2);
    out.digits(date.minute, 10, 2);
    out.digits(date.second, 10, 2);
    out.byte('-');
    out.decimal(snapshot.process_id);
    out.byte('-');
    out.decimal(snapshot.thread_id);
    out.byte('-');
    out.decimal(serial);
    serial += 1;
    snapshot.id_length = out.used;
}

const Stage = struct {
    name: []const u8,
    function: *const fn (u64) callconv(.c) void,
    wanted: *const fn () bool = &always,
};

fn always() bool {
    return true;
}

const stages = [_]Stage{
    .{ .name = "first line", .function = &sayFirst, .wanted = &hasStderr },
    .{ .name = "mappings", .function = &readMap },
    .{ .name = "frames", .function = &walkStack },
    .{ .name = "threads", .function = &readSiblings },
    .{ .name = "names", .function = &nameFrames },
    .{ .name = "names of threads", .function = &nameSiblings },
    .{ .name = "lines", .function = &readLines, .wanted = &lines.wanted },
    .{ .name = "code", .function = &copyCode },
    .{ .name = "stack", .function = &copyStack },
    .{ .name = "text", .function = &makeText },
    .{ .name = "standard error", .function = &sayText, .wanted = &hasStderr },
    .{ .name = "text file", .function = &writeText, .wanted = &wantsText },
    .{ .name = "JSON file", .function = &writeJson, .wanted = &wantsJson },
    .{ .name = "minidump", .function = &writeMinidump, .wanted = &wantsMinidump },
    .{ .name = "old reports", .function = &trim },
};

/// A signal that arrives while the thread's alternate stack is in use, but not by the code that it
/// interrupts, would overwrite it: the kernel starts at its top again.
fn useNestedStack(_: u64) callconv(.c) void {
    const space = session.space;
    const own: sys.AlternateStack = .{
        .base = @intFromPtr(&space.nested_stack),
        .length = nested_stack_length,
    };
    _ = sys.sigaltstack(&own, &session.previous_stack);
}

fn usePreviousStack(_: u64) callconv(.c) void {
    var before = session.previous_stack;
    before.flags &= sys.AlternateStack.disabled;
    _ = sys.sigaltstack(&before, null);
}

fn hasStderr() bool {
    return config.config.stderr >= 0;
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
fn say(bytes: []const u8) void {
    const part = 4096;
    const patience_ms = 1000;
    const descriptor: u32 = @intCast(config.config.stderr);
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
    var out: Out = .{ .bytes = &buffer };
    text.writeFirst(&out, &session.space.snapshot);
    say(out.written());
}

fn readMap(_: u64) callconv(.c) void {
    session.space.snapshot.readMap();
}

fn walkStack(_: u64) callconv(.c) void {
    session.space.snapshot.walkStack();
}

fn nameFrames(_: u64) callconv(.c) void {
    session.space.snapshot.nameFrames();
}

fn readSiblings(_: u64) callconv(.c) void {
    siblings.read(&session.space.snapshot, &session.space.helper_stack);
}

fn readLines(_: u64) callconv(.c) void {
    const space = session.space;
    lines.read(&space.snapshot, shared_lines, &space.answer, &space.copy_stack);
}

fn nameSiblings(_: u64) callconv(.c) void {
    session.space.snapshot.nameSiblings();
}

fn copyCode(_: u64) callconv(.c) void {
    session.space.snapshot.copyCode();
}

fn copyStack(_: u64) callconv(.c) void {
    session.space.snapshot.copyOwnStack();
}

/// The head line is only for the file: standard error has one already.
var head_length: usize = 0;

fn makeText(_: u64) callconv(.c) void {
    const out = &session.text;
    out.used = 0;
    text.writeHead(out, &session.space.snapshot);
    head_length = out.used;
    text.writeBody(out, &session.space.snapshot);
}

fn sayText(_: u64) callconv(.c) void {
    say(session.text.written()[head_length..]);
}

fn writeText(_: u64) callconv(.c) void {
    place("txt", session.text.written());
}

fn writeJson(_: u64) callconv(.c) void {
    const out = &session.text;
    out.used = 0;
    json.write(out, &session.space.snapshot);
    place("json", out.written());
}

fn writeMinidump(_: u64) callconv(.c) void {
    const space = session.space;
    const limit = @min(config.config.bytes_max, space.dump.len);
    const length = minidump.write(&space.snapshot, space.dump[0..limit]);
    place("dmp", space.dump[0..length]);
}

fn trim(_: u64) callconv(.c) void {
    files.trim(&session.space.listing, config.config.reports_max);
}

/// Writes one file, and says so where it is not where it was wanted.
fn place(ending: []const u8, bytes: []const u8) void {
    const id = session.space.snapshot.idText();
    const where = files.write(id, ending, bytes);
    if (where == .directory or config.config.stderr < 0) return;
    var buffer: [512]u8 = undefined;
    var out: Out = .{ .bytes = &buffer };
    out.texts(&.{ "FAULTLINE: ", id, ".", ending });
    out.text(switch (where) {
        .directory => unreachable,
        .working_directory => " is in the working directory: its own does not take it\n",
        .temporary_directory => " is in the temporary directory: its own does not take it\n",
        .nowhere => " could not be written anywhere\n",
    });
    say(out.written());
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
