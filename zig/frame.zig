//! The signal frame of the target.

const builtin = @import("builtin");

pub const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("frame/linux_x86_64.zig"),
    else => @compileError("no signal frame for this architecture yet"),
};
pub const Frame = machine.Frame;

/// What only crash reports need.
pub const crash = switch (builtin.cpu.arch) {
    .x86_64 => @import("frame/linux_x86_64_crash.zig"),
    else => @compileError("no crash reports for this architecture yet"),
};
