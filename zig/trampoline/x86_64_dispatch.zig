//! Where a thread continues after the handler when JavaScript hooks are to be asked, on x86-64.
//!
//! The handler copied the interrupted state below the interrupted function's stack. rbx holds the
//! address of that copy (`inside/dispatch.zig`), and so does rsp. The hooks run as an ordinary
//! function; then rt_sigreturn takes what they left of the copy.

const std = @import("std");

/// Where the copy has the kernel's `struct ucontext`; asserted there.
pub const context_offset = 256;
/// Where a `struct ucontext` has its general registers.
const registers_offset = context_offset + 40;

/// A signed LEB128 of two bytes: offsets here are below 8192.
fn leb(comptime value: u16) [2]u8 {
    comptime std.debug.assert(value < 4096);
    return .{ @as(u8, value & 0x7f) | 0x80, @as(u8, value >> 7) };
}

/// The place of a register in DWARF's numbering, in the order of the kernel's struct.
const dwarf_numbers = [_]u8{ 8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16 };
const rsp_index = 15;
const op_breg3 = 0x73;

/// Tells unwinders that every register of the caller lies in the copy.
const call_frame = text: {
    const rsp = leb(registers_offset + 8 * rsp_index);
    // DW_CFA_def_cfa_expression: the saved stack pointer.
    var lines: []const u8 = std.fmt.comptimePrint(
        ".cfi_escape 0x0f, 4, {d}, {d}, {d}, 0x06\n",
        .{ op_breg3, rsp[0], rsp[1] },
    );
    for (dwarf_numbers, 0..) |number, index| {
        if (index == rsp_index) continue;
        const at = leb(registers_offset + 8 * index);
        // DW_CFA_expression.
        lines = lines ++ std.fmt.comptimePrint(
            ".cfi_escape 0x10, {d}, 3, {d}, {d}, {d}\n",
            .{ number, op_breg3, at[0], at[1] },
        );
    }
    break :text lines;
};

comptime {
    asm (
        \\.text
        \\.p2align 4, 0xcc
        \\.globl fl_dispatch
        \\.hidden fl_dispatch
        \\.type fl_dispatch, @function
        \\.cfi_startproc
        \\.cfi_signal_frame
    ++ "\n" ++ call_frame ++
        // Unwinders look up the byte before an address, too.
        \\  nop
        \\fl_dispatch:
        \\  movq %rbx, %rdi
        \\  call fl_run_hooks
        // The kernel finds its frame 8 bytes below the stack pointer.
        \\  leaq 256(%rbx), %rsp
        \\  movl $15, %eax
        \\  syscall
        \\  ud2
        \\.cfi_endproc
        \\.size fl_dispatch, . - fl_dispatch
    );
}

comptime {
    std.debug.assert(context_offset == 256); // As in the assembly above.
}

comptime {
    asm (
        \\.text
        \\.p2align 4, 0xcc
        // i32 fl_call_deeper(u64 function, u64 byte_length): calls a function that runs hooks with
        // so much more on the stack, none of it touched.
        \\.globl fl_call_deeper
        \\.hidden fl_call_deeper
        \\.type fl_call_deeper, @function
        \\fl_call_deeper:
        \\  .cfi_startproc
        \\  pushq %rbp
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset %rbp, -16
        \\  movq %rsp, %rbp
        \\  .cfi_def_cfa_register %rbp
        \\  subq %rsi, %rsp
        \\  andq $-16, %rsp
        \\  movq %rdi, %rax
        \\  movl $-1, %edi
        \\  xorl %esi, %esi
        \\  xorl %edx, %edx
        \\  xorl %ecx, %ecx
        \\  pxor %xmm0, %xmm0
        \\  callq *%rax
        \\  leave
        \\  .cfi_def_cfa %rsp, 8
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
