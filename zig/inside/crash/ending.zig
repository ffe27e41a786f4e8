//! What becomes of an exception that nobody took while a crash reporter is installed: whether it is
//! reported, and who gets it afterwards.

const std = @import("std");
const sys = @import("../../sys.zig").machine;
const frame_module = @import("../../frame.zig");
const Frame = frame_module.Frame;
const chain = @import("../chain.zig");
const runtime_code = @import("../runtime_code.zig");
const signals = @import("../signals.zig");
const threads = @import("../threads.zig");
const config = @import("config.zig");
const reporter = @import("reporter.zig");

/// Passes the exception on, with a report first where the process is about to end.
pub fn pass(
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
    entry: chain.Entry,
) void {
    if (!config.active() or entry != .kernel) return chain.run(signal, info, frame, thread, entry);
    const previous = signals.previous(signal).top();
    const is_default = previous.handler == sys.sig_dfl;
    const is_ignored = previous.handler == sys.sig_ign;
    const is_runtimes = runtime_code.contains(previous.handler);
    const synchronous = signals.synchronous(signal, info.code);
    if (!synchronous) {
        // A signal that somebody sent ends the process only where nobody waits for it.
        if (!is_default and !is_runtimes) return chain.run(signal, info, frame, thread, entry);
        report(signal, info, frame, thread);
        return chain.die(signal, info);
    }
    if (runtime_code.contains(frame.instructionPointer()) and !is_default and !is_ignored) {
        return passRuntimes(signal, info, frame, thread);
    }
    report(signal, info, frame, thread);
    // A runtime's handler can do no more for code that is not its own than to raise the signal
    // again, or another one. The fault itself leaves a truer status and core.
    if (is_default or is_ignored or is_runtimes) return chain.die(signal, info);
    chain.run(signal, info, frame, thread, entry);
}

/// A fault of the runtime's own code: WebAssembly traps are such, and no crashes.
fn passRuntimes(
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
) void {
    const instruction_pointer = frame.instructionPointer();
    const stack_pointer = frame.stackPointer();
    chain.run(signal, info, frame, thread, .kernel);
    const moved = frame.instructionPointer() != instruction_pointer or
        frame.stackPointer() != stack_pointer;
    var now: sys.Action = .{};
    if (moved or !sys.sigaction(signal, null, &now)) return;
    if (now.handler == chain.ourAction().handler) return;
    // It gave up, by putting back what was there before itself: the fault comes again, elsewhere.
    report(signal, info, frame, thread);
}

/// Ends the process by the signal, with a report.
pub fn die(
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    thread: ?*threads.Thread,
) void {
    report(signal, info, frame, thread);
    chain.die(signal, info);
}

/// For an exception in our own code, which must end the process as if we were not installed.
pub fn stepAside(
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    thread: ?*threads.Thread,
) void {
    if (!config.active()) return chain.restorePrevious(signal);
    die(signal, info, frame, thread);
}

fn report(
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    thread: ?*threads.Thread,
) void {
    if (comptime !frame_module.has_crash_reports) return;
    reporter.run(&.{
        .reason = .crash,
        .signal = signal,
        .info = info,
        .frame = frame,
        .thread = thread,
    });
}

/// The disposition of the signal that asks for a report, before ours.
pub var previous_on_demand: sys.Action = .{};

/// The signal that asks for a report arrived: the process goes on. Whether it was that signal.
pub fn onDemand(signal: u32, info: *sys.Siginfo, frame: *Frame) bool {
    if (!config.active() or signal != config.config.on_demand) return false;
    reporter.run(&.{
        .reason = .on_demand,
        .signal = signal,
        .info = info,
        .frame = frame,
        .thread = threads.current(),
    });
    const previous = previous_on_demand;
    if (previous.handler == sys.sig_dfl or previous.handler == sys.sig_ign) return true;
    if (previous.flags & sys.sa_siginfo != 0) {
        const function: *const fn (u32, *sys.Siginfo, *Frame) callconv(.c) void =
            @ptrFromInt(previous.handler);
        function(signal, info, frame);
    } else {
        const function: *const fn (u32) callconv(.c) void = @ptrFromInt(previous.handler);
        function(signal);
    }
    return true;
}
