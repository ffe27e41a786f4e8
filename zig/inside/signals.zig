//! The signals this library handles, what each of their codes means for the handler, and the
//! dispositions that were there before ours.

const std = @import("std");
const frame = @import("../frame.zig").machine;
const sys = @import("../sys.zig").machine;
const assert = std.debug.assert;

/// In the order of `SignalName` in TypeScript.
pub const handled = [_]u32{
    sys.sigsegv, sys.sigbus, sys.sigfpe, sys.sigill, sys.sigtrap, sys.sigabrt, sys.sigsys,
};

pub fn bit(signal: u32) u32 {
    assert(signal >= 1 and signal <= 32);
    return @as(u32, 1) << @intCast(signal - 1);
}

/// All signals of `handled`.
pub const mask_all: u32 = blk: {
    var mask: u32 = 0;
    for (handled) |signal| mask |= bit(signal);
    break :blk mask;
};

/// What is caught unless a call names its signals.
pub const mask_default = bit(sys.sigsegv) | bit(sys.sigbus) | bit(sys.sigfpe) | bit(sys.sigill) |
    bit(sys.sigtrap);

/// Whether the running instruction caused this signal: the kernel raised it, and not because of
/// something that happened elsewhere (a memory failure found by the scrubber, a perf counter).
pub fn synchronous(signal: u32, code: i32) bool {
    if (code <= 0) return false;
    if (signal == sys.sigbus and code == sys.bus_mceerr_ao) return false;
    if (signal == sys.sigtrap and code == sys.trap_perf) return false;
    return signal != sys.sigabrt;
}

/// Whether the kernel tells that memory failed which nobody has touched yet.
pub fn advisory(signal: u32, code: i32) bool {
    return signal == sys.sigbus and code == sys.bus_mceerr_ao;
}

/// Whether memory failed, touched or not.
pub fn memoryFailed(signal: u32, code: i32) bool {
    return signal == sys.sigbus and (code == sys.bus_mceerr_ar or code == sys.bus_mceerr_ao);
}

/// Whether the instruction that raised the signal is over: a breakpoint, a single step and a system
/// call that was refused do not come again. On arm64 a breakpoint does.
pub fn passed(signal: u32) bool {
    return (signal == sys.sigtrap and frame.breakpoints_pass) or signal == sys.sigsys;
}

/// Whether it is about an access to memory. The kernel leaves what it said of an earlier access in
/// the frame of a breakpoint on arm64.
pub fn isAccess(signal: u32) bool {
    return signal == sys.sigsegv or signal == sys.sigbus;
}

/// Whether `si_addr` says anything. With SI_KERNEL the kernel reports no address (a general
/// protection fault, int3); an alignment fault of x86-64 has none either, though its code would.
pub fn hasAddress(signal: u32, code: i32) bool {
    if (code <= 0 or code == sys.si_kernel) return false;
    return switch (signal) {
        sys.sigsegv, sys.sigill, sys.sigfpe, sys.sigtrap => true,
        sys.sigbus => code != sys.bus_adraln or frame.alignment_faults_have_address,
        else => false,
    };
}

/// The disposition that ours replaced. Another thread may be in the handler while it changes, so a
/// new one is written aside and then published.
pub const Previous = struct {
    /// Replaced at most once a `reinstall`; a reader is gone long before the ring comes round.
    tops: [4]sys.Action = @splat(.{}),
    current: u32 = 0,
    /// What was there at first. It lies under a handler that was installed over ours, which may
    /// call ours: that call must not get back to the same handler.
    bottom: sys.Action = .{},

    pub fn top(previous_action: *Previous) *sys.Action {
        return &previous_action.tops[@atomicLoad(u32, &previous_action.current, .acquire)];
    }

    pub fn setTop(previous_action: *Previous, action: sys.Action) void {
        const next = (previous_action.current + 1) % previous_action.tops.len;
        previous_action.tops[next] = action;
        @atomicStore(u32, &previous_action.current, @intCast(next), .release);
    }
};

var previous_actions: [handled.len]Previous = @splat(.{});
var installed_mask: u32 = 0;

fn index(signal: u32) usize {
    return for (handled, 0..) |candidate, position| {
        if (candidate == signal) break position;
    } else unreachable;
}

pub fn previous(signal: u32) *Previous {
    return &previous_actions[index(signal)];
}

pub fn installed() u32 {
    return @atomicLoad(u32, &installed_mask, .acquire);
}

pub fn setInstalled(mask: u32) void {
    @atomicStore(u32, &installed_mask, mask, .release);
}

test "synchronous leaves out what kill sends and what happened elsewhere" {
    const expect = std.testing.expect;
    try expect(synchronous(sys.sigsegv, 1));
    try expect(synchronous(sys.sigsegv, sys.si_kernel));
    try expect(!synchronous(sys.sigsegv, sys.si_user));
    try expect(!synchronous(sys.sigfpe, sys.si_tkill));
    try expect(synchronous(sys.sigbus, 4));
    try expect(!synchronous(sys.sigbus, sys.bus_mceerr_ao));
    try expect(!synchronous(sys.sigtrap, sys.trap_perf));
    try expect(!synchronous(sys.sigabrt, 1));
}
