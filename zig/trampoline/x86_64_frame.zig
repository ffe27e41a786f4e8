//! What the body of a guarded call leaves on the stack: x86_64.zig says how.

const std = @import("std");
const assert = std.debug.assert;

pub const RecoveryFrame = extern struct {
    previous: u64,
    slot: u64,
    mxcsr: u32,
    x87_control: u16,
    _padding: u16,
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    rbx: u64,
    rbp: u64,
    return_address: u64,

    comptime {
        assert(@offsetOf(RecoveryFrame, "slot") == 8);
        assert(@offsetOf(RecoveryFrame, "return_address") == 72);
    }

    /// The floating-point control register to resume with.
    pub fn control(frame: *const RecoveryFrame) u32 {
        return frame.mxcsr;
    }
};
