//! The system calls of the target.

const builtin = @import("builtin");

pub const machine = switch (builtin.os.tag) {
    .linux => @import("sys/linux.zig"),
    else => @compileError("no system calls for this platform yet"),
};

/// Those that only reports need.
pub const report = switch (builtin.os.tag) {
    .linux => @import("sys/linux_report.zig"),
    else => @compileError("no system calls for reports on this platform yet"),
};

/// Those that look at other threads.
pub const trace = switch (builtin.os.tag) {
    .linux => @import("sys/linux_trace.zig"),
    else => @compileError("no system calls for other threads on this platform yet"),
};
