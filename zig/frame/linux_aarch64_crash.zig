//! What crash reports need to know about arm64: the context of a minidump, the registers that a
//! tracer reads, how people look at registers. linux_x86_64_crash.zig has the same names.
//!
//! Layouts: Linux arch/arm64/include/uapi/asm/ptrace.h (`struct user_pt_regs`), arch/arm64/include/
//! uapi/asm/sigcontext.h (`struct fpsimd_context`), arch/arm64/kernel/vdso/sigreturn.S; Breakpad's
//! minidump_cpu_arm64.h (`MDRawContextARM64`), which is Windows' CONTEXT.

const std = @import("std");
const abi = @import("../abi.zig");
const signal_frame = @import("linux_aarch64.zig");
pub const Registers = signal_frame.Registers;
const assert = std.debug.assert;

pub const dwarf = signal_frame.dwarf;
pub const red_zone = signal_frame.red_zone;
pub const codeAddress = signal_frame.codeAddress;
pub const call_length_max = signal_frame.call_length_max;
pub const endsInCall = signal_frame.endsInCall;
pub const breakpoints_pass = signal_frame.breakpoints_pass;
/// Whether a call leaves the return address on the stack; else it is in a register.
pub const calls_push = dwarf.return_column == dwarf.instruction_pointer;
/// The longest instruction.
pub const instruction_max = 4;
/// Of the vectors that every processor has, as the kernel saves them.
pub const legacy_size = signal_frame.vectors_size;

pub fn dwarfRegisters(registers: *const Registers) [dwarf.register_count]u64 {
    const words: *const [signal_frame.register_count]u64 = @ptrCast(registers);
    return words[0..dwarf.register_count].*;
}

/// Where the registers lie that a signal interrupted, when `pc` is at the return from its handler:
/// `mov x8, #139` and `svc #0`, by which every unwinder knows it. The stack pointer is at the frame
/// then, which begins with the signal's information. `probe` reads memory.
pub fn signalContext(pc: u64, stack_pointer: u64, probe: *const fn ([]u8, u64) bool) ?u64 {
    const wanted = [_]u8{ 0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4 };
    // A caller's address is one less than where it goes on.
    for ([_]u64{ pc, pc +% 1 }) |at| {
        if (at % 4 != 0) continue;
        var code: [wanted.len]u8 = undefined;
        if (!probe(&code, at) or !std.mem.eql(u8, &code, &wanted)) continue;
        return stack_pointer +% abi.siginfo_size +% signal_frame.registers_offset;
    }
    return null;
}

/// The registers of whoever calls this, as far as unwinding from here needs them.
pub inline fn here() Registers {
    var registers: Registers = undefined;
    @memset(std.mem.asBytes(&registers), 0);
    asm volatile (
        \\adr x9, .
        \\mov x10, sp
        \\stp x10, x9, [%[into], #248]
        \\stp x19, x20, [%[into], #152]
        \\stp x21, x22, [%[into], #168]
        \\stp x23, x24, [%[into], #184]
        \\stp x25, x26, [%[into], #200]
        \\stp x27, x28, [%[into], #216]
        \\stp x29, x30, [%[into], #232]
        :
        : [into] "r" (&registers),
        : .{ .x9 = true, .x10 = true, .memory = true });
    return registers;
}

comptime {
    assert(@offsetOf(Registers, "x19") == 152);
    assert(@offsetOf(Registers, "x29") == 232);
    assert(@offsetOf(Registers, "sp") == 248);
    assert(@offsetOf(Registers, "pc") == 256);
}

/// `struct user_pt_regs`, what PTRACE_GETREGSET gives for NT_PRSTATUS: in the order of a signal's
/// frame.
pub const Traced = extern struct {
    values: Registers,

    comptime {
        assert(@sizeOf(Traced) == 34 * 8);
    }

    pub fn registers(traced: *const Traced) Registers {
        return traced.values;
    }
};

pub fn instructionPointer(registers: *const Registers) u64 {
    return registers.pc;
}

pub fn stackPointer(registers: *const Registers) u64 {
    return registers.sp;
}

/// PROCESSOR_ARCHITECTURE_ARM64.
pub const minidump_architecture = 12;

/// `MDRawContextARM64`.
pub const Context = extern struct {
    /// CONTEXT_ARM64 with control, integer and, where it is known, floating-point state.
    context_flags: u32,
    cpsr: u32,
    /// x0 to x30, sp, pc.
    registers: [33]u64,
    vectors: [512]u8 = @splat(0),
    fpcr: u32 = 0,
    fpsr: u32 = 0,
    breakpoint_controls: [8]u32 = @splat(0),
    breakpoints: [8]u64 = @splat(0),
    watchpoint_controls: [2]u32 = @splat(0),
    watchpoints: [2]u64 = @splat(0),

    comptime {
        assert(@sizeOf(Context) == 912);
        assert(@offsetOf(Context, "registers") == 8);
        assert(@offsetOf(Context, "vectors") == 272);
        assert(@offsetOf(Context, "fpcr") == 784);
        assert(@offsetOf(Context, "breakpoints") == 824);
    }
};

/// `legacy` is the record of the vectors, empty when it is not known.
pub fn context(registers: *const Registers, legacy: []const u8) Context {
    const integer_and_control = 0x0040_0003;
    const floating_point = 0x0040_0004;
    var result: Context = .{
        .context_flags = integer_and_control,
        .cpsr = @truncate(registers.pstate),
        .registers = dwarfRegisters(registers),
    };
    if (legacy.len >= legacy_size) {
        result.context_flags |= floating_point;
        result.fpsr = std.mem.readInt(u32, legacy[8..12], .little);
        result.fpcr = std.mem.readInt(u32, legacy[12..16], .little);
        @memcpy(&result.vectors, legacy[16..legacy_size]);
    }
    return result;
}

/// Registers as a program sees them in text, in the order that people know.
pub const shown = [_][]const u8{
    "pc",  "sp",  "x30", "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",     "x7",  "x8",
    "x9",  "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18",    "x19", "x20",
    "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "pstate",
};

/// Whether a process may have memory at `address`. The topmost byte of a pointer is ignored.
pub fn isCanonical(address: u64) bool {
    const high: u8 = @truncate(address >> 48);
    return high == 0 or high == 0xff;
}

test "context has the registers and vectors where readers of minidumps look" {
    var words: [signal_frame.register_count]u64 = undefined;
    for (&words, 0..) |*word, index| word.* = 0x1111_0000 + index;
    const registers: *const Registers = @ptrCast(&words);
    var legacy: [legacy_size]u8 = undefined;
    for (&legacy, 0..) |*byte, index| byte.* = @truncate(index);
    const made = std.mem.toBytes(context(registers, &legacy));
    const expectEqual = std.testing.expectEqual;
    try expectEqual(0x0040_0007, std.mem.readInt(u32, made[0..4], .little));
    try expectEqual(0x1111_0021, std.mem.readInt(u32, made[4..8], .little));
    try expectEqual(0x1111_001f, std.mem.readInt(u64, made[256..264], .little));
    try expectEqual(0x1111_0020, std.mem.readInt(u64, made[264..272], .little));
    try std.testing.expectEqualSlices(u8, legacy[16..528], made[272..784]);
    try expectEqual(0x0f0e_0d0c, std.mem.readInt(u32, made[784..788], .little));
    try expectEqual(0x0b0a_0908, std.mem.readInt(u32, made[788..792], .little));
    const bare = context(registers, &.{});
    try expectEqual(0x0040_0003, bare.context_flags);
}
