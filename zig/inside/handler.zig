//! The signal handler. Everything in this folder runs inside it: no allocator, no lock, no libc, no
//! thread-local of a thread that never attached. What is caught follows from the siginfo, the
//! thread's recovery frame and the slot of the running call, and from nothing else.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const frame_machine = @import("../frame.zig").machine;
const Frame = frame_machine.Frame;
const chain = @import("chain.zig");
const dispatch = @import("dispatch.zig");
const ending = @import("crash/ending.zig");
const hooks = @import("hooks.zig");
const record = @import("record.zig");
const runtime_code = @import("runtime_code.zig");
const session = @import("crash/session.zig");
const signals = @import("signals.zig");
const strangers = @import("strangers.zig");
const threads = @import("threads.zig");

/// Whether a recovery leaves the handler directly. It is cheaper than rt_sigreturn, which alone
/// puts back PKRU where that is in use.
pub var leave_by_jump = false;

/// Entered from `fl_handler`, with the kernel's arguments and the stack pointer at entry. The
/// kernel enters with it just below the frame; anyone else called us.
fn handleSignal(
    signal: u32,
    info: *sys.Siginfo,
    context: *anyopaque,
    stack_pointer: u64,
) callconv(.c) void {
    const frame: *Frame = .from(context);
    const entry: chain.Entry = if (frame.enteredByKernel(stack_pointer)) .kernel else .handler;
    const synchronous = signals.synchronous(signal, info.code);
    if (synchronous) {
        if (trampoline.fixup(frame.instructionPointer())) |end| return frame.redirect(end);
    }
    if (session.intercept(signal, info, frame)) return;
    if (ending.onDemand(signal, info, frame)) return;
    const thread = threads.current() orelse {
        return settle(strangers.decide(signal, info, frame), signal, info, frame, null, entry);
    };
    if (thread.busy and synchronous) {
        // A fault of our own code. Nothing here can be trusted any more, so step aside: the fault
        // comes again and ends as if we were not installed.
        return ending.stepAside(signal, info, frame, thread);
    }
    if (thread.busy) return chain.run(signal, info, frame, thread, entry);

    thread.busy = true;
    const fate = decide(signal, info, frame, thread, synchronous);
    thread.busy = false;
    settle(fate, signal, info, frame, thread, entry);
}

comptime {
    @export(&handleSignal, .{ .name = "fl_handle_signal", .visibility = .hidden });
}

fn settle(
    fate: strangers.Fate,
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: ?*threads.Thread,
    entry: chain.Entry,
) void {
    switch (fate) {
        .settled => {},
        .pass => ending.pass(signal, info, frame, thread, entry),
        .die => ending.die(signal, info, frame, thread),
        .step_aside => ending.stepAside(signal, info, frame, thread),
    }
}

/// Who takes the exception: a hook, the recovery point, or nobody here.
fn decide(
    signal: u32,
    info: *sys.Siginfo,
    frame: *Frame,
    thread: *threads.Thread,
    synchronous: bool,
) strangers.Fate {
    if (thread.stepping and endsSteps(signal, info, frame, thread)) return .settled;
    const call = openCall(thread, frame);
    const raised = !synchronous and call != null and
        raisedByCall(call.?.slot, signal, info, frame);
    var skipped: abi.HooksSkipped = .none;
    const ours = synchronous or raised or signals.advisory(signal, info.code);
    const passing = isPassing(signal, frame, thread);
    if (hooks.any() and ours and !passing) {
        var event: hooks.Event = .{
            .signal = signal,
            .info = info,
            .frame = frame,
            .thread = thread,
            .armed = call != null,
            .barred = dispatch.barred(thread, frame, call != null),
        };
        switch (askHooks(&event, thread)) {
            .nobody => {},
            .handled, .mended => return .settled,
            .die => return .die,
            .thrown => if (call) |open| {
                if (recover(signal, info, frame, thread, open, raised, event.skipped)) {
                    return .settled;
                }
            },
            .javascript => |chosen| {
                dispatch.begin(&event, thread, .{
                    .slot = call.?.index,
                    .raised = raised,
                    .recoverable = takes(call.?.slot, signal, synchronous, raised),
                }, chosen);
                return .settled;
            },
        }
        skipped = event.skipped;
    }
    const open = call orelse return .pass;
    if (!takes(open.slot, signal, synchronous, raised)) return .pass;
    const recovered = recover(signal, info, frame, thread, open, raised, skipped);
    return if (recovered) .settled else .pass;
}

/// Asks the hooks, unless they have not mended this very exception a thousand times.
fn askHooks(event: *hooks.Event, thread: *threads.Thread) hooks.Answer {
    if (hooks.stuck(thread, event.info, event.frame)) {
        event.skipped = .no_progress;
        return .nobody;
    }
    const answer = hooks.ask(event, hooks.everything);
    if (answer == .handled) hooks.countRepeat(thread);
    if (answer == .mended) thread.progress = .{};
    return answer;
}

/// Whether the running call catches this signal.
fn takes(slot: *const trampoline.Slot, signal: u32, synchronous: bool, raised: bool) bool {
    if (slot.propagates()) return false;
    return raised or (synchronous and slot.signals & signals.bit(signal) != 0);
}

/// Single steps that a hook asked for end with the guarded function, and where it calls JavaScript.
fn endsSteps(signal: u32, info: *const sys.Siginfo, frame: *Frame, thread: *threads.Thread) bool {
    if (signal != sys.sigtrap or info.code != sys.trap_trace) return false;
    if (!trampoline.leavesGuarded(frame.instructionPointer())) return false;
    frame.setSingleStep(false);
    thread.stepping = false;
    return true;
}

/// Whether hooks have seen this exception already, and it came again to be passed on.
fn isPassing(signal: u32, frame: *const Frame, thread: *threads.Thread) bool {
    const passing = thread.passing;
    if (passing.signal == 0) return false;
    thread.passing = .{};
    return passing.signal == signal and passing.digest == frame.digest() and
        passing.instruction_pointer == frame.instructionPointer();
}

/// The guarded call that may be abandoned where the thread is now.
fn openCall(thread: *const threads.Thread, frame: *const Frame) ?Call {
    const guard = thread.local.guard;
    if (guard == 0 or guard & trampoline.ThreadLocal.barrier_bit != 0) return null;
    if (thread.record == 0) return null;
    if (onAlternateStack(thread, frame.stackPointer())) return null;
    if (runtime_code.contains(frame.instructionPointer())) return null;
    return runningCall(thread, guard, frame.instructionPointer());
}

/// Records the exception and redirects the thread to its recovery point. False when there is no
/// memory for the record.
fn recover(
    signal: u32,
    info: *const sys.Siginfo,
    frame: *Frame,
    thread: *threads.Thread,
    call: Call,
    raised: bool,
    skipped: abi.HooksSkipped,
) bool {
    const known: *abi.ThreadRecord = @ptrFromInt(thread.record);
    known.exception_offset = record.write(known, thread, signal, info, frame, .{
        .slot = call.index,
        .raised = raised,
        .skipped = skipped,
    }) orelse return false;
    known.pending = .exception;
    frame.signal_mask = thread.signal_mask;
    thread.progress = .{};
    thread.stepping = false;
    threads.countCaught();
    const guard = thread.local.guard;
    const offset = @intFromPtr(thread.local) -% thread.key;
    if (leave_by_jump) {
        // What rt_sigreturn would restore: the mask. The kernel cleared the vector state for us,
        // the landing pad sets the control words, and the alternate stack is free once we are off
        // it.
        sys.setSignalMask(thread.signal_mask);
        thread.busy = false;
        trampoline.jump(guard, offset);
    }
    const point: *const trampoline.RecoveryFrame = @ptrFromInt(guard);
    const control: frame_machine.Control = .{
        .float = point.control(),
        .key_rights = thread.key_rights,
    };
    frame.resumeAt(trampoline.landing(), guard, offset, control);
    return true;
}

const Call = struct { slot: *const trampoline.Slot, index: u32 };

/// The call whose recovery frame is at `guard`, if the frame is still whole. The word below it is
/// the guarded function's return address, the first thing that a buffer overrun on the stack
/// destroys.
fn runningCall(thread: *const threads.Thread, guard: u64, ip: u64) ?Call {
    if (guard % 16 != 0) return null;
    if (thread.stack_high != 0) {
        if (guard < thread.stack_low) return null;
        if (guard > thread.stack_high -| @sizeOf(trampoline.RecoveryFrame)) return null;
    }
    const offset = @offsetOf(trampoline.RecoveryFrame, "slot");
    const address = trampoline.probeLoad(guard + offset) orelse return null;
    const index = trampoline.slotIndex(address) orelse abi.slot_of_block;
    if (index == abi.slot_of_block and (address == 0 or address != thread.block_slot)) return null;
    const slot: *const trampoline.Slot = @ptrFromInt(address);
    if (trampoline.isCallSite(ip)) return .{ .slot = slot, .index = index };
    const expected = trampoline.returnAddress(slot, index < trampoline.first_stack_slot);
    const below = trampoline.probeLoad(guard - expected.distance) orelse return null;
    return if (below == expected.value) .{ .slot = slot, .index = index } else null;
}

/// A signal that the call names and that this thread sent to itself: raise() and abort() use tgkill
/// (code SI_TKILL) from within, so the thread has just left a system call. Another thread's tgkill
/// finds it elsewhere.
fn raisedByCall(
    slot: *const trampoline.Slot,
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
) bool {
    if (slot.raised & signals.bit(signal) == 0) return false;
    if (info.code != sys.si_tkill) return false;
    if (info.payload.sender.process_id != sys.processId()) return false;
    if (!frame.systemCallSucceeded()) return false;
    var code: [frame_machine.system_call.len]u8 = undefined;
    const at = frame.instructionPointer() -% code.len;
    return trampoline.probeCopy(&code, at) == code.len and
        std.mem.eql(u8, &code, &frame_machine.system_call);
}

/// A stack pointer on the alternate stack means that another signal's handler was running. It
/// cannot be abandoned: whatever it interrupted would be lost with it.
fn onAlternateStack(thread: *const threads.Thread, stack_pointer: u64) bool {
    return stack_pointer -% thread.alternate_base < thread.alternate_length;
}

test {
    _ = @import("crash/reporter.zig");
    _ = hooks;
    _ = signals;
    _ = threads;
}
