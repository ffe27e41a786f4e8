//! Code that the tests of hooks interrupt. Everything that the tests must find whole afterwards is
//! in registers when it faults.

const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("fixture_x86_64.zig"),
    .aarch64 => @import("fixture_aarch64.zig"),
    else => @compileError("no fixture for this architecture yet"),
};

fn readNull(_: u32) callconv(.c) void {
    machine.load(0);
}

/// Reads address 0 in a handler of SIGUSR2, which runs on the stack of this call.
export fn fh_fault_in_handler() i32 {
    const sigusr2 = 12;
    const action = [4]u64{ @intFromPtr(&readNull), 0x0400_0000, @intFromPtr(&machine.restorer), 0 };
    const set = linux.syscall4(.rt_sigaction, sigusr2, @intFromPtr(&action), 0, 8);
    if (set != 0) return -1;
    const process: usize = @intCast(linux.getpid());
    _ = linux.syscall3(.tgkill, process, @intCast(linux.gettid()), sigusr2);
    return 0;
}

/// Faults `count` times, each time with an instruction that a hook can skip: of 2 bytes on x86-64,
/// of 4 on arm64.
export fn fh_fault_often(count: u32) void {
    for (0..count) |_| machine.load(0);
}
