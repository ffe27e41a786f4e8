//! Instructions of x86-64 that fault.

const word: u64 = 1;

/// No address that a pointer can have: the bits from 47 on differ.
pub const non_canonical = 0x8000_0000_0000_0000;

pub fn load(address: u64) void {
    _ = asm volatile ("movq (%[address]), %[result]"
        : [result] "=r" (-> u64),
        : [address] "r" (address),
        : .{ .memory = true });
}

pub fn store(address: u64) void {
    asm volatile ("movq $1, (%[address])"
        :
        : [address] "r" (address),
        : .{ .memory = true });
}

pub fn jump(address: u64) void {
    const function: *allowzero const fn () callconv(.c) void = @ptrFromInt(address);
    asm volatile ("callq *%[function]"
        :
        : [function] "r" (function),
        : .{ .rax = true, .rcx = true, .rdx = true, .memory = true });
}

/// Whether a division by zero faults at all: once it has not, it does not.
pub fn divide() bool {
    asm volatile (
        \\ movl $1, %%eax
        \\ cltd
        \\ xorl %%ecx, %%ecx
        \\ idivl %%ecx
        ::: .{ .rax = true, .rcx = true, .rdx = true });
    return true;
}

pub fn privileged() void {
    asm volatile ("hlt");
}

pub fn illegal() void {
    asm volatile ("ud2");
}

pub fn breakpoint() void {
    asm volatile ("int3");
}

/// With alignment checking on, a misaligned access faults. The flag is off again when it does not.
pub fn misaligned() void {
    asm volatile (
        \\ pushfq
        \\ orl $0x40000, (%%rsp)
        \\ popfq
        \\ movl 1(%[address]), %%eax
        \\ pushfq
        \\ andl $~0x40000, (%%rsp)
        \\ popfq
        :
        : [address] "r" (&word),
        : .{ .rax = true, .memory = true });
}
