//! The state of a thread whose exception a JavaScript hook is looking at: read, and written so that
//! the thread continues with it.

const std = @import("std");
const abi = @import("../abi.zig");
const frame_machine = @import("../frame.zig").machine;
const dispatch = @import("../inside/dispatch.zig");
const threads = @import("../inside/threads.zig");

pub const register_count = frame_machine.register_count;

/// The dispatch that JavaScript means; null when it is over, or another thread's.
fn find(place: u64) ?*dispatch.Dispatch {
    const thread = threads.current() orelse return null;
    var running = thread.running;
    while (running) |one| : (running = one.outer) {
        const found: *dispatch.Dispatch = @alignCast(@fieldParentPtr("running", @constCast(one)));
        if (@intFromPtr(found) == place) return found;
    }
    return null;
}

/// Copies a part of the state: how many bytes it has, which may be more than `into`.
pub fn read(place: u64, part: abi.StatePart, into: []u8) i32 {
    const live = find(place) orelse return @backingInt(abi.Status.not_found);
    const frame = &live.context;
    const single_step = [1]u8{@intFromBool(frame.singleStep())};
    const bytes = switch (part) {
        .floating_point => frame.legacyState(),
        .vector => frame.standardState(),
        .single_step => &single_step,
    };
    const length = @min(bytes.len, into.len);
    @memcpy(into[0..length], bytes[0..length]);
    return @intCast(bytes.len);
}

/// Sets the registers whose bits are set in `mask`, by their order in the machine context.
pub fn setRegisters(place: u64, mask: u64, words: []const u64) abi.Status {
    const live = find(place) orelse return .not_found;
    live.context.setRegisters(mask, words);
    if (live.context.singleStep()) live.thread.stepping = true;
    return .ok;
}

/// Replaces a part of the state by `from`, which must have its very length. What the processor
/// would refuse is refused here: the kernel would end the process.
pub fn write(place: u64, part: abi.StatePart, from: []const u8) abi.Status {
    const live = find(place) orelse return .not_found;
    const frame = &live.context;
    switch (part) {
        .floating_point => if (!frame.writeLegacyState(from)) return .invalid_argument,
        .vector => if (!frame.writeStandardState(from)) return .invalid_argument,
        .single_step => {
            if (from.len != 1 or from[0] > 1) return .invalid_argument;
            if (!frame_machine.can_single_step) return .not_supported;
            frame.setSingleStep(from[0] == 1);
            live.thread.stepping = from[0] == 1;
        },
    }
    return .ok;
}
