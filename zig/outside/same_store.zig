//! For tests of the detector of exceptions that never change: a store that finds every register as
//! it was, however often it is made.

pub fn store(address: u64) void {
    const function: *const fn (u64) callconv(.c) void = @ptrCast(&storeByte);
    function(address);
}

/// Stores to the address in rdi, with all other registers zero.
fn storeByte() callconv(.naked) void {
    asm volatile (
        \\ pushq %%rbx
        \\ pushq %%r12
        \\ pushq %%r13
        \\ pushq %%r14
        \\ pushq %%r15
        \\ xorl %%eax, %%eax
        \\ xorl %%ebx, %%ebx
        \\ xorl %%ecx, %%ecx
        \\ xorl %%edx, %%edx
        \\ xorl %%esi, %%esi
        \\ xorl %%r8d, %%r8d
        \\ xorl %%r9d, %%r9d
        \\ xorl %%r10d, %%r10d
        \\ xorl %%r11d, %%r11d
        \\ xorl %%r12d, %%r12d
        \\ xorl %%r13d, %%r13d
        \\ xorl %%r14d, %%r14d
        \\ xorl %%r15d, %%r15d
        \\ movb $1, (%%rdi)
        \\ popq %%r15
        \\ popq %%r14
        \\ popq %%r13
        \\ popq %%r12
        \\ popq %%rbx
        \\ retq
    );
}
