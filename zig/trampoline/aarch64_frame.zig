//! What the body of a guarded call leaves on the stack: aarch64.zig says how.

const std = @import("std");
const assert = std.debug.assert;

pub const RecoveryFrame = extern struct {
    /// Where the guarded function returns to. It is the lowest word of the frame, so a function
    /// that wrote past the end of its own frame destroyed it first.
    canary: u64,
    previous: u64,
    slot: u64,
    fpcr: u32,
    fpsr: u32,
    /// x19 to x28.
    general: [10]u64,
    /// d8 to d15.
    vectors: [8]u64,
    x29: u64,
    return_address: u64,

    comptime {
        assert(@offsetOf(RecoveryFrame, "previous") == 8);
        assert(@offsetOf(RecoveryFrame, "slot") == 16);
        assert(@offsetOf(RecoveryFrame, "fpcr") == 24);
        assert(@offsetOf(RecoveryFrame, "general") == 32);
        assert(@offsetOf(RecoveryFrame, "vectors") == 112);
        assert(@offsetOf(RecoveryFrame, "x29") == 176);
        assert(@sizeOf(RecoveryFrame) == 192);
    }

    /// The floating-point control register to resume with.
    pub fn control(frame: *const RecoveryFrame) u32 {
        return frame.fpcr;
    }
};
