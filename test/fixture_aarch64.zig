//! What fixture.zig needs of arm64: functions in assembly, and what a handler sees. Control words
//! are FPCR and, in place of the x87's, FPSR without its sticky flags, which is 0.

/// The kernel's `struct ucontext` up to the instruction pointer.
pub const Context = extern struct {
    head: [176]u8,
    fault_address: u64,
    registers: [32]u64,
    ip: u64,
};

/// prctl(PR_GET_SHADOW_STACK_STATUS).
pub const shadow_stack_call = .{
    .number = 167,
    .operation = 74,
    .operation_register = 0,
    .pointer_register = 1,
    .result_register = 0,
};

pub fn restorer() callconv(.naked) void {
    asm volatile (
        \\ mov x8, #139
        \\ svc #0
    );
}

/// Machine code of `mov x0, #0x10; ldr x0, [x0]; ret`.
pub const code = [_]u8{ 0x00, 0x02, 0x80, 0xd2, 0x00, 0x00, 0x40, 0xf9, 0xc0, 0x03, 0x5f, 0xd6 };

/// Makes code that was written as data visible to the processor's fetches.
pub fn flush(address: u64, length: u64) void {
    var at = address & ~@as(u64, 15);
    while (at < address + length) : (at += 16) {
        asm volatile (
            \\ dc cvau, %[at]
            \\ dsb ish
            \\ ic ivau, %[at]
            \\ dsb ish
            :
            : [at] "r" (at),
            : .{ .memory = true });
    }
    asm volatile ("isb" ::: .{ .memory = true });
}

/// Bytes of the instruction that `load` is.
pub const load_length = 4;

pub inline fn load(address: u64) void {
    asm volatile ("ldr w9, [%[address]]"
        :
        : [address] "r" (address),
        : .{ .x9 = true, .memory = true });
}

/// Garbage in the upper bits of the result register: only the type's own bits may be read.
export fn fx_dirty_result() callconv(.naked) u64 {
    asm volatile (
        \\ movz x0, #0xdead, lsl #48
        \\ movk x0, #0xbeef, lsl #32
        \\ movk x0, #0xcafe, lsl #16
        \\ ret
    );
}

comptime {
    asm (
        \\.text
        \\.balign 4
        \\.macro FX_FUNCTION name
        \\.globl \name
        \\.type \name, %function
        \\\name:
        \\.endm
        // u64 fx_read(u64 address), the instruction that faults first.
        \\FX_FUNCTION fx_read
        \\  ldr x0, [x0]
        \\  ret
        // void fx_write(u64 address, u64 value)
        \\FX_FUNCTION fx_write
        \\  str x1, [x0]
        \\  ret
        // void fx_jump(u64 address)
        \\FX_FUNCTION fx_jump
        \\  stp x29, x30, [sp, #-16]!
        \\  mov x29, sp
        \\  blr x0
        \\  ldp x29, x30, [sp], #16
        \\  ret
        // i32 fx_divide(i32 a, i32 b). A division by zero gives 0 on this CPU, and nothing else
        // makes a SIGFPE on most. So the thread queues to itself what the kernel of a CPU that
        // traps would send, and does so again until somebody takes it further.
        \\FX_FUNCTION fx_divide
        \\  cbz w1, 2f
        \\  sdiv w0, w0, w1
        \\  ret
        \\2:
        \\  sub sp, sp, #128
        // What others left there would pass for return addresses: that of free(), say.
        \\  movi v16.16b, #0
        \\  stp q16, q16, [sp]
        \\  stp q16, q16, [sp, #32]
        \\  stp q16, q16, [sp, #64]
        \\  stp q16, q16, [sp, #96]
        \\  mov w9, #8
        \\  str w9, [sp]
        \\  mov w9, #1
        \\  str w9, [sp, #8]
        \\  adr x9, 4f
        \\  str x9, [sp, #16]
        \\  mov x8, #172
        \\  svc #0
        \\  mov x10, x0
        \\  mov x8, #178
        \\  svc #0
        \\  mov x11, x0
        \\3:
        \\  mov x0, x10
        \\  mov x1, x11
        \\  mov x2, #8
        \\  mov x3, sp
        \\  mov x8, #240
        \\  svc #0
        \\4:
        \\  b 3b
        \\  add sp, sp, #128
        \\  mov w0, #0
        \\  ret
        \\FX_FUNCTION fx_ud2
        \\  udf #0
        \\  ret
        \\FX_FUNCTION fx_int3
        \\  brk #0
        \\  mov w0, #7
        \\  ret
        // A register of the kernel's.
        \\FX_FUNCTION fx_hlt
        \\  mrs x0, sctlr_el1
        \\  ret
        // f64 fx_float_divide(u32 fpcr, f64 a, f64 b): traps only where the CPU can.
        \\FX_FUNCTION fx_float_divide
        \\  msr fpcr, x0
        \\  fdiv d0, d0, d1
        \\  ret
        // void fx_dirty_fault(u64 address): spoils every callee-saved register and the sticky
        // flags, then faults.
        \\FX_FUNCTION fx_dirty_fault
        \\  mov x19, #0x1111
        \\  mov x20, #0x2222
        \\  mov x21, #0x3333
        \\  mov x22, #0x4444
        \\  mov x23, #0x5555
        \\  mov x24, #0x6666
        \\  mov x25, #0x7777
        \\  mov x26, #0x8888
        \\  mov x27, #0x9999
        \\  mov x28, #0xaaaa
        \\  mov x29, #0xbbbb
        \\  movi v8.16b, #0xff
        \\  movi v9.16b, #0xff
        \\  movi v10.16b, #0xff
        \\  movi v11.16b, #0xff
        \\  movi v12.16b, #0xff
        \\  movi v13.16b, #0xff
        \\  movi v14.16b, #0xff
        \\  movi v15.16b, #0xff
        \\  mov x9, #0x1f
        \\  msr fpsr, x9
        \\  ldr x0, [x0]
        \\  ret
        // void fx_alignment_fault(u64 address): an exclusive access, which must be aligned.
        \\FX_FUNCTION fx_alignment_fault
        \\  ldxr x0, [x0]
        \\  clrex
        \\  ret
        // void fx_trash_stack(u64 address): overwrites what lies above its frame, then faults.
        \\FX_FUNCTION fx_trash_stack
        \\  mov x9, #0x4141
        \\  stp x9, x9, [sp]
        \\  ldr x0, [x0]
        \\  ret
        // void fx_change_control(u32 fpcr, u32 fpsr, u64 address): changes both, and faults before
        // it puts them back.
        \\FX_FUNCTION fx_change_control
        \\  msr fpcr, x0
        \\  msr fpsr, x1
        \\  ldr x0, [x2]
        \\  ret
        \\FX_FUNCTION fx_set_control
        \\  msr fpcr, x0
        \\  msr fpsr, x1
        \\  ret
        // u32: FPCR
        \\FX_FUNCTION fx_mxcsr
        \\  mrs x0, fpcr
        \\  ret
        // u32: FPSR without its sticky flags
        \\FX_FUNCTION fx_x87_control
        \\  mrs x0, fpsr
        \\  and x0, x0, #0xffffffff00000000
        \\  ret
        // u32: there is no x87, so its register stack is always empty
        \\FX_FUNCTION fx_x87_tags
        \\  mov w0, #0xffff
        \\  ret
        // u64: the condition flags
        \\FX_FUNCTION fx_flags
        \\  mrs x0, nzcv
        \\  ret
        // i32 fx_callback(i32 (*function)(i32), i32 value): value of the callback plus 1
        \\FX_FUNCTION fx_callback
        \\  stp x29, x30, [sp, #-16]!
        \\  mov x29, sp
        \\  mov x9, x0
        \\  mov w0, w1
        \\  blr x9
        \\  add w0, w0, #1
        \\  ldp x29, x30, [sp], #16
        \\  ret
        // u64 fx_callback_and_read(i32 (*function)(i32), i32 value, u64 address): faults after the
        // callback has returned
        \\FX_FUNCTION fx_callback_and_read
        \\  stp x29, x30, [sp, #-32]!
        \\  mov x29, sp
        \\  stp x2, xzr, [sp, #16]
        \\  mov x9, x0
        \\  mov w0, w1
        \\  blr x9
        \\  ldr x2, [sp, #16]
        \\  ldr x0, [x2]
        \\  ldp x29, x30, [sp], #32
        \\  ret
        // u64 fx_read_on_stack(u64 address, u64 stack): reads with another stack pointer
        \\FX_FUNCTION fx_read_on_stack
        \\  mov x2, sp
        \\  mov sp, x1
        \\  ldr x0, [x0]
        \\  mov sp, x2
        \\  ret
        // void fx_push_on_stack(u64 stack): the push faults when nothing is there, or when it is
        // not a multiple of 16
        \\FX_FUNCTION fx_push_on_stack
        \\  mov x2, sp
        \\  mov sp, x0
        \\  str x2, [sp, #-8]!
        \\  ldr x2, [sp]
        \\  mov sp, x2
        \\  ret
    );
}
