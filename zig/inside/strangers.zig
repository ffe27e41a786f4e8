//! Exceptions on threads that never attached: native hooks with a range are asked about them, too.
//! Nothing is known of such a thread but its thread pointer.

const std = @import("std");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const Frame = @import("../frame.zig").Frame;
const hooks = @import("hooks.zig");
const signals = @import("signals.zig");
const threads = @import("threads.zig");

/// What becomes of an exception: dealt with, passed on, fatal, or one of our own code's.
pub const Fate = enum { settled, pass, die, step_aside };

const places_max = 64;
/// Thread pointers of strangers whose exception is being handled now.
var handling: [places_max]u64 = @splat(0);
/// The last exception that was mended, by a hash of the thread pointer. Two threads that share a
/// place only notice later that nothing changes.
var progress: [places_max]threads.Progress = @splat(.{});

const repeats_max = 1000;

pub fn decide(signal: u32, info: *sys.Siginfo, frame: *Frame) Fate {
    if (!hooks.any()) return .pass;
    const advisory = signals.advisory(signal, info.code);
    if (!advisory and !signals.synchronous(signal, info.code)) return .pass;
    const key = trampoline.threadPointer();
    const place = claim(key) orelse return .step_aside;
    defer release(place);
    const last = &progress[(key >> 12) % places_max];
    if (stuck(last, info, frame)) return .pass;
    var event: hooks.Event = .{
        .signal = signal,
        .info = info,
        .frame = frame,
        .thread = null,
        .armed = false,
        .barred = .unguarded,
    };
    switch (hooks.ask(&event, hooks.everything)) {
        .handled => {
            if (event.progressed) last.* = .{} else last.repeats += 1;
            return .settled;
        },
        .mended => return .settled,
        .die => return .die,
        // Nothing here can be thrown to.
        .nobody, .thrown, .javascript => return .pass,
    }
}

/// A place for this thread; null when it has one, so that the exception is one of a hook.
fn claim(key: u64) ??*u64 {
    for (&handling) |*place| {
        if (@atomicLoad(u64, place, .monotonic) == key) return null;
    }
    for (&handling) |*place| {
        if (@cmpxchgStrong(u64, place, 0, key, .acquire, .monotonic) == null) return place;
    }
    return @as(?*u64, null); // All taken: do without.
}

fn release(place: ?*u64) void {
    if (place) |known| @atomicStore(u64, known, 0, .release);
}

fn stuck(last: *threads.Progress, info: *const sys.Siginfo, frame: *const Frame) bool {
    const now: threads.Progress = .{
        .instruction_pointer = frame.instructionPointer(),
        .address = info.payload.address,
        .digest = frame.digest(),
        .guard = trampoline.threadPointer(),
    };
    const same = last.instruction_pointer == now.instruction_pointer and
        last.address == now.address and last.digest == now.digest and last.guard == now.guard;
    if (!same) last.* = now;
    if (last.repeats < repeats_max) return false;
    last.* = .{};
    return true;
}

test "claim gives a thread one place at a time" {
    const first = claim(5).?;
    try std.testing.expect(claim(5) == null);
    release(first);
    release(claim(5).?);
}
