//! Runs code that may fault or never end on a stack of its own, so that it can be abandoned.

comptime {
    asm (
        \\.text
        // u64 fl_stage_run(function, argument, stack, *saved): calls function(argument) on the
        // stack whose end is given. 0 when it returned, 1 when it was abandoned: the handler then
        // resumes at fl_stage_abandon, with rsp as it was stored to `saved`.
        \\.p2align 4, 0xcc
        \\.globl fl_stage_run, fl_stage_abandon
        \\.hidden fl_stage_run, fl_stage_abandon
        \\.type fl_stage_run, @function
        \\fl_stage_run:
        \\  pushq %rbp
        \\  movq %rsp, %rbp
        \\  pushq %rbx
        \\  pushq %r12
        \\  pushq %r13
        \\  pushq %r14
        \\  pushq %r15
        \\  subq $8, %rsp
        \\  movq %rcx, %rbx
        \\  movq %rsp, (%rcx)
        \\  movq %rdi, %rax
        \\  movq %rsi, %rdi
        \\  movq %rdx, %rsp
        \\  callq *%rax
        \\  xorl %eax, %eax
        \\  movq (%rbx), %rsp
        \\  jmp 1f
        \\fl_stage_abandon:
        \\  movl $1, %eax
        \\1:
        \\  addq $8, %rsp
        \\  popq %r15
        \\  popq %r14
        \\  popq %r13
        \\  popq %r12
        \\  popq %rbx
        \\  popq %rbp
        \\  ret
        \\.size fl_stage_run, . - fl_stage_run
    );
}

extern fn fl_stage_run(function: u64, argument: u64, stack: u64, saved: *u64) callconv(.c) u64;
extern fn fl_stage_abandon() callconv(.c) void;

/// Calls `function` on the stack that ends at `stack`, 16-byte aligned. `saved` gets the stack
/// pointer to resume `abandon` with. Whether it came to its end.
pub fn runStage(
    function: *const fn (argument: u64) callconv(.c) void,
    argument: u64,
    stack: u64,
    saved: *u64,
) bool {
    return fl_stage_run(@intFromPtr(function), argument, stack, saved) == 0;
}

/// Where a stage that is abandoned goes on.
pub fn abandonStage() u64 {
    return @intFromPtr(&fl_stage_abandon);
}
