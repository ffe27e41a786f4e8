//! Makes each kind of exception on demand, so that a machine and a runtime can be asked whether
//! recovery works there. The faults are real: an instruction that faults, or a call that raises.

const std = @import("std");
const builtin = @import("builtin");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;

const value: u64 = 1;

/// Returns 0 when nothing faulted, which for any kind but `none` means that the fault was mended.
pub fn run(kind: abi.SelfTest) abi.Status {
    switch (kind) {
        .none => {},
        .null_read => load(0x10),
        .null_write => store(0x10),
        .read_only_write => store(@intFromPtr(&value)),
        .jump_to_null => jump(0),
        .non_canonical_read => load(0x8000_0000_0000_0000),
        .privileged_instruction => asm volatile ("hlt"),
        .past_end_of_file => return pastEndOfFile(),
        .integer_division => divide(),
        .illegal_instruction => asm volatile ("ud2"),
        .breakpoint => asm volatile ("int3"),
        .stack_overflow => overflow(0),
        .abort => sys.raise(sys.sigabrt),
        .misaligned_access => misaligned(),
    }
    return .ok;
}

fn load(address: u64) void {
    _ = asm volatile ("movq (%[address]), %[result]"
        : [result] "=r" (-> u64),
        : [address] "r" (address),
        : .{ .memory = true });
}

fn store(address: u64) void {
    asm volatile ("movq $1, (%[address])"
        :
        : [address] "r" (address),
        : .{ .memory = true });
}

fn jump(address: u64) void {
    const function: *allowzero const fn () callconv(.c) void = @ptrFromInt(address);
    asm volatile ("callq *%[function]"
        :
        : [function] "r" (function),
        : .{ .rax = true, .rcx = true, .rdx = true, .memory = true });
}

fn divide() void {
    asm volatile (
        \\ movl $1, %%eax
        \\ cltd
        \\ xorl %%ecx, %%ecx
        \\ idivl %%ecx
        ::: .{ .rax = true, .rcx = true, .rdx = true });
}

/// No stack is meant to be larger; where one has no limit, the test gives up here.
const overflow_max = 256 * 1024 * 1024;
const overflow_frame = 2048;

/// Recurses until the stack ends, touching every page on the way.
noinline fn overflow(depth: u32) void {
    if (depth > overflow_max / overflow_frame) return;
    var page: [overflow_frame]u8 = undefined;
    // Somewhere in the frame, so that all of it is needed; after the call, so that it stays a call.
    const somewhere: *volatile u8 = &page[depth % overflow_frame];
    somewhere.* = 1;
    overflow(depth + 1);
    somewhere.* = 2;
}

/// With alignment checking on, a misaligned access faults. The flag is off again when it does not.
fn misaligned() void {
    asm volatile (
        \\ pushfq
        \\ orl $0x40000, (%%rsp)
        \\ popfq
        \\ movl 1(%[address]), %%eax
        \\ pushfq
        \\ andl $~0x40000, (%%rsp)
        \\ popfq
        :
        : [address] "r" (&value),
        : .{ .rax = true, .memory = true });
}

/// An empty file's first page, mapped once: there is nothing behind it. Kept, because a recovery
/// skips whatever would unmap it.
var empty_file_page: u64 = 0;

fn pastEndOfFile() abi.Status {
    if (empty_file_page == 0) {
        const descriptor = sys.memfd("faultline self-test") orelse return .system_call_failed;
        empty_file_page = sys.mapFile(descriptor, sys.page_size) orelse 0;
        sys.close(descriptor);
    }
    if (empty_file_page == 0) return .no_memory;
    load(empty_file_page);
    return .ok;
}
