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

/// What only crash reports need; null where they are not ported to yet. A port is a file here, and
/// one with the same names as trampoline/x86_64_stage.zig.
pub const crash_or_null: ?type = switch (builtin.cpu.arch) {
    .x86_64 => @import("frame/linux_x86_64_crash.zig"),
    .aarch64 => @import("frame/linux_aarch64_crash.zig"),
    else => null,
};
pub const crash = crash_or_null orelse
    @compileError("no crash reports for this architecture yet: ask has_crash_reports first");
pub const has_crash_reports = crash_or_null != null;

test {
    // What a minidump of another machine holds is the same to look at on this one.
    _ = @import("frame/linux_aarch64_crash.zig");
}
