//! What the machine, the kernel and this process's rights allow. A runtime may forbid programs to
//! read /proc, and no runtime can try a system call, so both are done here.

const std = @import("std");
const abi = @import("../abi.zig");
const host = @import("host.zig");
const sys = @import("../sys.zig").machine;

const no_yama = -1;
const unknown_paranoia = -100;

/// Something to watch.
var watched: u64 = 0;

pub fn read(into: *abi.MachineFacts) void {
    into.* = kernelFacts();
    const version = host.function(fn () callconv(.c) [*:0]const u8, "gnu_get_libc_version") orelse
        return;
    const text = std.mem.span(version());
    const length = @min(text.len, into.glibc_version.len - 1);
    @memcpy(into.glibc_version[0..length], text[0..length]);
}

/// All but what a libc knows, which the tests of this file run without.
fn kernelFacts() abi.MachineFacts {
    var facts: abi.MachineFacts = .{
        .size = @sizeOf(abi.MachineFacts),
        .ptrace_scope = fileNumber("/proc/sys/kernel/yama/ptrace_scope") orelse no_yama,
        .tracer = tracer(),
        .perf_event_paranoid = fileNumber("/proc/sys/kernel/perf_event_paranoid") orelse
            unknown_paranoia,
        .perf_breakpoint = sys.tryPerfBreakpoint(&watched),
        .userfaultfd = sys.tryUserfaultfd(false),
        .userfaultfd_user_mode = sys.tryUserfaultfd(true),
        .memory_file = sys.tryMemoryFile(),
        .kernel_release = undefined,
        .glibc_version = @splat(0),
    };
    sys.kernelRelease(&facts.kernel_release);
    return facts;
}

/// The beginning of a file; null when it cannot be read.
fn fileStart(path: [*:0]const u8, buffer: []u8) ?[]const u8 {
    const descriptor = sys.openRead(path) orelse return null;
    defer sys.close(descriptor);
    const length = sys.read(descriptor, buffer) orelse return null;
    return buffer[0..length];
}

fn fileNumber(path: [*:0]const u8) ?i32 {
    var buffer: [32]u8 = undefined;
    const text = fileStart(path, &buffer) orelse return null;
    return std.fmt.parseInt(i32, std.mem.trim(u8, text, " \n"), 10) catch null;
}

/// The process that traces this one, or 0.
fn tracer() u32 {
    var buffer: [4096]u8 = undefined;
    const text = fileStart("/proc/self/status", &buffer) orelse return 0;
    return tracerIn(text) orelse 0;
}

fn tracerIn(status: []const u8) ?u32 {
    var lines = std.mem.splitScalar(u8, status, '\n');
    const label = "TracerPid:";
    while (lines.next()) |line| {
        if (!std.mem.startsWith(u8, line, label)) continue;
        return std.fmt.parseInt(u32, std.mem.trim(u8, line[label.len..], " \t"), 10) catch null;
    }
    return null;
}

test "tracerIn() reads the line of proc_pid_status(5)" {
    try std.testing.expectEqual(42, tracerIn("Name:\ta\nTgid:\t7\nTracerPid:\t42\nUid:\t0\n"));
    try std.testing.expectEqual(null, tracerIn("Name:\tTracerPid:\t42\n"));
}

test "kernelFacts() gives this kernel's release and no errno that is positive" {
    const facts = kernelFacts();
    try std.testing.expect(std.mem.sliceTo(&facts.kernel_release, 0).len >= 3);
    const attempts = [_]i32{ facts.perf_breakpoint, facts.userfaultfd, facts.memory_file };
    for (attempts) |result| try std.testing.expect(result <= 0 and result > -4096);
}
