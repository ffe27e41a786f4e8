//! What the body of a guarded call leaves on the stack, for the target.

const builtin = @import("builtin");

pub const RecoveryFrame = switch (builtin.cpu.arch) {
    .x86_64 => @import("x86_64_frame.zig").RecoveryFrame,
    .aarch64 => @import("aarch64_frame.zig").RecoveryFrame,
    else => @compileError("no trampoline for this architecture yet"),
};
