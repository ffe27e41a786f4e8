//! The assembly of the target.

const builtin = @import("builtin");

pub const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("trampoline/x86_64.zig"),
    .aarch64 => @import("trampoline/aarch64.zig"),
    else => @compileError("no trampoline for this architecture yet"),
};
