//! The functions of hooks_fixture.zig that are assembly, on x86-64.

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

// ---- Everything in registers --------------------------------------------------------------------

// void fh_survive(u64 page, u64 area, u32 level): loads every register from `area`, stores a byte
// to `page`, which faults, and writes every register to `area`. Level 0 is SSE, 1 AVX, 2 AVX-512.
//
//     area + 0     MXCSR (4 bytes), x87 control word (2 bytes)
//     area + 8     flags
//     area + 16    rax rbx rcx rdx rsi rbp r8 .. r15: what is loaded
//     area + 144   the same, then the flags: what was found. rdi is `page`.
//     area + 272   eight x87 registers, 16 bytes each
//     area + 448   16 vectors of 16 or 32 bytes, or 32 of 64
//     area + 2496  opmask registers, 8 bytes each
//     area + 4096  XSAVE's area before
//     area + 8192  XSAVE's area after
const survive =
    \\.text
    \\.globl fh_survive
    \\.type fh_survive, @function
    \\fh_survive:
    \\  pushq %rbx
    \\  pushq %rbp
    \\  pushq %r12
    \\  pushq %r13
    \\  pushq %r14
    \\  pushq %r15
    \\  subq $8, %rsp
    \\  stmxcsr (%rsp)
    \\  fnstcw 4(%rsp)
    \\  pushq %rsi
    \\  pushq %rdi
    \\  fninit
    \\  fldcw 4(%rsi)
    \\.altmacro
    \\.macro FH_X87 i
    \\  fldt 272 + 16 * \i(%rsi)
    \\.endm
    \\.macro FH_SSE i
    \\  movups 448 + 16 * \i(%rsi), %xmm\i
    \\.endm
    \\.macro FH_AVX i
    \\  vmovups 448 + 32 * \i(%rsi), %ymm\i
    \\.endm
    \\.macro FH_AVX512 i
    \\  vmovups 448 + 64 * \i(%rsi), %zmm\i
    \\.endm
    \\.macro FH_MASK i
    \\  kmovq 2496 + 8 * \i(%rsi), %k\i
    \\.endm
    \\.macro FH_REPEAT name, count
    \\.set fh_n, 0
    \\.rept \count
    \\\name %fh_n
    \\.set fh_n, fh_n + 1
    \\.endr
    \\.endm
    \\FH_REPEAT FH_X87, 8
    \\  cmpl $1, %edx
    \\  je 1f
    \\  ja 2f
    \\FH_REPEAT FH_SSE, 16
    \\  jmp 3f
    \\1:
    \\FH_REPEAT FH_AVX, 16
    \\  jmp 3f
    \\2:
    \\FH_REPEAT FH_AVX512, 32
    \\FH_REPEAT FH_MASK, 8
    \\3:
    \\.noaltmacro
    \\  pushq %rdx
    \\  ldmxcsr (%rsi)
    \\  movl $0xe7, %eax
    \\  xorl %edx, %edx
    \\  xsave64 4096(%rsi)
    \\  movq 16(%rsi), %rax
    \\  movq 24(%rsi), %rbx
    \\  movq 32(%rsi), %rcx
    \\  movq 40(%rsi), %rdx
    \\  movq 56(%rsi), %rbp
    \\  movq 64(%rsi), %r8
    \\  movq 72(%rsi), %r9
    \\  movq 80(%rsi), %r10
    \\  movq 88(%rsi), %r11
    \\  movq 96(%rsi), %r12
    \\  movq 104(%rsi), %r13
    \\  movq 112(%rsi), %r14
    \\  movq 120(%rsi), %r15
    \\  pushq 8(%rsi)
    \\  popfq
    \\  movq 48(%rsi), %rsi
    \\  movb $7, (%rdi)
    \\  pushfq
    \\  cld
    \\  pushq %r15
    \\  pushq %r14
    \\  pushq %r13
    \\  pushq %r12
    \\  pushq %r11
    \\  pushq %r10
    \\  pushq %r9
    \\  pushq %r8
    \\  pushq %rbp
    \\  pushq %rsi
    \\  pushq %rdx
    \\  pushq %rcx
    \\  pushq %rbx
    \\  pushq %rax
    // Fifteen words, then the level, `page` and `area`.
    \\  movq 136(%rsp), %rsi
    \\.set fh_n, 0
    \\.rept 15
    \\  popq 144 + 8 * fh_n(%rsi)
    \\.set fh_n, fh_n + 1
    \\.endr
    \\  movl $0xe7, %eax
    \\  xorl %edx, %edx
    \\  xsave64 8192(%rsi)
    \\  popq %rdx
    \\  testl %edx, %edx
    \\  jz 4f
    \\  vzeroupper
    \\4:
    \\  fninit
    \\  addq $16, %rsp
    \\  fldcw 4(%rsp)
    \\  ldmxcsr (%rsp)
    \\  addq $8, %rsp
    \\  popq %r15
    \\  popq %r14
    \\  popq %r13
    \\  popq %r12
    \\  popq %rbp
    \\  popq %rbx
    \\  ret
    \\.size fh_survive, . - fh_survive
;

comptime {
    asm (survive);
}

// ---- Kernels ------------------------------------------------------------------------------------

const kernels =
    \\.text
    \\.macro FH_FUNCTION name
    \\.globl \name
    \\.type \name, @function
    \\\name:
    \\.endm
    // u64 fh_red_zone(u64 address): how many of the words below the stack pointer were still there
    // after a read of `address`.
    \\FH_FUNCTION fh_red_zone
    \\.set fh_n, 1
    \\.rept 16
    \\  movq $0x1000 + fh_n, -8 * fh_n(%rsp)
    \\.set fh_n, fh_n + 1
    \\.endr
    \\  movq (%rdi), %rdi
    \\  xorl %eax, %eax
    \\.set fh_n, 1
    \\.rept 16
    \\  cmpq $0x1000 + fh_n, -8 * fh_n(%rsp)
    \\  jne 1f
    \\  incl %eax
    \\1:
    \\.set fh_n, fh_n + 1
    \\.endr
    \\  ret
    // u64 fh_read_often(u64 address, u64 count): the same instruction, three bytes long, `count`
    // times; the sum of what was read.
    \\FH_FUNCTION fh_read_often
    \\  xorl %eax, %eax
    \\1:
    \\  movq (%rdi), %rdx
    \\  addq %rdx, %rax
    \\  decq %rsi
    \\  jnz 1b
    \\  ret
    // u64 fh_hold(u64 address, u64* held): counts up, reads `address`, counts down
    \\FH_FUNCTION fh_hold
    \\  incq (%rsi)
    \\  movq (%rdi), %rax
    \\  decq (%rsi)
    \\  ret
    // f64 fh_vector_after(u64 address, f64 value): `value` after a read of `address`
    \\FH_FUNCTION fh_vector_after
    \\  movq (%rdi), %rax
    \\  ret
    // u32 fh_steps(): an exception, then four instructions and the return
    \\FH_FUNCTION fh_steps
    \\  ud2
    \\.globl fh_steps_first
    \\fh_steps_first:
    \\  nop
    \\  xorl %eax, %eax
    \\  nop
    \\  movl $42, %eax
    \\  ret
    // i32 fh_steps_and_callback(i32 (*function)(i32), i32 value): an exception, then a callback
    \\FH_FUNCTION fh_steps_and_callback
    \\  ud2
    \\  pushq %rbx
    \\  movq %rdi, %rax
    \\  movl %esi, %edi
    \\  callq *%rax
    \\  addl $1, %eax
    \\  nop
    \\  popq %rbx
    \\  ret
    // u64 fh_registers_after(u64 address): rax after an instruction of three bytes that faults
    \\FH_FUNCTION fh_registers_after
    \\  movl $1, %eax
    \\  movq (%rdi), %rcx
    \\  addq %rcx, %rax
    \\  ret
    // u64 fh_at_depth(u64 address, u64 bytes): reads `address` with `bytes` more on the stack, each
    // page of it touched on the way
    \\FH_FUNCTION fh_at_depth
    \\  movq %rsp, %rdx
    \\  andq $-4096, %rsi
    \\1:
    \\  testq %rsi, %rsi
    \\  jz 2f
    \\  subq $4096, %rsp
    \\  movq $0, (%rsp)
    \\  subq $4096, %rsi
    \\  jmp 1b
    \\2:
    \\  movq (%rdi), %rax
    \\  movq %rdx, %rsp
    \\  ret
    // u64 fh_protect_often(u64 page, u64 count): `count` times, as code that is not optimised does
    // it, writes to `page` and protects it against writing. Its count is on the stack alone.
    \\FH_FUNCTION fh_protect_often
    \\  pushq %rdi
    \\  pushq %rsi
    \\1:
    \\  movq 8(%rsp), %rdi
    \\  xorl %esi, %esi
    \\  cmpl %esi, %esi
    \\  movb $7, (%rdi)
    \\  movl $4096, %esi
    \\  movl $1, %edx
    \\  movl $10, %eax
    \\  syscall
    \\  testq %rax, %rax
    \\  jnz 2f
    \\  decq (%rsp)
    \\  jnz 1b
    \\2:
    \\  popq %rsi
    \\  popq %rdi
    \\  ret
    // u64 fh_stack_pointer()
    \\FH_FUNCTION fh_stack_pointer
    \\  movq %rsp, %rax
    \\  ret
;

comptime {
    asm (kernels);
}
