//! Takes some of the loader's surplus of static TLS, so that the next library gets dynamic TLS.
//! Tests load copies of it until the loader has none left.

const std = @import("std");
const builtin = @import("builtin");
const byte_length = @import("options").byte_length;

comptime {
    asm (std.fmt.comptimePrint(
            \\.section .tbss,"awT",@nobits
            \\.p2align 4
            \\.hidden fx_block
            \\.type fx_block, %object
            \\.size fx_block, {[length]d}
            \\fx_block:
            \\  .zero {[length]d}
            \\.text
            \\.globl fx_eat
            \\.type fx_eat, %function
            // Initial-exec: the loader has to give static TLS, or refuse the library.
            \\fx_eat:
        , .{ .length = byte_length }) ++ "\n" ++ body);
}

const body = switch (builtin.cpu.arch) {
    .x86_64 =>
    \\  movq fx_block@gottpoff(%rip), %rax
    \\  movb $1, %fs:(%rax)
    \\  ret
    ,
    .aarch64 =>
    \\  adrp x0, :gottprel:fx_block
    \\  ldr x0, [x0, :gottprel_lo12:fx_block]
    \\  mrs x1, tpidr_el0
    \\  mov w2, #1
    \\  strb w2, [x1, x0]
    \\  ret
    ,
    else => @compileError("no fixture for this architecture yet"),
};
pub const panic = std.debug.no_panic;
