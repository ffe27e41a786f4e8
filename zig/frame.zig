//! The signal frame of the target.

const builtin = @import("builtin");

/// All of them, for the generator: their layouts hold on every machine.
pub const x86_64 = @import("frame/linux_x86_64.zig");
pub const aarch64 = @import("frame/linux_aarch64.zig");

pub const machine = switch (builtin.cpu.arch) {
    .x86_64 => x86_64,
    .aarch64 => aarch64,
    else => @compileError("no signal frame for this architecture yet"),
};
pub const Frame = machine.Frame;
