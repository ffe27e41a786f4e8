//! The functions of calls_fixture.zig that are assembly, on arm64. Control words are FPCR and, in
//! place of the x87's, nothing.

comptime {
    asm (
        \\.text
        \\.balign 4
        \\.macro CX_FUNCTION name
        \\.globl \name
        \\.type \name, %function
        \\\name:
        \\.endm
        // u64 cx_load(u64 address)
        \\CX_FUNCTION cx_load
        \\  ldr x0, [x0]
        \\  ret
        // i32 cx_back_control(u32 fpcr, u32, i32 (*function)(i32), u32 into[2]): sets the control
        // word, calls back with 7, notes the control word and the sticky flags, and puts the
        // default back.
        \\CX_FUNCTION cx_back_control
        \\  stp x29, x30, [sp, #-32]!
        \\  mov x29, sp
        \\  str x19, [sp, #16]
        \\  mov x19, x3
        \\  mov w9, w0
        \\  msr fpcr, x9
        \\  msr fpsr, xzr
        \\  mov w0, #7
        \\  blr x2
        \\  mrs x9, fpcr
        \\  mrs x10, fpsr
        \\  stp w9, w10, [x19]
        \\  msr fpcr, xzr
        \\  ldr x19, [sp, #16]
        \\  ldp x29, x30, [sp], #32
        \\  ret
        // i32 cx_native_invalid(i32): leaves the sticky flag "invalid" in FPSR, as JavaScript
        // engines do, and gives its argument.
        \\CX_FUNCTION cx_native_invalid
        \\  movi d0, #0
        \\  fdiv d0, d0, d0
        \\  ret
    );
}
