//! Barriers on x86-64: what native code calls in place of a function that may run JavaScript.
//!
//! Recovery must not skip frames of JavaScript, so a barrier takes the recovery point away while
//! the function runs and puts it back afterwards. It also gives the function the default
//! floating-point control state, which JavaScript engines rely on, and restores the caller's.
//!
//! The guard then points at the barrier's own frame, which holds the enclosing guard, with the
//! lowest bit set: no recovery point, but the open calls below can still be found.
//!
//! The signature is not known here: all argument registers pass through, and a fixed window of the
//! caller's stack arguments is copied.

const std = @import("std");
const assert = std.debug.assert;

/// Stack arguments that a barrier passes on: sixteen words beyond the registers.
const window = 128;

comptime {
    assert(window == 8 * 16); // The assembly below copies eight vectors.
    asm (
        \\.bss
        \\.p2align 6
        \\.globl fl_barrier_targets
        \\.hidden fl_barrier_targets
        \\fl_barrier_targets:
        \\  .zero 16 * 1024
        \\
        \\.section .rodata
        \\.p2align 2
        \\fl_default_control:
        \\  .long 0x1f80
        \\  .short 0x37f
        \\  .short 0
        \\
        \\.text
        \\.altmacro
        \\.macro FL_BARRIER i
        \\  leaq fl_barrier_targets + 16 * \i(%rip), %r11
        \\  jmp fl_barrier_body
        \\.p2align 4, 0xcc
        \\.endm
        \\.p2align 6, 0xcc
        \\.globl fl_barriers
        \\.hidden fl_barriers
        \\fl_barriers:
        \\.cfi_startproc
        \\.set fl_n, 0
        \\.rept 1024
        \\FL_BARRIER %fl_n
        \\.set fl_n, fl_n + 1
        \\.endr
        \\.cfi_endproc
        \\.noaltmacro
    );
}

comptime {
    asm (
        \\.text
        \\.p2align 6, 0xcc
        \\.type fl_barrier_body, @function
        \\fl_barrier_body:
        \\  .cfi_startproc
        \\  movq 8(%r11), %rax
        \\  testq %rax, %rax
        \\  jz 4f
        \\  cmpq %fs:0, %rax
        \\  jne 3f
        \\4:
        \\  pushq %rbp
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset %rbp, -16
        \\  movq %rsp, %rbp
        \\  .cfi_def_cfa_register %rbp
        \\  pushq %rbx
        \\  .cfi_offset %rbx, -24
        \\  pushq %r12
        \\  .cfi_offset %r12, -32
        \\  subq $32 + 128, %rsp
        \\  stmxcsr -24(%rbp)
        \\  fnstcw -20(%rbp)
        \\  movq fl_tls_offset(%rip), %rbx
        \\  testq %rbx, %rbx
        \\  jz 2f
        \\1:
        \\  movq %fs:(%rbx), %r12
        \\  movq %r12, -32(%rbp)
        \\  leaq -32 + 1(%rbp), %rax
        \\  movq %rax, %fs:(%rbx)
        \\  ldmxcsr fl_default_control(%rip)
        \\  fldcw fl_default_control + 4(%rip)
        \\  movups 16(%rbp), %xmm8
        \\  movups 32(%rbp), %xmm9
        \\  movups 48(%rbp), %xmm10
        \\  movups 64(%rbp), %xmm11
        \\  movups 80(%rbp), %xmm12
        \\  movups 96(%rbp), %xmm13
        \\  movups 112(%rbp), %xmm14
        \\  movups 128(%rbp), %xmm15
        \\  movups %xmm8, (%rsp)
        \\  movups %xmm9, 16(%rsp)
        \\  movups %xmm10, 32(%rsp)
        \\  movups %xmm11, 48(%rsp)
        \\  movups %xmm12, 64(%rsp)
        \\  movups %xmm13, 80(%rsp)
        \\  movups %xmm14, 96(%rsp)
        \\  movups %xmm15, 112(%rsp)
        \\  movl $8, %eax
        \\  callq *(%r11)
        \\  movq %r12, %fs:(%rbx)
        \\  ldmxcsr -24(%rbp)
        // JavaScript's remainders leave sticky x87 flags, which the library may have unmasked.
        \\  fnclex
        \\  fldcw -20(%rbp)
        \\  movq -8(%rbp), %rbx
        \\  movq -16(%rbp), %r12
        \\  leave
        \\  .cfi_remember_state
        \\  .cfi_def_cfa %rsp, 8
        \\  .cfi_restore %rbp
        \\  .cfi_restore %rbx
        \\  .cfi_restore %r12
        \\  ret
        \\  .cfi_restore_state
        \\2:
        \\  call fl_offset_keeping_arguments
        \\  movq %rax, %rbx
        \\  jmp 1b
        \\  .cfi_endproc
        // Reached from a thread that does not own the callback.
        \\3:
        \\  movq %r11, %rdi
        \\  subq $8, %rsp
        \\  call fl_foreign_callback
        \\  addq $8, %rsp
        \\  jmp fl_return_zero
        \\.size fl_barrier_body, . - fl_barrier_body
        //
        // What a closed callback is.
        \\.globl fl_return_zero
        \\.hidden fl_return_zero
        \\.type fl_return_zero, @function
        \\fl_return_zero:
        \\  xorl %eax, %eax
        \\  pxor %xmm0, %xmm0
        \\  ret
        \\.size fl_return_zero, . - fl_return_zero
    );
}
