//! What fixture.zig needs of x86-64: functions in assembly, and what a handler sees.

/// The kernel's `struct ucontext` up to the instruction pointer.
pub const Context = extern struct { head: [40]u8, registers: [16]u64, ip: u64 };

/// arch_prctl(ARCH_SHSTK_STATUS), and where registers lie in the kernel's order: rdi, rsi, rax.
pub const shadow_stack_call = .{
    .number = 158,
    .operation = 0x5005,
    .operation_register = 8,
    .pointer_register = 9,
    .result_register = 13,
};

pub fn restorer() callconv(.naked) void {
    asm volatile (
        \\ movq $15, %%rax
        \\ syscall
    );
}

/// Machine code of `movq 0x10, %rax; ret`.
pub const code = [_]u8{ 0x48, 0x8b, 0x04, 0x25, 0x10, 0, 0, 0, 0xc3 };

/// Makes code that was written as data visible to the processor's fetches: nothing to do here.
pub fn flush(_: u64, _: u64) void {}

/// Bytes of the instruction that `load` is.
pub const load_length = 2;

pub inline fn load(address: u64) void {
    asm volatile ("movl (%[address]), %%eax"
        :
        : [address] "r" (address),
        : .{ .rax = true, .memory = true });
}

/// Garbage in the upper bits of the result register: only the type's own bits may be read.
export fn fx_dirty_result() callconv(.naked) u64 {
    asm volatile (
        \\ movabsq $0xdeadbeefcafe0000, %%rax
        \\ retq
    );
}
comptime {
    asm (
        \\.text
        \\.macro FX_FUNCTION name
        \\.globl \name
        \\.type \name, @function
        \\\name:
        \\.endm
        // u64 fx_read(u64 address), the instruction that faults first.
        \\FX_FUNCTION fx_read
        \\  movq (%rdi), %rax
        \\  ret
        // void fx_write(u64 address, u64 value)
        \\FX_FUNCTION fx_write
        \\  movq %rsi, (%rdi)
        \\  ret
        // void fx_jump(u64 address)
        \\FX_FUNCTION fx_jump
        \\  subq $8, %rsp
        \\  callq *%rdi
        \\  addq $8, %rsp
        \\  ret
        // i32 fx_divide(i32 a, i32 b)
        \\FX_FUNCTION fx_divide
        \\  movl %edi, %eax
        \\  cltd
        \\  idivl %esi
        \\  ret
        \\FX_FUNCTION fx_ud2
        \\  ud2
        \\  ret
        \\FX_FUNCTION fx_int3
        \\  int3
        \\  movl $7, %eax
        \\  ret
        \\FX_FUNCTION fx_hlt
        \\  hlt
        \\  ret
        // f64 fx_float_divide(u32 mxcsr, f64 a, f64 b), with these exceptions unmasked.
        \\FX_FUNCTION fx_float_divide
        \\  movl %edi, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  divsd %xmm1, %xmm0
        \\  ret
        // void fx_dirty_fault(u64 address): spoils every callee-saved register, the direction flag,
        // the x87 stack and the vectors, then faults.
        \\FX_FUNCTION fx_dirty_fault
        \\  movq $0x1111, %rbx
        \\  movq $0x2222, %rbp
        \\  movq $0x3333, %r12
        \\  movq $0x4444, %r13
        \\  movq $0x5555, %r14
        \\  movq $0x6666, %r15
        \\  fld1
        \\  fld1
        \\  fld1
        \\  fld1
        \\  fld1
        \\  fld1
        \\  fld1
        \\  fld1
        \\  pcmpeqd %xmm7, %xmm7
        \\  std
        \\  movq (%rdi), %rax
        \\  ret
        // void fx_alignment_fault(u64 address): with alignment checking on.
        \\FX_FUNCTION fx_alignment_fault
        \\  pushfq
        \\  orl $0x40000, (%rsp)
        \\  popfq
        \\  movl (%rdi), %eax
        \\  pushfq
        \\  andl $~0x40000, (%rsp)
        \\  popfq
        \\  ret
        // void fx_trash_stack(u64 address): overwrites the return address, then faults.
        \\FX_FUNCTION fx_trash_stack
        \\  movq $0x4141414141414141, %rax
        \\  movq %rax, (%rsp)
        \\  movq %rax, 8(%rsp)
        \\  movq (%rdi), %rax
        \\  ret
        // void fx_change_control(u32 mxcsr, u32 x87, u64 address): changes both control words, and
        // faults before it puts them back.
        \\FX_FUNCTION fx_change_control
        \\  movl %edi, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  movw %si, -8(%rsp)
        \\  fldcw -8(%rsp)
        \\  movq (%rdx), %rax
        \\  ret
        \\FX_FUNCTION fx_set_control
        \\  movl %edi, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  movw %si, -8(%rsp)
        \\  fldcw -8(%rsp)
        \\  ret
        // u32: MXCSR without its sticky flags
        \\FX_FUNCTION fx_mxcsr
        \\  stmxcsr -8(%rsp)
        \\  movl -8(%rsp), %eax
        \\  andl $0xffc0, %eax
        \\  ret
        \\FX_FUNCTION fx_x87_control
        \\  fnstcw -8(%rsp)
        \\  movzwl -8(%rsp), %eax
        \\  ret
        // u32: the x87 tag word; 0xffff when the register stack is empty
        \\FX_FUNCTION fx_x87_tags
        \\  fnstenv -40(%rsp)
        \\  movzwl -32(%rsp), %eax
        \\  fldenv -40(%rsp)
        \\  ret
        // u64: RFLAGS
        \\FX_FUNCTION fx_flags
        \\  pushfq
        \\  popq %rax
        \\  ret
        // i32 fx_callback(i32 (*function)(i32), i32 value): value of the callback plus 1
        \\FX_FUNCTION fx_callback
        \\  subq $8, %rsp
        \\  movq %rdi, %rax
        \\  movl %esi, %edi
        \\  callq *%rax
        \\  addl $1, %eax
        \\  addq $8, %rsp
        \\  ret
        // u64 fx_callback_and_read(i32 (*function)(i32), i32 value, u64 address): faults after the
        // callback has returned
        \\FX_FUNCTION fx_callback_and_read
        \\  pushq %rdx
        \\  movq %rdi, %rax
        \\  movl %esi, %edi
        \\  callq *%rax
        \\  popq %rdx
        \\  movq (%rdx), %rax
        \\  ret
        // u64 fx_read_on_stack(u64 address, u64 stack): reads with another stack pointer
        \\FX_FUNCTION fx_read_on_stack
        \\  movq %rsp, %rdx
        \\  movq %rsi, %rsp
        \\  movq (%rdi), %rax
        \\  movq %rdx, %rsp
        \\  ret
        // void fx_push_on_stack(u64 stack): the push faults when nothing is there
        \\FX_FUNCTION fx_push_on_stack
        \\  movq %rsp, %rdx
        \\  movq %rdi, %rsp
        \\  pushq %rdx
        \\  popq %rsp
        \\  ret
    );
}
