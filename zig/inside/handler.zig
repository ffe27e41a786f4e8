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
const record = @import("record.zig");
const signals = @import("signals.zig");
const threads = @import("threads.zig");

/// The runtime's own machine code, noted at attach. A fault in there is the runtime's, even when a
/// guarded call is open below it: unwinding would skip its frames.
pub const CodeRange = struct { start: u64, end: u64 };
pub var runtime_code: [8]CodeRange = @splat(.{ .start = 0, .end = 0 });

/// Whether a recovery leaves the handler directly. It is cheaper than rt_sigreturn, which alone
/// puts back PKRU and the shadow stack where those are in use.
pub var leave_by_jump = false;

var caught_count: u64 = 0;

pub fn caught() u64 {
    return @atomicLoad(u64, &caught_count, .monotonic);
}

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
    const thread = threads.current() orelse return chain.run(signal, info, frame, null, entry);
    if (thread.busy and synchronous) {
        // A fault of our own code. Nothing here can be trusted any more, so step aside: the fault
        // comes again and ends as if we were not installed.
        return chain.restorePrevious(signal);
    }
    if (thread.busy) return chain.run(signal, info, frame, thread, entry);

    thread.busy = true;
    const recovered = recover(signal, info, frame, thread, synchronous);
    thread.busy = false;
    if (!recovered) chain.run(signal, info, frame, thread, entry);
}

comptime {
    @export(&handleSignal, .{ .name = "fl_handle_signal", .visibility = .hidden });
}

/// Records the exception and redirects the thread to its recovery point, if it has one for this.
fn recover(
    signal: u32,
    info: *const sys.Siginfo,
    frame: *Frame,
    thread: *threads.Thread,
    synchronous: bool,
) bool {
    const guard = thread.local.guard;
    if (guard == 0 or guard & trampoline.ThreadLocal.barrier_bit != 0) return false;
    if (thread.record == 0) return false;
    const call = runningCall(thread, guard, frame.instructionPointer()) orelse return false;
    const slot = call.slot;
    if (slot.propagates()) return false;
    const raised = !synchronous and raisedByCall(slot, signal, info, frame);
    if (!raised and !(synchronous and slot.signals & signals.bit(signal) != 0)) return false;
    if (onAlternateStack(thread, frame.stackPointer())) return false;
    if (inRuntimeCode(frame.instructionPointer())) return false;

    const mask_changed = frame.signal_mask != thread.signal_mask;
    const written = record.write(@ptrFromInt(thread.record), thread, signal, info, frame, .{
        .slot = call.index,
        .mask_changed = mask_changed,
        .raised = raised,
    });
    if (!written) return false;
    if (mask_changed) frame.signal_mask = thread.signal_mask;
    _ = @atomicRmw(u64, &caught_count, .Add, 1, .monotonic);
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
    frame.resumeAt(trampoline.landing(), guard, offset, point.control());
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

fn inRuntimeCode(instruction_pointer: u64) bool {
    for (&runtime_code) |range| {
        if (instruction_pointer >= range.start and instruction_pointer < range.end) return true;
    }
    return false;
}

test {
    _ = signals;
    _ = threads;
}
