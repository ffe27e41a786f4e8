//! Signal frame of Linux on x86-64: the registers that a handler may read and patch.
//!
//! The kernel writes this struct and reads it back when the handler returns, so a store here is a
//! store to the interrupted thread. Extended state (SSE, AVX ...) lies behind the pointer
//! `fpstate`.
//!
//! Layouts: Linux arch/x86/include/uapi/asm/sigcontext.h (`struct sigcontext_64`, `_fpx_sw_bytes`,
//! `_header`), include/uapi/asm-generic/ucontext.h (`struct ucontext`), arch/x86/include/asm/
//! trap_pf.h (error code bits) and trapnr.h.

const std = @import("std");
const abi = @import("../abi.zig");
const assert = std.debug.assert;

pub const Registers = extern struct {
    // zig fmt: off
    r8: u64, r9: u64, r10: u64, r11: u64, r12: u64, r13: u64, r14: u64, r15: u64,
    rdi: u64, rsi: u64, rbp: u64, rbx: u64, rdx: u64, rax: u64, rcx: u64,
    rsp: u64, rip: u64, eflags: u64,
    // zig fmt: on
};

/// How the portable register names map to machine names, for the generator.
pub const portable = .{
    .{ "instructionPointer", "rip" },
    .{ "stackPointer", "rsp" },
    .{ "framePointer", "rbp" },
    .{ "flags", "eflags" },
};
pub const registers_offset = @offsetOf(Frame, "registers");
pub const register_count = @sizeOf(Registers) / 8;
/// MXCSR as a program starts with it.
pub const default_control: u32 = 0x1f80;
/// What lies below the stack pointer and still belongs to the interrupted function.
pub const red_zone = 128;

/// The kernel's `struct ucontext`, without the extended state that it points to.
pub const context_size = 304;

/// Whether a thread can ask for a trap after its next instruction.
pub const can_single_step = true;

/// Whether a breakpoint leaves the instruction pointer behind its instruction.
pub const breakpoints_pass = true;

/// Whether the kernel says which address was misaligned.
pub const alignment_faults_have_address = false;

/// DWARF's numbers (System V ABI for x86-64, figure 3.36): rax, rdx, rcx, rbx, rsi, rdi, rbp, rsp,
/// r8 to r15, and the return address.
pub const dwarf = struct {
    pub const register_count = 17;
    pub const frame_pointer = 6;
    pub const stack_pointer = 7;
    pub const instruction_pointer = 16;
    pub const return_column = 16;
};

/// The instruction that enters the kernel.
pub const system_call = [_]u8{ 0x0f, 0x05 };

const trap_page_fault = 14;

const page_fault_write: u64 = 1 << 1;
const page_fault_instruction: u64 = 1 << 4;

const flag_trap: u64 = 1 << 8;
const flag_direction: u64 = 1 << 10;
const flag_alignment_check: u64 = 1 << 18;

const uc_fp_xstate: u64 = 1;
const fp_xstate_magic1: u32 = 0x46505853;
const fxsave_size = 512;
/// `_fpx_sw_bytes` begins here: what the kernel keeps in the unused part of the FXSAVE area.
const software_bytes = 464;
const xsave_header_size = 64;
/// AVX's upper halves follow the header in the standard form.
const avx_end = fxsave_size + xsave_header_size + 256;
/// Bits of XSTATE_BV (Intel SDM volume 1, 13.1).
const xstate_legacy: u64 = 0b011;
const xstate_avx: u64 = 0b111;
const xstate_pkru: u64 = 1 << 9;
const pkru_length = 8;

/// Where PKRU lies in the standard form; 0 without protection keys. Written once, at attach.
var pkru_offset: u32 = 0;

pub fn noteProtectionKeys(offset: u32) void {
    pkru_offset = offset;
}

/// Whether a recovery has to put the rights of protection keys back.
pub fn hasKeyRights() bool {
    return pkru_offset != 0;
}

/// Extended state with `gap` bytes of zeroes left out between its parts. `cut` says that there is
/// more of it elsewhere.
pub const ExtendedState = struct {
    head: []const u8,
    gap: u32 = 0,
    tail: []const u8 = &.{},
    cut: bool = false,
};

/// What of the extended state a thread continues with that is not initial.
pub const Control = struct {
    /// MXCSR.
    float: u32,
    key_rights: u32,
};

pub const Frame = extern struct {
    flags: u64,
    link: u64,
    stack_base: u64,
    stack_flags: u64,
    stack_length: u64,
    registers: Registers,
    segments: u64,
    error_code: u64,
    trap_number: u64,
    old_mask: u64,
    cr2: u64,
    fpstate: ?[*]align(16) u8,
    _reserved: [8]u64,
    signal_mask: u64,

    comptime {
        assert(@offsetOf(Frame, "registers") == 40);
        assert(@offsetOf(Registers, "rip") == 128);
        assert(@offsetOf(Frame, "error_code") == 40 + 152);
        assert(@offsetOf(Frame, "cr2") == 40 + 176);
        assert(@offsetOf(Frame, "fpstate") == 40 + 184);
        assert(@offsetOf(Frame, "signal_mask") == 296);
        assert(@sizeOf(Frame) == context_size);
    }

    /// `context` is the third argument of an SA_SIGINFO handler.
    pub fn from(context: *anyopaque) *Frame {
        return @ptrCast(@alignCast(context));
    }

    pub fn instructionPointer(frame: *const Frame) u64 {
        return frame.registers.rip;
    }

    pub fn stackPointer(frame: *const Frame) u64 {
        return frame.registers.rsp;
    }

    pub fn framePointer(frame: *const Frame) u64 {
        return frame.registers.rbp;
    }

    /// What the CPU said about the access; only page faults carry it.
    pub fn access(frame: *const Frame, _: *const fn (u64) ?u64) abi.Access {
        if (frame.trap_number != trap_page_fault) return .unknown;
        if (frame.error_code & page_fault_instruction != 0) return .execute;
        return if (frame.error_code & page_fault_write != 0) .write else .read;
    }

    /// Whether the interrupted thread may just have left a system call that answered 0.
    pub fn systemCallSucceeded(frame: *const Frame) bool {
        return frame.registers.rax == 0;
    }

    /// Whether a handler that found `stack_pointer` at its entry was called by the kernel, which
    /// puts the return address right below the frame (`struct rt_sigframe`: pretcode, uc, info).
    pub fn enteredByKernel(frame: *const Frame, stack_pointer: u64) bool {
        return stack_pointer + 8 == @intFromPtr(frame);
    }

    /// A sum over the general registers, to tell "nothing changed" from progress.
    pub fn digest(frame: *const Frame) u64 {
        const words: *const [@sizeOf(Registers) / 8]u64 = @ptrCast(&frame.registers);
        var sum: u64 = 0;
        for (words) |word| sum = std.math.rotl(u64, sum, 7) ^ word;
        return sum;
    }

    /// Resume at `target` on `stack` with `scratch` in the register that the landing pad expects,
    /// and with `control` in front of initial vector state.
    pub fn resumeAt(frame: *Frame, target: u64, stack: u64, scratch: u64, control: Control) void {
        assert(target != 0);
        assert(stack & 15 == 0);
        frame.registers.rip = target;
        frame.registers.rsp = stack;
        frame.registers.rbx = scratch;
        // The interrupted code's direction, alignment-check and single-step flags would break the
        // caller, which relies on the ABI's flags.
        frame.registers.eflags &= ~(flag_trap | flag_direction | flag_alignment_check);
        frame.resetExtendedState(control);
    }

    /// Continues behind an instruction of `length` bytes.
    pub fn skip(frame: *Frame, length: u64) void {
        frame.registers.rip +%= length;
    }

    /// Sets the registers whose bits are set in `mask`, by their order in `Registers`.
    pub fn setRegisters(frame: *Frame, mask: u64, values: []const u64) void {
        const words: *[register_count]u64 = @ptrCast(&frame.registers);
        for (words, values[0..register_count], 0..) |*word, value, index| {
            if (mask >> @intCast(index) & 1 != 0) word.* = value;
        }
    }

    pub fn singleStep(frame: *const Frame) bool {
        return frame.registers.eflags & flag_trap != 0;
    }

    pub fn setSingleStep(frame: *Frame, on: bool) void {
        if (on) frame.registers.eflags |= flag_trap else frame.registers.eflags &= ~flag_trap;
    }

    /// Bytes of the extended state as the kernel left it, the mark at its end included.
    pub fn extendedSize(frame: *const Frame) usize {
        const state = frame.fpstate orelse return 0;
        if (!frame.hasExtendedState()) return fxsave_size;
        const size: *align(4) const u32 = @ptrCast(@alignCast(state + 468));
        return size.*;
    }

    /// Copies the frame, and its extended state to `state`, so that rt_sigreturn takes the copy.
    pub fn copyTo(frame: *const Frame, to: *Frame, state: [*]align(64) u8) void {
        to.* = frame.*;
        const original = frame.fpstate orelse return;
        const length = frame.extendedSize();
        @memcpy(state[0..length], original[0..length]);
        to.fpstate = state;
    }

    /// Resume at `target`, everything else as it was.
    pub fn redirect(frame: *Frame, target: u64) void {
        assert(target != 0);
        frame.registers.rip = target;
    }

    /// Makes the kernel load initial x87, SSE and AVX state, but for MXCSR: XRSTOR resets every
    /// component that XSTATE_BV does not name. The rights of protection keys are the thread's: what
    /// was interrupted may be a signal handler, which has others. Without XSAVE the x87 part itself
    /// says that it is empty.
    fn resetExtendedState(frame: *Frame, control: Control) void {
        const state = frame.fpstate orelse return;
        const legacy: *align(16) LegacyState = @ptrCast(state);
        legacy.mxcsr = control.float;
        if (frame.hasExtendedState()) {
            const header: *align(16) u64 = @ptrCast(state + fxsave_size);
            header.* = 0;
            if (pkru_offset != 0) {
                header.* = xstate_pkru;
                const keys: *align(4) u32 = @ptrCast(@alignCast(state + pkru_offset));
                keys.* = control.key_rights;
            }
        } else {
            legacy.control = 0x37f;
            legacy.status = 0;
            legacy.tags = 0;
        }
    }

    /// The head of FXSAVE's area (Intel SDM volume 1, 10.5.1).
    const LegacyState = extern struct {
        control: u16,
        status: u16,
        tags: u8,
        _reserved: u8,
        opcode: u16,
        instruction: u64,
        data: u64,
        mxcsr: u32,
        /// Bits of `mxcsr` that the processor has.
        mxcsr_mask: u32,

        comptime {
            assert(@offsetOf(LegacyState, "mxcsr") == 24);
        }
    };

    fn legacyHead(frame: *const Frame) ?*align(16) LegacyState {
        return @ptrCast(frame.fpstate orelse return null);
    }

    /// x87 and SSE state in the form of FXSAVE. Its last 48 bytes are the kernel's.
    pub fn legacyState(frame: *const Frame) []const u8 {
        return if (frame.fpstate) |state| state[0..fxsave_size] else &.{};
    }

    /// All extended state in the standard form of XSAVE.
    pub fn standardState(frame: *const Frame) []const u8 {
        const state = frame.fpstate orelse return &.{};
        if (!frame.hasExtendedState()) return state[0..fxsave_size];
        const total: *align(4) const u32 = @ptrCast(@alignCast(state + 480));
        return state[0..total.*];
    }

    /// False when the processor would refuse `bytes`.
    pub fn writeLegacyState(frame: *Frame, bytes: []const u8) bool {
        const state = frame.fpstate orelse return false;
        const head = frame.legacyHead().?;
        if (bytes.len != fxsave_size) return false;
        const wanted = std.mem.readInt(u32, bytes[24..28], .little);
        if (wanted & ~head.mxcsr_mask != 0) return false;
        const mask = head.mxcsr_mask;
        @memcpy(state[0..software_bytes], bytes[0..software_bytes]);
        head.mxcsr_mask = mask;
        if (!frame.hasExtendedState()) return true;
        const in_use: *align(16) u64 = @ptrCast(state + fxsave_size);
        in_use.* |= xstate_legacy;
        return true;
    }

    /// False when the processor would refuse `bytes`. The rights of protection keys stay.
    pub fn writeStandardState(frame: *Frame, bytes: []const u8) bool {
        const state = frame.fpstate orelse return false;
        if (bytes.len != frame.standardState().len) return false;
        if (bytes.len == fxsave_size) return frame.writeLegacyState(bytes);
        const features: *align(8) const u64 = @ptrCast(@alignCast(state + 472));
        const wanted = std.mem.readInt(u64, bytes[fxsave_size..][0..8], .little);
        // The compacted form and the reserved words of the header make XRSTOR fault.
        const rest = bytes[fxsave_size + 8 .. fxsave_size + xsave_header_size];
        if (wanted & ~features.* != 0 or !std.mem.allEqual(u8, rest, 0)) return false;
        if (!frame.writeLegacyState(bytes[0..fxsave_size])) return false;
        const in_use: *align(16) u64 = @ptrCast(state + fxsave_size);
        in_use.* = (wanted & ~xstate_pkru) | (in_use.* & xstate_pkru);
        const start = fxsave_size + xsave_header_size;
        const keys = if (pkru_offset < start) bytes.len else pkru_offset;
        @memcpy(state[start..keys], bytes[start..keys]);
        const behind = @min(keys + pkru_length, bytes.len);
        @memcpy(state[behind..bytes.len], bytes[behind..]);
        return true;
    }

    fn hasExtendedState(frame: *const Frame) bool {
        const state = frame.fpstate orelse return false;
        if (frame.flags & uc_fp_xstate == 0) return false;
        const magic: *align(16) const u32 = @ptrCast(state + 464);
        return magic.* == fp_xstate_magic1;
    }

    /// The extended state that is in use, in the standard form of XSAVE. Components that XSTATE_BV
    /// declares initial, which is zero for all of these, are left out behind the last one that is
    /// not, and between AVX and PKRU: PKRU is always in use, and lies behind AVX-512.
    pub fn extendedState(frame: *const Frame) ExtendedState {
        const state = frame.fpstate orelse return .{ .head = &.{} };
        if (!frame.hasExtendedState()) return .{ .head = state[0..fxsave_size] };
        const in_use: *align(16) const u64 = @ptrCast(state + fxsave_size);
        const total: *align(4) const u32 = @ptrCast(@alignCast(state + 480));
        const vectors = in_use.* & ~xstate_pkru;
        const length: usize = if (vectors & ~xstate_legacy == 0)
            fxsave_size + xsave_header_size
        else if (vectors & ~xstate_avx == 0)
            avx_end
        else
            return .{ .head = state[0..total.*] };
        if (vectors == in_use.*) return .{ .head = state[0..length] };
        if (pkru_offset < length or total.* -| pkru_length < pkru_offset) {
            return .{ .head = state[0..total.*] };
        }
        const tail = state[pkru_offset..][0..pkru_length];
        const gap = pkru_offset - @as(u32, @intCast(length));
        return .{ .head = state[0..length], .gap = gap, .tail = tail };
    }

    /// The registers by DWARF's numbers.
    pub fn dwarfRegisters(frame: *const Frame) [dwarf.register_count]u64 {
        const r = &frame.registers;
        return .{
            r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8,
            r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rip,
        };
    }
};

/// The address of code that a word of the stack means.
pub inline fn codeAddress(word: u64) u64 {
    return word;
}

/// How many bytes before a return address `endsInCall` looks at.
pub const call_length_max = 8;

/// Whether bytes can end in a call: e8 with 32 bits, or ff /2 with its addressing forms of 2 to 7
/// bytes.
pub fn endsInCall(before: *const [call_length_max]u8) bool {
    if (before[3] == 0xe8) return true;
    for (2..8) |length| {
        const at = 8 - length;
        if (before[at] == 0xff and before[at + 1] & 0x38 == 0x10) return true;
    }
    return false;
}
