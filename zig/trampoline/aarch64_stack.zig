//! Guarded calls with stack arguments on arm64, and calls whose arguments lie in a block.
//!
//! The callee must find its stack arguments where its stack pointer is, so the body copies them
//! below the recovery frame. How many bytes is in the slot.

const aarch64 = @import("aarch64.zig");

comptime {
    asm (
        \\.text
        \\.altmacro
        \\.macro FL_STACK_THUNK i
        \\.globl fl_s\i
        \\.type fl_s\i, %function
        \\fl_s\i:
        \\  hint #34
        \\  adrp x16, fl_slots + 32768 + 32 * \i
        \\  add x16, x16, :lo12:fl_slots + 32768 + 32 * \i
        \\  b fl_stack_body
        \\.size fl_s\i, . - fl_s\i
        \\.endm
        \\.p2align 6
        \\.globl fl_stack_thunks
        \\.hidden fl_stack_thunks
        \\fl_stack_thunks:
        \\.cfi_startproc
        \\.set fl_n, 0
        \\.rept 256
        \\FL_STACK_THUNK %fl_n
        \\.set fl_n, fl_n + 1
        \\.endr
        \\.cfi_endproc
        \\.noaltmacro
    );
}

comptime {
    asm (
        \\.text
        // As fl_body, with the stack arguments copied below the recovery frame. The callee keeps
        // x21, which holds the frame's address.
        \\.p2align 6
        \\.globl fl_stack_body, fl_stack_return
        \\.hidden fl_stack_body, fl_stack_return
        \\.type fl_stack_body, %function
        \\fl_stack_body:
        \\  .cfi_startproc
    ++ "\n" ++ aarch64.enter ++ "\n" ++
        \\1:
        \\  mov x21, sp
        \\  .cfi_def_cfa x21, 192
        \\  ldr w9, [x16, #24]
        \\  add x10, x21, #192
        \\  sub sp, sp, x9
        \\2:
        \\  subs x9, x9, #16
        \\  b.lt 4f
        \\  ldr q16, [x10, x9]
        \\  str q16, [sp, x9]
        \\  b 2b
        \\4:
        \\  mrs x9, tpidr_el0
        \\  add x19, x9, x17
        \\  ldr x20, [x19]
        \\  adr x10, fl_stack_return
        \\  stp x10, x20, [x21]
        \\  ldr x17, [x16]
        \\  str x21, [x19]
        \\  blr x17
        \\fl_stack_return:
        \\  str x20, [x19]
        \\  mov sp, x21
        \\  .cfi_def_cfa sp, 192
        \\  ldr x9, [x19, #8]
        \\  cbz x9, 5f
        \\  str x0, [x9, #8]
        \\  str d0, [x9, #16]
        \\5:
        \\  ldp x19, x20, [sp, #32]
        \\  ldr x21, [sp, #48]
    ++ "\n" ++ aarch64.leave ++ "\n" ++
        \\.size fl_stack_body, . - fl_stack_body
    );
}

comptime {
    asm (
        \\.text
        // void fl_call_registers(block): loads every argument register and the stack from the
        // block, then calls the block's slot as a stack thunk would.
        \\.p2align 4
        \\.globl fl_call_registers
        \\.hidden fl_call_registers
        \\.type fl_call_registers, %function
        \\fl_call_registers:
        \\  .cfi_startproc
        \\  hint #34
        \\  stp x29, x30, [sp, #-16]!
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset x29, -16
        \\  .cfi_offset x30, -8
        \\  mov x29, sp
        \\  .cfi_def_cfa x29, 16
        \\  mov x16, x0
        \\  ldr x10, [x16, #224]
        \\  ldr w9, [x16, #232]
        \\  sub sp, sp, x9
        \\1:
        \\  subs x9, x9, #16
        \\  b.lt 2f
        \\  ldr q16, [x10, x9]
        \\  str q16, [sp, x9]
        \\  b 1b
        \\2:
        \\  ldp d0, d1, [x16, #160]
        \\  ldp d2, d3, [x16, #176]
        \\  ldp d4, d5, [x16, #192]
        \\  ldp d6, d7, [x16, #208]
        \\  ldp x0, x1, [x16, #96]
        \\  ldp x2, x3, [x16, #112]
        \\  ldp x4, x5, [x16, #128]
        \\  ldp x6, x7, [x16, #144]
        \\  add x16, x16, #64
        \\  bl fl_stack_body
        \\  mov sp, x29
        \\  .cfi_def_cfa sp, 16
        \\  ldp x29, x30, [sp], #16
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x29
        \\  .cfi_restore x30
        \\  ret
        \\  .cfi_endproc
        \\.size fl_call_registers, . - fl_call_registers
        //
        // noreturn fl_jump(guard, offset): from the handler straight to the landing pad.
        \\.globl fl_jump
        \\.hidden fl_jump
        \\.type fl_jump, %function
        \\fl_jump:
        \\  mov sp, x0
        \\  mov x19, x1
        \\  b fl_landing
        \\.size fl_jump, . - fl_jump
    );
}

extern fn fl_stack_return() callconv(.c) void;

pub fn stackReturnAddress() u64 {
    return @intFromPtr(&fl_stack_return);
}
