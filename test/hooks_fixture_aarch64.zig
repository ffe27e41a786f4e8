//! The functions of hooks_fixture.zig that are assembly, on arm64.

const half = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15";
const all = half ++ ", 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31";
/// Of the general registers, those that are not in use when all are loaded or stored.
const most = all["0, 1, ".len .. all.len - ", 31".len];

/// `line` for each register of the list, whose number it calls `\i`.
fn each(comptime list: []const u8, comptime line: []const u8) []const u8 {
    return "\n.irp i, " ++ list ++ "\n  " ++ line ++ "\n.endr\n";
}

// ---- Everything in registers --------------------------------------------------------------------

// void fh_survive(u64 page, u64 area, u32 level): loads every register from `area`, stores a byte
// to `page`, which faults, and writes every register to `area` + 12288. Level 0 is Advanced SIMD, 1
// is SVE. At the same places of both parts:
//
//     + 0     FPCR and FPSR, 8 bytes each. The first part is told what the processor took of FPCR.
//     + 16    NZCV
//     + 24    x0 .. x30. x0 is `page` whatever is there, and x1 ends in the byte that is stored.
//     + 512   32 vectors, of 16 bytes or of SVE's length
//     + 8704  p0 .. p15 and FFR, each an eighth as long
const survive =
    \\.text
    \\.balign 4
    \\.globl fh_survive
    \\.type fh_survive, %function
    \\fh_survive:
    \\  sub sp, sp, #192
    \\  stp x19, x20, [sp]
    \\  stp x21, x22, [sp, #16]
    \\  stp x23, x24, [sp, #32]
    \\  stp x25, x26, [sp, #48]
    \\  stp x27, x28, [sp, #64]
    \\  stp x29, x30, [sp, #80]
    \\  stp d8, d9, [sp, #96]
    \\  stp d10, d11, [sp, #112]
    \\  stp d12, d13, [sp, #128]
    \\  stp d14, d15, [sp, #144]
    \\  mrs x3, fpcr
    \\  str x3, [sp, #160]
    \\  stp x1, x2, [sp, #176]
    \\  add x3, x1, #512
    \\  cbnz w2, 1f
++ each(all, "ldr q\\i, [x3, #16 * \\i]") ++
    \\  b 2f
    \\1:
    \\.arch_extension sve
    \\  add x4, x3, #2, lsl #12
    \\  ldr p0, [x4, #16, mul vl]
    \\  wrffr p0.b
++ each(half, "ldr p\\i, [x4, #\\i, mul vl]") ++ each(all, "ldr z\\i, [x3, #\\i, mul vl]") ++
    \\2:
    \\  ldp x3, x4, [x1]
    \\  msr fpcr, x3
    \\  msr fpsr, x4
    \\  mrs x3, fpcr
    \\  str x3, [x1]
    \\  ldr x3, [x1, #16]
    \\  msr nzcv, x3
++ each(most, "ldr x\\i, [x1, #24 + 8 * \\i]") ++
    \\  ldr x1, [x1, #24 + 8 * 1]
    \\  strb w1, [x0]
    \\  str x1, [sp, #-16]!
    \\  ldr x1, [sp, #16 + 176]
    \\  add x1, x1, #3, lsl #12
    \\  str x0, [x1, #24]
++ each(most, "str x\\i, [x1, #24 + 8 * \\i]") ++
    \\  ldr x2, [sp], #16
    \\  str x2, [x1, #24 + 8 * 1]
    \\  mrs x2, nzcv
    \\  str x2, [x1, #16]
    \\  mrs x2, fpcr
    \\  mrs x3, fpsr
    \\  stp x2, x3, [x1]
    \\  add x3, x1, #512
    \\  ldr w2, [sp, #184]
    \\  cbnz w2, 3f
++ each(all, "str q\\i, [x3, #16 * \\i]") ++
    \\  b 4f
    \\3:
    \\  add x4, x3, #2, lsl #12
++ each(all, "str z\\i, [x3, #\\i, mul vl]") ++ each(half, "str p\\i, [x4, #\\i, mul vl]") ++
    \\  rdffr p0.b
    \\  str p0, [x4, #16, mul vl]
    \\4:
    \\  ldr x3, [sp, #160]
    \\  msr fpcr, x3
    \\  msr fpsr, xzr
    \\  ldp x19, x20, [sp]
    \\  ldp x21, x22, [sp, #16]
    \\  ldp x23, x24, [sp, #32]
    \\  ldp x25, x26, [sp, #48]
    \\  ldp x27, x28, [sp, #64]
    \\  ldp x29, x30, [sp, #80]
    \\  ldp d8, d9, [sp, #96]
    \\  ldp d10, d11, [sp, #112]
    \\  ldp d12, d13, [sp, #128]
    \\  ldp d14, d15, [sp, #144]
    \\  add sp, sp, #192
    \\  ret
    \\.size fh_survive, . - fh_survive
    // u32 fh_scalable_length(): bytes of an SVE register; 0 without SVE
    \\.globl fh_scalable_length
    \\.type fh_scalable_length, %function
    \\fh_scalable_length:
    \\  mrs x0, id_aa64pfr0_el1
    \\  ubfx x0, x0, #32, #4
    \\  cbz x0, 1f
    \\  rdvl x0, #1
    \\1:
    \\  ret
    \\.size fh_scalable_length, . - fh_scalable_length
    \\.arch_extension nosve
;

comptime {
    asm (survive);
}

// ---- Kernels ------------------------------------------------------------------------------------

const kernels =
    \\.text
    \\.balign 4
    \\.macro FH_FUNCTION name
    \\.globl \name
    \\.type \name, %function
    \\\name:
    \\.endm
    // i32 fh_deep(u64 bytes): an illegal instruction with `bytes` more of the stack in use; 7
    \\FH_FUNCTION fh_deep
    \\  mov x9, sp
    \\  sub x10, x9, x0
    \\  and sp, x10, #-16
    \\  udf #0
    \\  mov sp, x9
    \\  mov w0, #7
    \\  ret
    // u64 fh_read_often(u64 address, u64 count): the same instruction `count` times; the sum of
    // what was read into x2.
    \\FH_FUNCTION fh_read_often
    \\  mov x3, #0
    \\1:
    \\  ldr x2, [x0]
    \\  add x3, x3, x2
    \\  subs x1, x1, #1
    \\  b.ne 1b
    \\  mov x0, x3
    \\  ret
    // u64 fh_hold(u64 address, u64* held): counts up, reads `address`, counts down
    \\FH_FUNCTION fh_hold
    \\  ldr x2, [x1]
    \\  add x2, x2, #1
    \\  str x2, [x1]
    \\  ldr x0, [x0]
    \\  ldr x2, [x1]
    \\  sub x2, x2, #1
    \\  str x2, [x1]
    \\  ret
    // f64 fh_vector_after(u64 address, f64 value): `value` after a read of `address`
    \\FH_FUNCTION fh_vector_after
    \\  ldr x0, [x0]
    \\  ret
    // u32 fh_steps(): an exception, then four instructions and the return
    \\FH_FUNCTION fh_steps
    \\  udf #0
    \\.globl fh_steps_first
    \\fh_steps_first:
    \\  nop
    \\  mov w0, #0
    \\  nop
    \\  mov w0, #42
    \\  ret
    // i32 fh_steps_and_callback(i32 (*function)(i32), i32 value): an exception, then a callback
    \\FH_FUNCTION fh_steps_and_callback
    \\  udf #0
    \\  stp x29, x30, [sp, #-16]!
    \\  mov x9, x0
    \\  mov w0, w1
    \\  blr x9
    \\  add w0, w0, #1
    \\  nop
    \\  ldp x29, x30, [sp], #16
    \\  ret
    // u64 fh_registers_after(u64 address): 1 and what was read into x1
    \\FH_FUNCTION fh_registers_after
    \\  mov x2, #1
    \\  ldr x1, [x0]
    \\  add x0, x1, x2
    \\  ret
    // u64 fh_at_depth(u64 address, u64 bytes): reads `address` with `bytes` more on the stack, each
    // page of it touched on the way
    \\FH_FUNCTION fh_at_depth
    \\  mov x2, sp
    \\  and x1, x1, #-4096
    \\1:
    \\  cbz x1, 2f
    \\  sub sp, sp, #1, lsl #12
    \\  str xzr, [sp]
    \\  sub x1, x1, #1, lsl #12
    \\  b 1b
    \\2:
    \\  ldr x0, [x0]
    \\  mov sp, x2
    \\  ret
    // u64 fh_protect_often(u64 page, u64 count): `count` times, as code that is not optimised does
    // it, writes to `page` and protects it against writing. Its count is on the stack alone.
    \\FH_FUNCTION fh_protect_often
    \\  stp x1, x0, [sp, #-16]!
    \\  mov x8, #226
    \\1:
    \\  ldr x0, [sp, #8]
    \\  mov x1, #4096
    \\  mov x2, #1
    \\  strb w2, [x0]
    \\  svc #0
    \\  cbnz x0, 2f
    \\  ldr x1, [sp]
    \\  sub x1, x1, #1
    \\  str x1, [sp]
    \\  cbnz x1, 1b
    \\2:
    \\  add sp, sp, #16
    \\  ret
    // u64 fh_stack_pointer()
    \\FH_FUNCTION fh_stack_pointer
    \\  mov x0, sp
    \\  ret
;

comptime {
    asm (kernels);
}
