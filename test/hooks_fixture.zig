//! Code that the tests of hooks interrupt. Everything that the tests must find whole afterwards is
//! in registers when it faults.

const std = @import("std");
const linux = std.os.linux;

fn restorer() callconv(.naked) void {
    asm volatile (
        \\ movq $15, %%rax
        \\ syscall
    );
}

fn readNull(_: u32) callconv(.c) void {
    asm volatile ("movq (%[address]), %%rax"
        :
        : [address] "r" (@as(u64, 0)),
        : .{ .rax = true, .memory = true });
}

/// Reads address 0 in a handler of SIGUSR2, which runs on the stack of this call.
export fn fh_fault_in_handler() i32 {
    const sigusr2 = 12;
    const action = [4]u64{ @intFromPtr(&readNull), 0x0400_0000, @intFromPtr(&restorer), 0 };
    const set = linux.syscall4(.rt_sigaction, sigusr2, @intFromPtr(&action), 0, 8);
    if (set != 0) return -1;
    const process: usize = @intCast(linux.getpid());
    _ = linux.syscall3(.tgkill, process, @intCast(linux.gettid()), sigusr2);
    return 0;
}

/// Faults `count` times, each time with an instruction of two bytes that a hook can skip.
export fn fh_fault_often(count: u32) void {
    for (0..count) |_| {
        asm volatile ("movl (%[address]), %%eax"
            :
            : [address] "r" (@as(u64, 0)),
            : .{ .rax = true, .memory = true });
    }
}

/// An illegal instruction, two bytes long, with `byte_length` more bytes of stack in use.
export fn fh_deep(byte_length: u64) i32 {
    return asm volatile (
        \\ movq %%rsp, %%rbx
        \\ subq %[length], %%rsp
        \\ andq $-16, %%rsp
        \\ ud2
        \\ movq %%rbx, %%rsp
        \\ movl $7, %%eax
        : [result] "={eax}" (-> i32),
        : [length] "r" (byte_length),
        : .{ .rbx = true, .memory = true });
}
