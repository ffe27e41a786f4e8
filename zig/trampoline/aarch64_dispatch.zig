//! Where a thread continues after the handler when JavaScript hooks are to be asked, on arm64.
//!
//! The handler copied the interrupted state below the interrupted function's stack. x19 holds the
//! address of that copy (`inside/dispatch.zig`), and so does sp. The hooks run as an ordinary
//! function; then rt_sigreturn takes what they left of the copy.

const std = @import("std");

/// Where the copy has the kernel's `struct ucontext`; asserted there.
pub const context_offset = 256;
/// Where a `struct ucontext` has its general registers: x0 to x30, sp, pc.
const registers_offset = context_offset + 184;

/// A signed LEB128 of two bytes: offsets here are below 8192.
fn leb(comptime value: u16) [2]u8 {
    comptime std.debug.assert(value < 4096);
    return .{ @as(u8, value & 0x7f) | 0x80, @as(u8, value >> 7) };
}

const sp_index = 31;
/// DWARF has a number for pc, which is a column of its own here: x30 is the interrupted function's.
const pc_index = 32;
const op_breg19 = 0x83;

/// Tells unwinders that every register of the caller lies in the copy.
const call_frame = text: {
    @setEvalBranchQuota(20_000);
    const sp = leb(registers_offset + 8 * sp_index);
    // DW_CFA_def_cfa_expression: the saved stack pointer.
    var lines: []const u8 = std.fmt.comptimePrint(
        ".cfi_escape 0x0f, 4, {d}, {d}, {d}, 0x06\n",
        .{ op_breg19, sp[0], sp[1] },
    );
    for (0..pc_index + 1) |number| {
        if (number == sp_index) continue;
        const at = leb(registers_offset + 8 * number);
        // DW_CFA_expression.
        lines = lines ++ std.fmt.comptimePrint(
            ".cfi_escape 0x10, {d}, 3, {d}, {d}, {d}\n",
            .{ number, op_breg19, at[0], at[1] },
        );
    }
    break :text lines;
};

comptime {
    asm (
        \\.text
        \\.p2align 4
        \\.globl fl_dispatch
        \\.hidden fl_dispatch
        \\.type fl_dispatch, %function
        \\.cfi_startproc
        \\.cfi_signal_frame
        \\.cfi_return_column 32
    ++ "\n" ++ call_frame ++
        // Unwinders look up the byte before an address, too.
        \\  nop
        \\fl_dispatch:
        \\  mov x0, x19
        \\  bl fl_run_hooks
        // The kernel finds its frame at the stack pointer: 128 bytes of siginfo, then the context.
        \\  add sp, x19, #128
        \\  mov x8, #139
        \\  svc #0
        \\  udf #0
        \\.cfi_endproc
        \\.size fl_dispatch, . - fl_dispatch
    );
}

comptime {
    std.debug.assert(context_offset == 128 + 128); // As in the assembly above.
    asm (
        \\.text
        // i32 fl_call_deeper(u64 function, u64 byte_length): calls a function that runs hooks with
        // so much more on the stack, none of it touched.
        \\.p2align 4
        \\.globl fl_call_deeper
        \\.hidden fl_call_deeper
        \\.type fl_call_deeper, %function
        \\fl_call_deeper:
        \\  .cfi_startproc
        \\  hint #34
        \\  stp x29, x30, [sp, #-16]!
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset x29, -16
        \\  .cfi_offset x30, -8
        \\  mov x29, sp
        \\  .cfi_def_cfa x29, 16
        \\  sub x10, x29, x1
        \\  and sp, x10, #-16
        \\  mov x9, x0
        \\  mov w0, #-1
        \\  mov w1, #0
        \\  mov w2, #0
        \\  mov w3, #0
        \\  movi d0, #0
        \\  blr x9
        \\  mov sp, x29
        \\  .cfi_def_cfa sp, 16
        \\  ldp x29, x30, [sp], #16
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x29
        \\  .cfi_restore x30
        \\  ret
        \\  .cfi_endproc
        \\.size fl_call_deeper, . - fl_call_deeper
    );
}

extern fn fl_call_deeper(function: u64, byte_length: u64) callconv(.c) i32;
pub const callDeeper = fl_call_deeper;

extern fn fl_dispatch() callconv(.c) void;

pub fn dispatchEntry() u64 {
    return @intFromPtr(&fl_dispatch);
}
