//! Takes some of the loader's surplus of static TLS, so that the next library gets dynamic TLS.
//! Tests load copies of it until the loader has none left.

const std = @import("std");
const byte_length = @import("options").byte_length;

comptime {
    asm (std.fmt.comptimePrint(
            \\.section .tbss,"awT",@nobits
            \\.p2align 4
            \\.hidden fx_block
            \\.type fx_block, @object
            \\.size fx_block, {[length]d}
            \\fx_block:
            \\  .zero {[length]d}
            \\.text
            \\.globl fx_eat
            \\.type fx_eat, @function
            // Initial-exec: the loader has to give static TLS, or refuse the library.
            \\fx_eat:
            \\  movq fx_block@gottpoff(%rip), %rax
            \\  movb $1, %fs:(%rax)
            \\  ret
        , .{ .length = byte_length }));
}
pub const panic = std.debug.no_panic;
