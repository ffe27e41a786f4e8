//! Runs the stages of a report on a stack of their own: one that faults or does not end is
//! abandoned, and the next one goes on with what there is. Whatever happens, the caller goes on
//! afterwards.

const std = @import("std");
const abi = @import("../../abi.zig");
const frame_module = @import("../../frame.zig");
const sys = @import("../../sys.zig").machine;
const report_calls = @import("../../sys.zig").report;
const trampoline = @import("../../trampoline.zig").machine;
const chain = @import("../chain.zig");
const signals = @import("../signals.zig");
const Frame = frame_module.Frame;

pub const work_stack_length = 256 * 1024;
pub const nested_stack_length = 64 * 1024;

/// Mapped outside the handler.
pub const Stacks = struct {
    work: [work_stack_length]u8 align(4096),
    /// Where the kernel delivers what happens meanwhile: the thread's own alternate stack is in
    /// use.
    nested: [nested_stack_length]u8 align(4096),
};

pub const Stage = struct {
    name: []const u8,
    function: *const fn (u64) callconv(.c) void,
    wanted: *const fn () bool = &always,
};

fn always() bool {
    return true;
}

/// Noted when a stage did not come to its end.
pub const Failure = *const fn (stage: []const u8, expired: bool) void;

/// The thread that works; 0 when none does.
var owner: u32 = 0;
/// Its process: a copy of it that shares its memory is another one.
var owner_process: u32 = 0;
/// Where a stage that is abandoned goes on; 0 when none runs.
var resume_at: u64 = 0;
/// The time of the stage is over.
var expired: bool = false;
/// When that will be.
var stage_end: u64 = 0;
var key_rights: u32 = 0;
var stacks: *Stacks = undefined;
var previous_stack: sys.AlternateStack = .{};

const timer_mark: u64 = 0x666c_5f64_6561_646c; // "fl_deadl"

/// For tests: the stage that fails, from 1 on, and how.
pub var sabotaged_stage: u32 = 0;
pub var sabotage: abi.Sabotage = .none;

fn failOnPurpose(_: u64) callconv(.c) void {
    switch (sabotage) {
        .none => {},
        .fault => @as(*allowzero volatile u8, @ptrFromInt(16)).* = 1,
        .endless => while (true) std.mem.doNotOptimizeAway(sabotaged_stage),
        .abort => sys.raise(sys.sigabrt),
    }
}

/// Whether `signal` came from a stage that this thread works at: `frame` then goes on with the
/// next.
pub noinline fn intercept(signal: u32, info: *const sys.Siginfo, frame: *Frame) bool {
    if (comptime !frame_module.has_crash_reports) return false;
    const thread = @atomicLoad(u32, &owner, .acquire);
    if (thread == 0) return false;
    if (sys.processId() != @atomicLoad(u32, &owner_process, .acquire)) {
        // A helper process. It is of no use any more.
        report_calls.exitProcess(1);
    }
    if (thread != sys.threadId()) return false;
    const payload: u64 = std.mem.readInt(u64, info.payload.bytes[8..16], .little);
    const is_timer = info.code == report_calls.si_timer and payload == timer_mark;
    if (!is_timer and !isOwnFault(signal, info)) return false;
    // Late for the stage that it was meant for.
    if (resume_at == 0) return is_timer;
    expired = is_timer;
    frame.resumeAt(trampoline.abandonStage(), resume_at, 0, .{
        .float = frame_module.machine.default_control,
        .key_rights = key_rights,
    });
    return true;
}

/// What a stage did to itself: by an instruction, or by giving up.
fn isOwnFault(signal: u32, info: *const sys.Siginfo) bool {
    if (signals.synchronous(signal, info.code)) return true;
    return info.code == sys.si_tkill and info.payload.sender.process_id == sys.processId();
}

/// One at a time. Who comes second waits: the first one mostly ends the process.
pub fn claim(patience_ms: u32) bool {
    const own = sys.threadId();
    const wait = 5_000_000;
    var left = @as(u64, patience_ms) * 1_000_000 + 1_000_000_000;
    // Before anybody can see an owner: who finds another process in it ends.
    @atomicStore(u32, &owner_process, sys.processId(), .release);
    while (@cmpxchgStrong(u32, &owner, 0, own, .acquire, .monotonic)) |other| {
        if (other == own or left < wait) return false;
        report_calls.sleep(wait);
        left -= wait;
    }
    return true;
}

pub fn release() void {
    resume_at = 0;
    @atomicStore(u32, &owner, 0, .release);
}

/// The dispositions that reads which may fail, and the deadline, depend on.
const needed = signals.handled;

/// Runs all stages that are wanted, within a time. The caller has claimed.
pub noinline fn run(
    memory: *Stacks,
    stages: []const Stage,
    deadline_ms: u32,
    rights: u32,
    failure: Failure,
) void {
    stacks = memory;
    key_rights = rights;
    // Our own faults and the deadline must reach us, whatever the thread had blocked.
    const mask = sys.signalMask();
    sys.setSignalMask(~@as(u64, signals.mask_all));
    defer sys.setSignalMask(mask);
    var before: [needed.len]sys.Action = @splat(.{});
    for (needed, &before) |signal, *action| _ = sys.sigaction(signal, &chain.ourAction(), action);
    defer for (needed, &before) |signal, *action| {
        _ = sys.sigaction(signal, action, null);
    };
    const pending_before = report_calls.pendingSignals();
    // What our own writes raise, to a pipe that nobody reads or past a limit, must not be the end.
    defer report_calls.dropSignals(report_calls.write_signals & ~pending_before);
    const end = report_calls.now(report_calls.clock_monotonic) +
        @as(u64, deadline_ms) * 1_000_000;
    const timer = report_calls.makeTimer(sys.threadId(), sys.sigsys, timer_mark);
    defer if (timer) |known| report_calls.stopTimer(known);

    _ = runStage(&useNestedStack);
    for (stages, 1..) |*stage, number| {
        if (!stage.wanted()) continue;
        const now = report_calls.now(report_calls.clock_monotonic);
        if (now >= end) break;
        // Half of what is left: a stage that does not end leaves time for those behind it.
        const share = @max((end - now) / 2, @min(end - now, share_min));
        if (timer) |known| report_calls.setTimer(known, share);
        stage_end = now + share;
        expired = false;
        const function = if (number == sabotaged_stage) &failOnPurpose else stage.function;
        if (!runStage(function)) failure(stage.name, expired);
    }
    if (timer) |known| report_calls.setTimer(known, 0);
    _ = runStage(&usePreviousStack);
}

/// Until when a stage may wait for somebody, at most for `patience` nanoseconds: not so long that
/// it would be abandoned.
pub fn waitEnd(patience: u64) u64 {
    const margin = 10_000_000;
    return @min(report_calls.now(report_calls.clock_monotonic) + patience, stage_end -| margin);
}

/// Less time is not divided any more.
const share_min = 20_000_000;

/// Runs one stage to its end, to a fault or until its time is over.
fn runStage(function: *const fn (u64) callconv(.c) void) bool {
    const top = @intFromPtr(&stacks.work) + work_stack_length;
    const finished = trampoline.runStage(function, 0, top, &resume_at);
    resume_at = 0;
    return finished;
}

/// A signal that arrives while the thread's alternate stack is in use, but not by the code that it
/// interrupts, would overwrite it: the kernel starts at its top again.
fn useNestedStack(_: u64) callconv(.c) void {
    const own: sys.AlternateStack = .{
        .base = @intFromPtr(&stacks.nested),
        .length = nested_stack_length,
    };
    _ = sys.sigaltstack(&own, &previous_stack);
}

fn usePreviousStack(_: u64) callconv(.c) void {
    previous_stack.flags &= sys.AlternateStack.disabled;
    _ = sys.sigaltstack(&previous_stack, null);
}
