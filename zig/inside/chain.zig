//! What happens to a signal that is not ours: the previous disposition gets it, as if we were not
//! here. Bun depends on it (WebAssembly traps and Worker termination are SIGSEGVs), and so does
//! every crash report and core dump.

const std = @import("std");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const Frame = @import("../frame.zig").Frame;
const signals = @import("signals.zig");
const threads = @import("threads.zig");

/// An exception that repeats this often, with every register the same, will not end by itself.
const repeats_max = 100;

/// How our handler was entered. A handler that was installed over ours may call ours in turn; after
/// `reinstall` it is also the one below ours, and must not get the signal from us a second time.
pub const Entry = enum { kernel, handler };

/// Gives the signal to whoever had it before us.
pub fn run(
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
    entry: Entry,
) void {
    const previous = signals.previous(signal);
    const action = if (entry == .kernel) previous.top() else &previous.bottom;
    if (action.handler == sys.sig_dfl or action.handler == sys.sig_ign) {
        return byKernel(signal, info, action, entry);
    }
    const instruction_pointer = frame.instructionPointer();
    const stack_pointer = frame.stackPointer();
    call(action, signal, info, frame);

    const moved = frame.instructionPointer() != instruction_pointer or
        frame.stackPointer() != stack_pointer;
    afterCall(signal, info, frame, thread, moved);
}

/// The previous handler returned. Either it fixed something, or it gave up in one of two ways: by
/// resetting the disposition so that the fault comes again, or by doing nothing at all.
fn afterCall(
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
    moved: bool,
) void {
    var now: sys.Action = .{};
    const known = sys.sigaction(signal, null, &now);
    const displaced = known and now.handler != trampoline.handlerEntry();
    if (!signals.synchronous(signal, info.code)) {
        // A sent signal comes once. What the handler made of its own disposition is remembered, and
        // ours is put back: one stray kill must not disarm us (defect X3 of hw-exception).
        if (displaced) {
            signals.previous(signal).setTop(now);
            _ = sys.sigaction(signal, &ourAction(), null);
        }
        return;
    }
    if (moved or displaced) return;
    if (repeats(info, frame, thread)) restorePrevious(signal);
}

/// Whether this very exception came back so often that nobody can be mending it.
fn repeats(info: *const sys.Siginfo, frame: *const Frame, thread: ?*threads.Thread) bool {
    const known = thread orelse return false;
    const last = &known.unclaimed;
    const digest = frame.digest();
    const same = last.instruction_pointer == frame.instructionPointer() and
        last.address == info.payload.address and last.digest == digest;
    last.* = .{
        .instruction_pointer = frame.instructionPointer(),
        .address = info.payload.address,
        .digest = digest,
        .repeats = if (same) last.repeats + 1 else 0,
    };
    return last.repeats >= repeats_max;
}

/// Default and ignored dispositions are the kernel's to carry out, so that wait status and core are
/// true: a fault comes again by itself, everything else is queued again as it was.
fn byKernel(
    signal: u32,
    info: *const sys.Siginfo,
    action: *const sys.Action,
    entry: Entry,
) void {
    if (signals.synchronous(signal, info.code)) {
        if (!signals.passed(signal)) return set(signal, action);
        // The kernel never lets a process ignore an exception of its own.
        set(signal, &.{ .handler = sys.sig_dfl });
    } else {
        // A handler over ours has the signal, and passed it on; under us there is nobody.
        if (entry == .handler or action.handler == sys.sig_ign) return;
        set(signal, action);
    }
    if (!sys.requeue(signal, info)) sys.raise(signal);
}

/// Ends the process by this very signal, whoever had it before us.
pub fn die(signal: u32, info: *const sys.Siginfo) void {
    byKernel(signal, info, &.{ .handler = sys.sig_dfl }, .kernel);
}

fn set(signal: u32, action: *const sys.Action) void {
    _ = sys.sigaction(signal, action, null);
}

/// Puts the previous disposition back, so that the fault, which comes again on return, ends as if
/// we were not here.
pub fn restorePrevious(signal: u32) void {
    _ = sys.sigaction(signal, signals.previous(signal).top(), null);
}

/// Calls a handler as the kernel would have: with its mask, once only if it asked for that.
fn call(action: *sys.Action, signal: u32, info: *sys.Siginfo, frame: *Frame) void {
    const handler = action.handler;
    var mask = frame.signal_mask | action.mask;
    if (action.flags & sys.sa_nodefer == 0) mask |= @as(u64, 1) << @intCast(signal - 1);
    const flags = action.flags;
    if (flags & sys.sa_resethand != 0) action.handler = sys.sig_dfl;
    sys.setSignalMask(mask);
    if (flags & sys.sa_siginfo != 0) {
        const function: *const fn (u32, *sys.Siginfo, *Frame) callconv(.c) void =
            @ptrFromInt(handler);
        function(signal, info, frame);
    } else {
        const function: *const fn (u32) callconv(.c) void = @ptrFromInt(handler);
        function(signal);
    }
}

/// Our own disposition.
///
/// SA_SIGINFO: the exception is in its arguments. SA_ONSTACK: a stack overflow leaves no other
/// stack. SA_NODEFER: a fault of our own must reach us, not kill silently. The mask keeps out every
/// signal that is not an exception, so that nobody's handler runs on top of ours.
pub fn ourAction() sys.Action {
    return .{
        .handler = trampoline.handlerEntry(),
        .flags = sys.sa_siginfo | sys.sa_onstack | sys.sa_nodefer | sys.sa_restorer,
        .restorer = trampoline.restorer(),
        .mask = ~@as(u64, signals.mask_all),
    };
}
