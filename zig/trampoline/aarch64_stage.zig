//! Runs code that may fault or never end on a stack of its own, so that it can be abandoned.
//! x86_64_stage.zig says the same for x86-64.

comptime {
    asm (
        \\.text
        // u64 fl_stage_run(function, argument, stack, *saved): calls function(argument) on the
        // stack whose end is given. 0 when it returned, 1 when it was abandoned: the handler then
        // resumes at fl_stage_abandon, with sp as it was stored to `saved`. What a function keeps
        // for its caller lies on the caller's stack, vectors too: a stage may have changed all.
        \\.p2align 4
        \\.globl fl_stage_run, fl_stage_abandon
        \\.hidden fl_stage_run, fl_stage_abandon
        \\.type fl_stage_run, %function
        \\fl_stage_run:
        \\  stp x29, x30, [sp, #-176]!
        \\  mov x29, sp
        \\  stp x19, x20, [sp, #16]
        \\  stp x21, x22, [sp, #32]
        \\  stp x23, x24, [sp, #48]
        \\  stp x25, x26, [sp, #64]
        \\  stp x27, x28, [sp, #80]
        \\  stp d8, d9, [sp, #96]
        \\  stp d10, d11, [sp, #112]
        \\  stp d12, d13, [sp, #128]
        \\  stp d14, d15, [sp, #144]
        \\  mov x19, x3
        \\  mov x9, sp
        \\  str x9, [x3]
        \\  mov x9, x0
        \\  mov x0, x1
        \\  mov sp, x2
        \\  blr x9
        \\  mov x0, #0
        \\  ldr x9, [x19]
        \\  mov sp, x9
        \\  b 1f
        \\fl_stage_abandon:
        \\  mov x0, #1
        \\1:
        \\  ldp x19, x20, [sp, #16]
        \\  ldp x21, x22, [sp, #32]
        \\  ldp x23, x24, [sp, #48]
        \\  ldp x25, x26, [sp, #64]
        \\  ldp x27, x28, [sp, #80]
        \\  ldp d8, d9, [sp, #96]
        \\  ldp d10, d11, [sp, #112]
        \\  ldp d12, d13, [sp, #128]
        \\  ldp d14, d15, [sp, #144]
        \\  ldp x29, x30, [sp], #176
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
