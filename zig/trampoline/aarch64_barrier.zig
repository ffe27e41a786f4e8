//! Barriers on arm64: what native code calls in place of a function that may run JavaScript.
//! x86_64_barrier.zig says what they are for; this is the same for AAPCS64.

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
        \\.text
        \\.altmacro
        \\.macro FL_BARRIER i
        \\  hint #34
        \\  adrp x16, fl_barrier_targets + 16 * \i
        \\  add x16, x16, :lo12:fl_barrier_targets + 16 * \i
        \\  b fl_barrier_body
        \\.endm
        \\.p2align 6
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
        // Its frame: x29, x30, x19, x20, FPCR, FPSR, the enclosing guard and the guard's address
        // with the lowest bit set.
        \\.p2align 6
        \\.type fl_barrier_body, %function
        \\fl_barrier_body:
        \\  .cfi_startproc
        \\  ldr x9, [x16, #8]
        \\  cbz x9, 4f
        \\  mrs x10, tpidr_el0
        \\  cmp x9, x10
        \\  b.ne 3f
        \\4:
        \\  stp x29, x30, [sp, #-64]!
        \\  .cfi_def_cfa_offset 64
        \\  .cfi_offset x29, -64
        \\  .cfi_offset x30, -56
        \\  mov x29, sp
        \\  .cfi_def_cfa_register x29
        \\  stp x19, x20, [x29, #16]
        \\  .cfi_offset x19, -48
        \\  .cfi_offset x20, -40
        \\  mrs x9, fpcr
        \\  mrs x10, fpsr
        \\  stp x9, x10, [x29, #32]
        \\  sub sp, sp, #128
        \\  adrp x17, fl_tls_offset
        \\  ldr x17, [x17, :lo12:fl_tls_offset]
        \\  cbz x17, 2f
        \\1:
        \\  mrs x9, tpidr_el0
        \\  add x19, x9, x17
        \\  ldr x20, [x19]
        \\  str x20, [x29, #48]
        \\  add x10, x29, #49
        \\  str x10, [x19]
        \\  ldr x9, [x29, #32]
        \\  cbz x9, 5f
        \\  msr fpcr, xzr
        \\5:
        \\  ldp q16, q17, [x29, #64]
        \\  ldp q18, q19, [x29, #96]
        \\  ldp q20, q21, [x29, #128]
        \\  ldp q22, q23, [x29, #160]
        \\  stp q16, q17, [sp]
        \\  stp q18, q19, [sp, #32]
        \\  stp q20, q21, [sp, #64]
        \\  stp q22, q23, [sp, #96]
        \\  ldr x17, [x16]
        \\  blr x17
        \\  str x20, [x19]
        \\  ldp x9, x10, [x29, #32]
        \\  mrs x11, fpcr
        \\  cmp x11, x9
        \\  b.eq 6f
        \\  msr fpcr, x9
        \\6:
        // JavaScript's arithmetic leaves sticky flags.
        \\  msr fpsr, x10
        \\  ldp x19, x20, [x29, #16]
        \\  mov sp, x29
        \\  .cfi_def_cfa_register sp
        \\  ldp x29, x30, [sp], #64
        \\  .cfi_remember_state
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x29
        \\  .cfi_restore x30
        \\  .cfi_restore x19
        \\  .cfi_restore x20
        \\  ret
        \\  .cfi_restore_state
        \\  .cfi_def_cfa x29, 64
        \\2:
        \\  bl fl_offset_keeping_arguments
        \\  b 1b
        \\  .cfi_endproc
        // Reached from a thread that does not own the callback.
        \\3:
        \\  .cfi_startproc
        \\  stp x29, x30, [sp, #-16]!
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset x29, -16
        \\  .cfi_offset x30, -8
        \\  mov x0, x16
        \\  bl fl_foreign_callback
        \\  ldp x29, x30, [sp], #16
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x29
        \\  .cfi_restore x30
        \\  b fl_return_zero
        \\  .cfi_endproc
        \\.size fl_barrier_body, . - fl_barrier_body
        //
        // What a closed callback is.
        \\.globl fl_return_zero
        \\.hidden fl_return_zero
        \\.type fl_return_zero, %function
        \\fl_return_zero:
        \\  hint #34
        \\  mov x0, #0
        \\  movi d0, #0
        \\  ret
        \\.size fl_return_zero, . - fl_return_zero
    );
}
