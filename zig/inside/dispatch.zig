//! Runs JavaScript hooks: on the interrupted thread's own stack, outside signal context.
//!
//! The handler copies what rt_sigreturn needs below the interrupted function, together with the
//! floating-point state, and makes the thread continue in `fl_dispatch`. A hook that answers
//! "handled" lets rt_sigreturn restore the copy; to recover, the copy is first redirected to the
//! recovery point. Meanwhile the guard points at a barrier: what the hook does must not unwind
//! it.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const frame_machine = @import("../frame.zig").machine;
const Frame = frame_machine.Frame;
const ending = @import("crash/ending.zig");
const hooks = @import("hooks.zig");
const record = @import("record.zig");
const signals = @import("signals.zig");
const threads = @import("threads.zig");
const assert = std.debug.assert;

/// How deep hooks may run inside hooks.
pub const depth_max = 8;
/// What a hook has to itself, at least.
pub const stack_room = 128 * 1024;

/// On the interrupted thread's stack, 64-byte aligned.
pub const Dispatch = extern struct {
    /// The guard that was interrupted: `trampoline.ThreadLocal.guard` points here, as to a barrier.
    guard: u64,
    running: threads.Running,
    thread: *threads.Thread,
    /// The JavaScript hook to ask.
    function: u64,
    index: u32,
    signal: u32,
    /// What was pending in the record before.
    pending: abi.Pending,
    /// Whether a recovery follows when no hook takes it.
    recoverable: bool,
    synchronous: bool,
    /// Where in the chunk the exception lies.
    offset: u32,
    exception: *abi.Exception,
    skipped: abi.HooksSkipped,
    /// JavaScript hooks that were asked before.
    turn: u16,
    /// The engine did not run one, and has an error of its own ready.
    refused: bool,
    info: sys.Siginfo,
    /// Up to where the trampoline expects the context.
    _room: [trampoline.dispatch_context - 88 - @sizeOf(sys.Siginfo)]u8,
    context: Frame,

    comptime {
        assert(@offsetOf(Dispatch, "guard") == 0);
        assert(@offsetOf(Dispatch, "info") == 88);
        assert(@offsetOf(Dispatch, "context") == trampoline.dispatch_context);
        // Where the frame's records follow it, they do so here.
        assert(@sizeOf(Dispatch) == trampoline.dispatch_context + @sizeOf(Frame));
        // The kernel's frame would have a return address below.
        assert(trampoline.dispatch_context % 16 == 0);
    }
};

/// Why no JavaScript hook can run for this exception, if that is so.
pub fn barred(thread: *const threads.Thread, frame: *const Frame, armed: bool) abi.HooksSkipped {
    if (!armed) return .unguarded;
    const stack = frame.stackPointer();
    if (thread.stack_high == 0 or stack > thread.stack_high) return .stack;
    if (stack < thread.stack_low + thread.stack_guard) return .stack;
    const lowest = @max(thread.stack_low + thread.stack_guard, thread.script_low);
    if (stack < lowest) return .stack_full;
    const needed = size(frame) + stack_room;
    if (stack - lowest < needed) return .stack_full;
    if (thread.running) |running| if (running.depth + 1 >= depth_max) return .depth;
    if (!record.hasRoom(@ptrFromInt(thread.record))) return .no_room;
    return .none;
}

fn size(frame: *const Frame) u64 {
    const alignment = 64;
    return frame_machine.red_zone + frame.extendedSize() + @sizeOf(Dispatch) + 2 * alignment;
}

pub const Call = struct { slot: u32, raised: bool, recoverable: bool };

/// Makes the thread continue in the JavaScript hook `chosen`, once the handler returns.
pub fn begin(
    event: *const hooks.Event,
    thread: *threads.Thread,
    call: Call,
    chosen: hooks.Chosen,
) void {
    const frame = event.frame;
    const known: *abi.ThreadRecord = @ptrFromInt(thread.record);
    const offset = record.write(known, thread, event.signal, event.info, frame, .{
        .slot = call.slot,
        .raised = call.raised,
        .skipped = event.skipped,
    }).?; // `barred` asked for room.
    const top = frame.stackPointer() - frame_machine.red_zone;
    const state = (top - frame.extendedSize()) & ~@as(u64, 63);
    const place = (state - @sizeOf(Dispatch)) & ~@as(u64, 63);
    const dispatch: *Dispatch = @ptrFromInt(place);
    dispatch.* = .{
        .guard = thread.local.guard,
        .running = .{
            .outer = thread.running,
            .hook = chosen.id,
            .depth = if (thread.running) |running| running.depth + 1 else 0,
        },
        .thread = thread,
        .function = chosen.function,
        .index = chosen.index,
        .signal = event.signal,
        .pending = known.pending,
        .recoverable = call.recoverable,
        .synchronous = signals.synchronous(event.signal, event.info.code),
        .offset = offset,
        .exception = @ptrFromInt(known.chunk + offset),
        .skipped = event.skipped,
        .turn = 0,
        .refused = false,
        ._room = undefined,
        .info = event.info.*,
        .context = undefined,
    };
    frame.copyTo(&dispatch.context, @ptrFromInt(state));
    known.pending = .none;
    thread.running = &dispatch.running;
    thread.local.guard = place | trampoline.ThreadLocal.barrier_bit;
    frame.signal_mask = thread.signal_mask;
    const control: frame_machine.Control = .{
        .float = frame_machine.default_control,
        .key_rights = thread.key_rights,
    };
    frame.resumeAt(trampoline.dispatchEntry(), place, place, control);
}

/// Asks hooks until one takes the exception. Returns to rt_sigreturn of what is in `context` then.
fn runHooks(dispatch: *Dispatch) callconv(.c) void {
    const thread = dispatch.thread;
    while (true) {
        if (askJavascript(dispatch)) |answer| switch (answer) {
            .handled => return finish(dispatch, .handled),
            .thrown => return finish(dispatch, .thrown),
            .next => {},
        } else {
            dispatch.refused = true;
            dispatch.skipped = .stack_full;
        }
        var event: hooks.Event = .{
            .signal = dispatch.signal,
            .info = &dispatch.info,
            .frame = &dispatch.context,
            .thread = thread,
            .armed = true,
            .barred = if (dispatch.refused) .stack_full else .none,
            .skipped = dispatch.skipped,
        };
        const answer = hooks.ask(&event, dispatch.running.hook);
        dispatch.skipped = event.skipped;
        switch (answer) {
            .javascript => |chosen| {
                dispatch.running.hook = chosen.id;
                dispatch.function = chosen.function;
                dispatch.index = chosen.index;
            },
            else => return finish(dispatch, answer),
        }
    }
}

comptime {
    @export(&runHooks, .{ .name = "fl_run_hooks", .visibility = .hidden });
}

/// Null when the engine refused to run the hook.
fn askJavascript(dispatch: *Dispatch) ?abi.HookAnswer {
    const function: *const fn (u32, u32, u32, u32, f64) callconv(.c) i32 =
        @ptrFromInt(dispatch.function);
    const place: f64 = @floatFromInt(@intFromPtr(dispatch));
    const depth = dispatch.running.depth;
    const answer = function(dispatch.index, depth, dispatch.turn, dispatch.offset, place);
    dispatch.turn +|= 1;
    return std.enums.fromInt(abi.HookAnswer, answer);
}

fn finish(dispatch: *Dispatch, answer: hooks.Answer) void {
    const thread = dispatch.thread;
    const known: *abi.ThreadRecord = @ptrFromInt(thread.record);
    thread.running = dispatch.running.outer;
    thread.local.guard = dispatch.guard;
    known.pending = dispatch.pending;
    dispatch.exception.hooks_skipped = dispatch.skipped;
    switch (answer) {
        .handled => hooks.countRepeat(thread),
        .mended => thread.progress = .{},
        .thrown => unwind(dispatch, known),
        .die => ending.die(dispatch.signal, &dispatch.info, &dispatch.context, thread),
        .nobody => if (dispatch.recoverable) unwind(dispatch, known) else pass(dispatch),
        .javascript => unreachable,
    }
}

/// Continues at the recovery point.
fn unwind(dispatch: *Dispatch, known: *abi.ThreadRecord) void {
    const thread = dispatch.thread;
    // The engine throws its own error as soon as the call is over, and nobody would take ours.
    known.pending = if (dispatch.refused) .none else .hooked;
    known.exception_offset = dispatch.running.depth;
    threads.countCaught();
    thread.progress = .{};
    thread.stepping = false;
    const point: *const trampoline.RecoveryFrame = @ptrFromInt(dispatch.guard);
    const offset = @intFromPtr(thread.local) -% thread.key;
    dispatch.context.signal_mask = thread.signal_mask;
    dispatch.context.resumeAt(trampoline.landing(), dispatch.guard, offset, .{
        .float = point.control(),
        .key_rights = thread.key_rights,
    });
}

/// Lets it happen as if there were no hooks. Most exceptions come again by themselves; what does
/// not is passed on from here.
fn pass(dispatch: *Dispatch) void {
    const thread = dispatch.thread;
    const frame = &dispatch.context;
    if (!dispatch.synchronous or signals.passed(dispatch.signal)) {
        return ending.pass(dispatch.signal, &dispatch.info, frame, thread, .kernel);
    }
    thread.passing = .{
        .signal = dispatch.signal,
        .instruction_pointer = frame.instructionPointer(),
        .digest = frame.digest(),
    };
}
