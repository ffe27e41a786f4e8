//! The system calls of the target.

const builtin = @import("builtin");

pub const machine = switch (builtin.os.tag) {
    .linux => @import("sys/linux.zig"),
    else => @compileError("no system calls for this platform yet"),
};
