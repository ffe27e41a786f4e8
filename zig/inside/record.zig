//! Writes what is known about an exception into the thread's record, without system calls.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const frame_machine = @import("../frame.zig").machine;
const Frame = frame_machine.Frame;
const signals = @import("signals.zig");
const suspects = @import("suspects.zig");
const threads = @import("threads.zig");
const assert = std.debug.assert;

pub const Details = struct {
    slot: u32,
    raised: bool,
    skipped: abi.HooksSkipped,
};

/// Whether another exception fits behind the ones already in the chunk; JavaScript sees to it.
pub fn hasRoom(record: *const abi.ThreadRecord) bool {
    if (record.chunk == 0 or record.chunk_used > record.chunk_length) return false;
    return record.chunk_length - record.chunk_used >= abi.exception_max;
}

/// Writes the exception behind the ones already in the chunk: where. Null when there is no room.
pub fn write(
    record: *abi.ThreadRecord,
    thread: *const threads.Thread,
    signal: u32,
    info: *const sys.Siginfo,
    frame: *const Frame,
    details: Details,
) ?u32 {
    if (!hasRoom(record)) return null;
    const offset = record.chunk_used;
    const exception: *abi.Exception = @ptrFromInt(record.chunk + offset);
    const synchronous = signals.synchronous(signal, info.code);
    exception.signal = signal;
    exception.code = info.code;
    exception.flags = .{
        .has_address = synchronous and signals.hasAddress(signal, info.code),
        .mask_changed = frame.signal_mask != thread.signal_mask,
        .raised = details.raised,
    };
    const is_access = synchronous and signals.isAccess(signal);
    exception.access = if (is_access) frame.access(&trampoline.probeLoad) else .unknown;
    exception.slot = details.slot;
    exception.process_id = thread.process_id;
    exception.thread_id = thread.thread_id;
    exception.hooks_skipped = details.skipped;
    exception.address = if (exception.flags.has_address) info.payload.address else 0;
    exception.instruction_pointer = frame.instructionPointer();
    exception.stack_pointer = frame.stackPointer();
    exception.stack_low = thread.stack_low;
    exception.stack_high = thread.stack_high;
    exception.stack_guard = thread.stack_guard;
    exception.recovery_point = thread.local.guard;
    @memcpy(&exception.siginfo, std.mem.asBytes(info));
    @memcpy(&exception.context, std.mem.asBytes(frame));
    writeTail(exception, thread, frame);
    record.chunk_used += std.mem.alignForward(u32, exception.size, 8);
    return offset;
}

fn writeTail(exception: *abi.Exception, thread: *const threads.Thread, frame: *const Frame) void {
    const head: [*]u8 = @ptrCast(exception);
    const tail = head[@sizeOf(abi.Exception)..abi.exception_max];
    var used: usize = 0;

    const extended = frame.extendedState();
    const kept = @min(extended.head.len, abi.extended_max);
    exception.flags.extended_cut = extended.cut or kept < extended.head.len;
    @memcpy(tail[0..kept], extended.head[0..kept]);
    @memcpy(tail[kept..][0..extended.tail.len], extended.tail);
    used += kept + extended.tail.len;
    exception.extended_length = @intCast(used);
    exception.extended_gap_at = @intCast(kept);
    exception.extended_gap = extended.gap;
    assert(used % 8 == 0);

    const frames: [*]u64 = @ptrCast(@alignCast(tail[used..].ptr));
    exception.frame_count = walk(frames[0..abi.frames_max], thread, frame);
    used += @as(usize, exception.frame_count) * 8;

    const copied = copyStack(tail[used..][0..abi.stack_copy_max], exception, thread, frame);
    used += copied;
    const stack: [*]const u64 = @ptrCast(@alignCast(tail[used - copied ..].ptr));
    exception.flags.suspect_mentioned = suspects.mentioned(&.{exception.instruction_pointer}) or
        suspects.mentioned(frames[0..exception.frame_count]) or
        suspects.mentioned(stack[0 .. copied / 8]);
    exception.size = @intCast(@sizeOf(abi.Exception) + used);
}

/// The part of the stack that may be read: from the stack pointer, or from the stack's end when it
/// has overflowed, to `end`.
fn readable(thread: *const threads.Thread, frame: *const Frame, end: u64) struct { u64, u64 } {
    var start = frame.stackPointer();
    if (thread.stack_high == 0) return .{ start, end };
    if (start < thread.stack_low) start = thread.stack_low;
    if (start > thread.stack_high) return .{ 0, 0 };
    return .{ start, @min(end, thread.stack_high) };
}

/// Follows frame pointers to the recovery point: return addresses, innermost first. Code without
/// frame pointers makes the chain end early; nothing here is trusted beyond that.
fn walk(into: []u64, thread: *const threads.Thread, frame: *const Frame) u32 {
    const start, const end = readable(thread, frame, thread.local.guard);
    var count: u32 = 0;
    var pointer = frame.framePointer();
    var lowest = start;
    while (count < into.len) {
        if (pointer < lowest or pointer % 8 != 0 or end -| 16 < pointer) break;
        const caller = trampoline.probeLoad(pointer) orelse break;
        const address = trampoline.probeLoad(pointer + 8) orelse break;
        if (address == 0) break;
        into[count] = frame_machine.codeAddress(address);
        count += 1;
        lowest = pointer + 16;
        pointer = caller;
    }
    return count;
}

/// Copies the innermost part of the stack, which the caller reuses as soon as the call has
/// returned.
fn copyStack(
    into: []u8,
    exception: *abi.Exception,
    thread: *const threads.Thread,
    frame: *const Frame,
) usize {
    // The recovery frame belongs to the copy: unwinding ends in it.
    const guard_end = thread.local.guard + @sizeOf(trampoline.RecoveryFrame);
    var start, const end = readable(thread, frame, guard_end);
    start &= ~@as(u64, 7);
    exception.stack_address = start;
    exception.stack_length = 0;
    if (start == 0 or end <= start) return 0;
    const length = @min(end - start, into.len);
    const copied = trampoline.probeCopy(into[0..length], start) & ~@as(usize, 7);
    if (copied == 0 and start < exception.stack_low + (1 << 20)) {
        // The first page of an overflowed stack is its guard: the copy starts behind it.
        const page = (start & ~(sys.pageSize() - 1)) + sys.pageSize();
        if (page >= end) return 0;
        exception.stack_address = page;
        const rest = @min(end - page, into.len);
        exception.stack_length = @intCast(trampoline.probeCopy(into[0..rest], page));
        return exception.stack_length;
    }
    exception.stack_length = @intCast(copied);
    return copied;
}
