//! Guarded calls with stack arguments on x86-64, and calls whose arguments lie in a block.
//!
//! The callee must find its stack arguments right above its return address, so the body copies them
//! below the recovery frame: the return address is a real one, and return prediction and shadow
//! stacks stay intact. How many bytes is in the slot.

const x86_64 = @import("x86_64.zig");

comptime {
    asm (
        \\.text
        \\.altmacro
        \\.macro FL_STACK_THUNK i
        \\.globl fl_s\i
        \\.type fl_s\i, @function
        \\fl_s\i:
        \\  leaq fl_slots + 32768 + 32 * \i(%rip), %r11
        \\  jmp fl_stack_body
        \\.size fl_s\i, . - fl_s\i
        \\.p2align 4, 0xcc
        \\.endm
        \\.p2align 6, 0xcc
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
        // r13, which holds the frame's address.
        \\.p2align 6, 0xcc
        \\.globl fl_stack_body, fl_stack_call, fl_stack_return
        \\.hidden fl_stack_body, fl_stack_call, fl_stack_return
        \\.type fl_stack_body, @function
        \\fl_stack_body:
        \\  .cfi_startproc
    ++ "\n" ++ x86_64.enter ++ "\n" ++
        \\1:
        \\  movq %rsp, %r13
        \\  .cfi_def_cfa %r13, 80
        \\  movl 24(%r11), %eax
        \\  subq %rax, %rsp
        \\2:
        \\  subq $8, %rax
        \\  jl 4f
        \\  movq 80(%r13,%rax), %r10
        \\  movq %r10, (%rsp,%rax)
        \\  jmp 2b
        \\4:
        \\  movq %fs:(%rbx), %r12
        \\  movq %r12, (%r13)
        \\  movq %r13, %fs:(%rbx)
        \\  movl $8, %eax
        \\fl_stack_call:
        \\  callq *(%r11)
        \\fl_stack_return:
        \\  movq %r12, %fs:(%rbx)
        \\  movq %r13, %rsp
        \\  .cfi_def_cfa %rsp, 80
        \\  movq %fs:8(%rbx), %rcx
        \\  testq %rcx, %rcx
        \\  jz 5f
        \\  movq %rax, 8(%rcx)
        \\  movsd %xmm0, 16(%rcx)
        \\5:
        \\  movq 40(%rsp), %r13
        \\  movq 48(%rsp), %r12
        \\  movq 56(%rsp), %rbx
        \\  addq $72, %rsp
        \\  .cfi_remember_state
        \\  .cfi_def_cfa_offset 8
        \\  .cfi_restore %rbp
        \\  .cfi_restore %rbx
        \\  .cfi_restore %r12
        \\  .cfi_restore %r13
        \\  .cfi_restore %r14
        \\  .cfi_restore %r15
        \\  ret
        \\  .cfi_restore_state
        \\3:
        \\  call fl_offset_keeping_arguments
        \\  movq %rax, %rbx
        \\  jmp 1b
        \\  .cfi_endproc
        \\.size fl_stack_body, . - fl_stack_body
    );
}

comptime {
    asm (
        \\.text
        // void fl_call_registers(block): loads every argument register and the stack from the
        // block, then calls the block's slot as a stack thunk would.
        \\.p2align 4, 0xcc
        \\.globl fl_call_registers
        \\.hidden fl_call_registers
        \\.type fl_call_registers, @function
        \\fl_call_registers:
        \\  .cfi_startproc
        \\  pushq %rbp
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset %rbp, -16
        \\  movq %rsp, %rbp
        \\  .cfi_def_cfa_register %rbp
        \\  movq %rdi, %r11
        \\  movq 224(%r11), %r10
        \\  movl 232(%r11), %eax
        \\  subq %rax, %rsp
        \\1:
        \\  subq $8, %rax
        \\  jl 2f
        \\  movq (%r10,%rax), %rcx
        \\  movq %rcx, (%rsp,%rax)
        \\  jmp 1b
        \\2:
        \\  movsd 160(%r11), %xmm0
        \\  movsd 168(%r11), %xmm1
        \\  movsd 176(%r11), %xmm2
        \\  movsd 184(%r11), %xmm3
        \\  movsd 192(%r11), %xmm4
        \\  movsd 200(%r11), %xmm5
        \\  movsd 208(%r11), %xmm6
        \\  movsd 216(%r11), %xmm7
        \\  movq 96(%r11), %rdi
        \\  movq 104(%r11), %rsi
        \\  movq 112(%r11), %rdx
        \\  movq 120(%r11), %rcx
        \\  movq 128(%r11), %r8
        \\  movq 136(%r11), %r9
        \\  addq $64, %r11
        \\  call fl_stack_body
        \\  leave
        \\  .cfi_def_cfa %rsp, 8
        \\  ret
        \\  .cfi_endproc
        \\.size fl_call_registers, . - fl_call_registers
        //
        // noreturn fl_jump(guard, offset): from the handler straight to the landing pad.
        \\.globl fl_jump
        \\.hidden fl_jump
        \\.type fl_jump, @function
        \\fl_jump:
        \\  movq %rdi, %rsp
        \\  movq %rsi, %rbx
        // The kernel gave the handler initial x87 and SSE state.
        \\  cmpl $0x1f80, 16(%rsp)
        \\  je 1f
        \\  ldmxcsr 16(%rsp)
        \\1:
        \\  jmp fl_landing
        \\.size fl_jump, . - fl_jump
    );
}

extern fn fl_stack_call() callconv(.c) void;
extern fn fl_stack_return() callconv(.c) void;

pub fn callSite() u64 {
    return @intFromPtr(&fl_stack_call);
}

pub fn stackReturnAddress() u64 {
    return @intFromPtr(&fl_stack_return);
}
