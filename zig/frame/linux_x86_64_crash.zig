//! What crash reports need to know about x86-64: the context of a minidump, the registers that a
//! tracer reads, how people look at registers. A port has the same names in a file of its own.
//!
//! Layouts: Linux arch/x86/include/asm/user_64.h (`struct user_regs_struct`); Breakpad's
//! minidump_cpu_amd64.h (`MDRawContextAMD64`), which is Windows' CONTEXT.

const std = @import("std");
const signal_frame = @import("linux_x86_64.zig");
const Frame = signal_frame.Frame;
pub const Registers = signal_frame.Registers;
const assert = std.debug.assert;

pub const dwarf = signal_frame.dwarf;
pub const red_zone = signal_frame.red_zone;
pub const codeAddress = signal_frame.codeAddress;
pub const call_length_max = signal_frame.call_length_max;
pub const endsInCall = signal_frame.endsInCall;
/// Whether a call leaves the return address on the stack; else it is in a register.
pub const calls_push = dwarf.return_column == dwarf.instruction_pointer;
pub const breakpoints_pass = signal_frame.breakpoints_pass;
/// The longest instruction.
pub const instruction_max = 15;
/// Of the FXSAVE area.
pub const legacy_size = 512;

pub fn dwarfRegisters(r: *const Registers) [dwarf.register_count]u64 {
    return .{
        r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8,
        r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip,
    };
}

/// Where the registers lie that a signal interrupted, when `pc` is at the return from its handler:
/// `mov $15, %rax` and `syscall`, by whose bytes every unwinder knows it. `probe` reads memory.
pub fn signalContext(pc: u64, stack_pointer: u64, probe: *const fn ([]u8, u64) bool) ?u64 {
    const wanted = [_]u8{ 0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05 };
    // A caller's address is one less than where it goes on.
    for ([_]u64{ pc, pc +% 1 }) |at| {
        var code: [wanted.len]u8 = undefined;
        if (!probe(&code, at) or !std.mem.eql(u8, &code, &wanted)) continue;
        return stack_pointer +% signal_frame.registers_offset;
    }
    return null;
}

/// The registers of whoever calls this, as far as unwinding from here needs them.
pub inline fn here() Registers {
    var registers: Registers = undefined;
    @memset(std.mem.asBytes(&registers), 0);
    asm volatile (
        \\leaq 0(%%rip), %%rax
        \\movq %%rax, 128(%[into])
        \\movq %%rsp, 120(%[into])
        \\movq %%rbp, 80(%[into])
        \\movq %%rbx, 88(%[into])
        \\movq %%r12, 32(%[into])
        \\movq %%r13, 40(%[into])
        \\movq %%r14, 48(%[into])
        \\movq %%r15, 56(%[into])
        :
        : [into] "r" (&registers),
        : .{ .rax = true, .memory = true });
    return registers;
}

comptime {
    assert(@offsetOf(Registers, "r12") == 32);
    assert(@offsetOf(Registers, "rbp") == 80);
    assert(@offsetOf(Registers, "rbx") == 88);
    assert(@offsetOf(Registers, "rsp") == 120);
}

/// `struct user_regs_struct`, what PTRACE_GETREGSET gives for NT_PRSTATUS.
pub const Traced = extern struct {
    // zig fmt: off
    r15: u64, r14: u64, r13: u64, r12: u64, rbp: u64, rbx: u64, r11: u64, r10: u64, r9: u64,
    r8: u64, rax: u64, rcx: u64, rdx: u64, rsi: u64, rdi: u64, orig_rax: u64, rip: u64, cs: u64,
    eflags: u64, rsp: u64, ss: u64, fs_base: u64, gs_base: u64, ds: u64, es: u64, fs: u64, gs: u64,
    // zig fmt: on

    comptime {
        assert(@sizeOf(Traced) == 27 * 8);
    }

    pub fn registers(traced: *const Traced) Registers {
        var result: Registers = undefined;
        inline for (@typeInfo(Registers).@"struct".field_names) |name| {
            @field(result, name) = @field(traced, name);
        }
        return result;
    }
};

pub fn instructionPointer(registers: *const Registers) u64 {
    return registers.rip;
}

pub fn stackPointer(registers: *const Registers) u64 {
    return registers.rsp;
}

/// PROCESSOR_ARCHITECTURE_AMD64.
pub const minidump_architecture = 9;

/// `MDRawContextAMD64`.
pub const Context = extern struct {
    home: [6]u64 = @splat(0),
    /// CONTEXT_AMD64 with control, integer and, where it is known, floating-point state.
    context_flags: u32,
    mxcsr: u32 = 0,
    segments: [6]u16 = @splat(0),
    eflags: u32,
    debug: [6]u64 = @splat(0),
    // zig fmt: off
    rax: u64, rcx: u64, rdx: u64, rbx: u64, rsp: u64, rbp: u64, rsi: u64, rdi: u64,
    r8: u64, r9: u64, r10: u64, r11: u64, r12: u64, r13: u64, r14: u64, r15: u64, rip: u64,
    // zig fmt: on
    legacy: [512]u8 = @splat(0),
    vectors: [26 * 16]u8 = @splat(0),
    vector_control: u64 = 0,
    debug_control: [5]u64 = @splat(0),

    comptime {
        assert(@sizeOf(Context) == 1232);
        assert(@offsetOf(Context, "context_flags") == 48);
        assert(@offsetOf(Context, "eflags") == 68);
        assert(@offsetOf(Context, "rax") == 120);
        assert(@offsetOf(Context, "legacy") == 256);
    }
};

/// `legacy` is the FXSAVE area, empty when it is not known.
pub fn context(registers: *const Registers, legacy: []const u8) Context {
    const integer_and_control = 0x0010_0003;
    const floating_point = 0x0010_0008;
    var result: Context = .{
        .context_flags = integer_and_control,
        .eflags = @truncate(registers.eflags),
        .rax = registers.rax,
        .rcx = registers.rcx,
        .rdx = registers.rdx,
        .rbx = registers.rbx,
        .rsp = registers.rsp,
        .rbp = registers.rbp,
        .rsi = registers.rsi,
        .rdi = registers.rdi,
        .r8 = registers.r8,
        .r9 = registers.r9,
        .r10 = registers.r10,
        .r11 = registers.r11,
        .r12 = registers.r12,
        .r13 = registers.r13,
        .r14 = registers.r14,
        .r15 = registers.r15,
        .rip = registers.rip,
    };
    const kernel_words_at = 464; // The rest of the area is the kernel's.
    if (legacy.len >= 512) {
        result.context_flags |= floating_point;
        result.mxcsr = std.mem.readInt(u32, legacy[24..28], .little);
        @memcpy(result.legacy[0..kernel_words_at], legacy[0..kernel_words_at]);
    }
    return result;
}

/// Registers as a program sees them in text, in the order that people know.
pub const shown = [_][]const u8{
    "rip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi",    "rdi", "r8",
    "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "eflags",
};

/// Whether the processor takes `address` at all: its upper bits are equal.
pub fn isCanonical(address: u64) bool {
    const high = address >> 47;
    return high == 0 or high == 0x1ffff;
}
