//! Signal frame of Linux on arm64: the registers that a handler may read and patch.
//!
//! The kernel writes this struct and reads it back when the handler returns, so a store here is a
//! store to the interrupted thread. Behind the registers lie records, each with a magic number and
//! its length: vectors, the cause of the exception, and what newer processors have.
//!
//! Layouts: Linux arch/arm64/include/uapi/asm/sigcontext.h (`struct sigcontext`, `_aarch64_ctx`,
//! `fpsimd_context`, `esr_context`, `extra_context`), arch/arm64/include/uapi/asm/ucontext.h,
//! arch/arm64/kernel/signal.c (`struct rt_sigframe`), arch/arm64/include/asm/esr.h.

const std = @import("std");
const abi = @import("../abi.zig");
const memory_access = @import("aarch64_access.zig");
const assert = std.debug.assert;

pub const Registers = extern struct {
    // zig fmt: off
    x0: u64, x1: u64, x2: u64, x3: u64, x4: u64, x5: u64, x6: u64, x7: u64,
    x8: u64, x9: u64, x10: u64, x11: u64, x12: u64, x13: u64, x14: u64, x15: u64,
    x16: u64, x17: u64, x18: u64, x19: u64, x20: u64, x21: u64, x22: u64, x23: u64,
    x24: u64, x25: u64, x26: u64, x27: u64, x28: u64, x29: u64, x30: u64,
    sp: u64, pc: u64, pstate: u64,
    // zig fmt: on
};

/// How the portable register names map to machine names, for the generator.
pub const portable = .{
    .{ "instructionPointer", "pc" },
    .{ "stackPointer", "sp" },
    .{ "framePointer", "x29" },
    .{ "flags", "pstate" },
};
pub const registers_offset = @offsetOf(Frame, "registers");

/// The kernel's `struct ucontext` without the records behind the registers.
pub const context_size = 464;

/// The instruction that enters the kernel.
pub const system_call = [_]u8{ 0x01, 0x00, 0x00, 0xd4 };

pub const register_count = @sizeOf(Registers) / 8;
/// FPCR as a program starts with it.
pub const default_control: u32 = 0;
/// Nothing below the stack pointer belongs to the interrupted function.
pub const red_zone = 0;

/// Whether a thread can ask for a trap after its next instruction: only a tracer can.
pub const can_single_step = false;

/// Whether a breakpoint leaves the instruction pointer behind its instruction.
pub const breakpoints_pass = false;

/// Whether the kernel says which address was misaligned.
pub const alignment_faults_have_address = true;

/// DWARF's numbers (DWARF for the Arm 64-bit Architecture, 4.1): x0 to x30, sp, and one more for
/// the instruction pointer. x30 is the column of the return address.
pub const dwarf = struct {
    pub const register_count = 33;
    pub const frame_pointer = 29;
    pub const stack_pointer = 31;
    pub const instruction_pointer = 32;
    pub const return_column = 30;
};

// PSTATE as SPSR_EL1 has it.
const pstate_branch_type: u64 = 0b11 << 10;
const pstate_single_step: u64 = 1 << 21;

const Record = extern struct { magic: u32, size: u32 };
const magic_fpsimd: u32 = 0x4650_8001;
const magic_esr: u32 = 0x4553_5201;
const magic_extra: u32 = 0x4558_5401;
const magic_sve: u32 = 0x5356_4501;
const magic_za: u32 = 0x5441_3501;
const magic_zt: u32 = 0x5a54_4e01;
/// Rights of permission overlays, and where the guarded control stack is: the thread's, not the
/// call's.
const magic_poe: u32 = 0x504f_4530;
const magic_gcs: u32 = 0x4743_5300;

/// Bytes of the record of the vectors that every CPU has.
pub const vectors_size = @sizeOf(Vectors);

const Vectors = extern struct {
    head: Record,
    fpsr: u32,
    fpcr: u32,
    registers: [64]u64,

    comptime {
        assert(@offsetOf(Vectors, "registers") == 16);
        assert(@sizeOf(Vectors) == 528);
    }
};

/// Long vectors, with `vector_length` bytes each behind it; none where they are not in use.
const Scalable = extern struct {
    head: Record,
    vector_length: u16,
    flags: u16,
    _reserved: [2]u16,

    comptime {
        assert(@sizeOf(Scalable) == 16);
    }
};

/// Where the records are that did not fit: right behind the 4 KiB.
const Extra = extern struct { head: Record, address: u64, size: u32, _reserved: [3]u32 };

/// Extended state with `gap` bytes of zeroes left out between its parts. `cut` says that there is
/// more of it elsewhere.
pub const ExtendedState = struct {
    head: []const u8,
    gap: u32 = 0,
    tail: []const u8 = &.{},
    cut: bool = false,
};

/// What of the extended state a thread continues with that is not as it was.
pub const Control = struct {
    /// FPCR.
    float: u32,
    /// Not used: the record of the rights is kept.
    key_rights: u32,
};

/// Protection keys of x86-64 have no part of the frame here: those of arm64 have a record.
pub fn noteProtectionKeys(_: u32) void {}
pub fn hasKeyRights() bool {
    return false;
}

pub const Frame = extern struct {
    flags: u64,
    link: u64,
    stack_base: u64,
    stack_flags: u64,
    stack_length: u64,
    signal_mask: u64,
    _unused: [128]u8,
    fault_address: u64,
    registers: Registers,
    /// The records begin at a multiple of 16.
    _padding: u64,

    comptime {
        assert(@offsetOf(Frame, "signal_mask") == 40);
        assert(@offsetOf(Frame, "fault_address") == 176);
        assert(@offsetOf(Frame, "registers") == 184);
        assert(@offsetOf(Registers, "sp") == 248);
        assert(@sizeOf(Frame) == context_size);
    }

    /// `context` is the third argument of an SA_SIGINFO handler.
    pub fn from(context: *anyopaque) *Frame {
        return @ptrCast(@alignCast(context));
    }

    pub fn instructionPointer(frame: *const Frame) u64 {
        return frame.registers.pc;
    }

    pub fn stackPointer(frame: *const Frame) u64 {
        return frame.registers.sp;
    }

    pub fn framePointer(frame: *const Frame) u64 {
        return frame.registers.x29;
    }

    /// What the CPU said about the access. Where the kernel passes that on, it is in the record of
    /// the syndrome; emulators of user mode leave it out, and there the instruction tells. `load`
    /// reads a word that may not be there.
    pub fn access(frame: *const Frame, load: *const fn (u64) ?u64) abi.Access {
        if (frame.find(magic_esr)) |record| {
            const esr: *align(8) const u64 = @ptrCast(@alignCast(record + @sizeOf(Record)));
            return memory_access.ofSyndrome(esr.*);
        }
        const pc = frame.registers.pc;
        if (pc == frame.fault_address) return .execute;
        // Loads are of eight bytes, and instructions lie at any multiple of four.
        const word = load(pc & ~@as(u64, 7)) orelse return .unknown;
        const readable = load(frame.fault_address & ~@as(u64, 7)) != null;
        return memory_access.ofInstruction(@truncate(word >> @intCast(8 * (pc & 4))), readable);
    }

    /// Whether the interrupted thread may just have left a system call that answered 0.
    pub fn systemCallSucceeded(frame: *const Frame) bool {
        return frame.registers.x0 == 0;
    }

    /// Whether a handler that found `stack_pointer` at its entry was called by the kernel, which
    /// enters with it at the frame (`struct rt_sigframe`: info, uc).
    pub fn enteredByKernel(frame: *const Frame, stack_pointer: u64) bool {
        return stack_pointer + abi.siginfo_size == @intFromPtr(frame);
    }

    /// A sum over the general registers, to tell "nothing changed" from progress.
    pub fn digest(frame: *const Frame) u64 {
        const words: *const [@sizeOf(Registers) / 8]u64 = @ptrCast(&frame.registers);
        var sum: u64 = 0;
        for (words) |word| sum = std.math.rotl(u64, sum, 7) ^ word;
        return sum;
    }

    /// Resume at `target` on `stack` with `scratch` in the register that the landing pad expects,
    /// with `control`, and without the state of vectors beyond the 128 bits that every CPU has.
    pub fn resumeAt(frame: *Frame, target: u64, stack: u64, scratch: u64, control: Control) void {
        assert(stack & 15 == 0);
        frame.redirect(target);
        frame.registers.sp = stack;
        frame.registers.x19 = scratch;
        frame.registers.pstate &= ~pstate_single_step;
        frame.resetExtendedState(control.float);
    }

    /// Resume at `target`, everything else as it was. A branch to where the exception happened is
    /// over: its type would be checked against the instruction at `target`.
    pub fn redirect(frame: *Frame, target: u64) void {
        assert(target != 0);
        frame.registers.pc = target;
        frame.registers.pstate &= ~pstate_branch_type;
    }

    /// The records lie behind the registers, in 4 KiB of the kernel's frame.
    fn records(frame: *const Frame) [*]align(8) u8 {
        const start: [*]const u8 = @ptrCast(frame);
        return @alignCast(@constCast(start + context_size));
    }
    const records_max = 4096;

    /// The record at `at`; null at the end.
    fn recordAt(frame: *const Frame, at: usize) ?*align(8) Record {
        if (at > records_max - @sizeOf(Record)) return null;
        const record: *align(8) Record = @ptrCast(@alignCast(frame.records() + at));
        if (record.magic == 0 or record.size < @sizeOf(Record)) return null;
        if (record.size % 16 != 0 or record.size > records_max - at) return null;
        return record;
    }

    fn find(frame: *const Frame, magic: u32) ?[*]align(8) u8 {
        var at: usize = 0;
        while (frame.recordAt(at)) |record| : (at += record.size) {
            if (record.magic == magic) return @ptrCast(record);
        }
        return null;
    }

    /// Leaves the records out that describe what the call did with vectors longer than 128 bits,
    /// in streaming mode, or with matrices: without them the kernel resumes with none of it.
    fn resetExtendedState(frame: *Frame, fpcr: u32) void {
        var at: usize = 0;
        var kept: usize = 0;
        while (frame.recordAt(at)) |record| {
            const size = record.size;
            const keep = switch (record.magic) {
                magic_fpsimd, magic_poe, magic_gcs => true,
                else => false,
            };
            if (record.magic == magic_fpsimd and size >= @sizeOf(Vectors)) {
                const vectors: *align(8) Vectors = @ptrCast(@alignCast(record));
                vectors.fpcr = fpcr;
            }
            if (keep) {
                const bytes = frame.records();
                std.mem.copyForwards(u8, bytes[kept..][0..size], bytes[at..][0..size]);
                kept += size;
            }
            at += size;
        }
        if (kept == at or kept > records_max - @sizeOf(Record)) return;
        const end: *align(8) Record = @ptrCast(@alignCast(frame.records() + kept));
        end.* = .{ .magic = 0, .size = 0 };
    }

    /// Continues behind an instruction of `length` bytes.
    pub fn skip(frame: *Frame, length: u64) void {
        frame.registers.pc +%= length;
        frame.registers.pstate &= ~pstate_branch_type;
    }

    /// Sets the registers whose bits are set in `mask`, by their order in `Registers`.
    pub fn setRegisters(frame: *Frame, mask: u64, values: []const u64) void {
        const words: *[register_count]u64 = @ptrCast(&frame.registers);
        for (words, values[0..register_count], 0..) |*word, value, index| {
            if (mask >> @intCast(index) & 1 != 0) word.* = value;
        }
        // A branch to where the exception happened is over, wherever the thread goes on.
        frame.registers.pstate &= ~pstate_branch_type;
    }

    pub fn singleStep(_: *const Frame) bool {
        return false;
    }

    pub fn setSingleStep(_: *Frame, _: bool) void {}

    /// Bytes of all records, with those that did not fit behind the registers.
    pub fn extendedSize(frame: *const Frame) usize {
        const extra = frame.extraRecords() orelse return frame.standardState().len;
        return records_max + extra.size;
    }

    /// Copies the frame with all its records, which follow it, so that rt_sigreturn takes the copy.
    /// There must be room for them behind `to`.
    pub fn copyTo(frame: *const Frame, to: *Frame, _: [*]align(64) u8) void {
        to.* = frame.*;
        const length = frame.extendedSize();
        @memcpy(to.records()[0..length], frame.records()[0..length]);
        if (to.extraRecords()) |extra| extra.address = @intFromPtr(to.records()) + records_max;
    }

    fn extraRecords(frame: *const Frame) ?*align(8) Extra {
        return @ptrCast(frame.find(magic_extra) orelse return null);
    }

    /// The record of the vectors that every CPU has, `struct fpsimd_context`.
    pub fn legacyState(frame: *const Frame) []const u8 {
        const record = frame.find(magic_fpsimd) orelse return &.{};
        return record[0..@sizeOf(Vectors)];
    }

    /// All records with the one that ends them.
    pub fn standardState(frame: *const Frame) []const u8 {
        return frame.extendedState().head;
    }

    /// False when `bytes` is no such record.
    pub fn writeLegacyState(frame: *Frame, bytes: []const u8) bool {
        const record = frame.find(magic_fpsimd) orelse return false;
        const written = writeRecord(record[0..@sizeOf(Vectors)], bytes, @sizeOf(Record));
        if (written) frame.spreadVectors();
        return written;
    }

    /// Puts the vectors that every CPU has into the longer ones. The kernel takes the first 128
    /// bits from the record of the former in any case, emulators of user mode do not.
    fn spreadVectors(frame: *Frame) void {
        const short: *align(8) const Vectors = @ptrCast(frame.find(magic_fpsimd) orelse return);
        const long: *align(8) const Scalable = @ptrCast(frame.find(magic_sve) orelse return);
        const length: usize = long.vector_length;
        const count = short.registers.len / 2;
        if (length < 16 or long.head.size < @sizeOf(Scalable) + count * length) return;
        const words = std.mem.asBytes(&short.registers);
        const to = frame.find(magic_sve).? + @sizeOf(Scalable);
        for (0..count) |index| @memcpy(to[index * length ..][0..16], words[index * 16 ..][0..16]);
    }

    /// False when the records have not the same lengths as they have. Only vectors are taken.
    pub fn writeStandardState(frame: *Frame, bytes: []const u8) bool {
        if (bytes.len != frame.standardState().len) return false;
        for ([_]bool{ false, true }) |write| {
            var at: usize = 0;
            while (frame.recordAt(at)) |record| : (at += record.size) {
                const own: [*]u8 = @ptrCast(record);
                // Behind the head of these come lengths, which must stay.
                const fixed: usize = switch (record.magic) {
                    magic_fpsimd => @sizeOf(Record),
                    magic_sve, magic_za, magic_zt => 2 * @sizeOf(Record),
                    else => continue,
                };
                const wanted = bytes[at..][0..record.size];
                if (!std.mem.eql(u8, own[0..fixed], wanted[0..fixed])) return false;
                if (write) _ = writeRecord(own[0..record.size], wanted, fixed);
            }
        }
        frame.spreadVectors();
        return true;
    }

    fn writeRecord(own: []u8, wanted: []const u8, fixed: usize) bool {
        if (wanted.len != own.len) return false;
        if (!std.mem.eql(u8, own[0..fixed], wanted[0..fixed])) return false;
        @memcpy(own[fixed..], wanted[fixed..]);
        return true;
    }

    /// All records with the one that ends them.
    pub fn extendedState(frame: *const Frame) ExtendedState {
        var at: usize = 0;
        var cut = false;
        while (frame.recordAt(at)) |record| : (at += record.size) {
            cut = cut or record.magic == magic_extra;
        }
        const length = @min(at + 2 * @sizeOf(Record), records_max);
        return .{ .head = frame.records()[0..length], .cut = cut };
    }

    /// The registers by DWARF's numbers.
    pub fn dwarfRegisters(frame: *const Frame) [dwarf.register_count]u64 {
        const words: *const [@sizeOf(Registers) / 8]u64 = @ptrCast(&frame.registers);
        return words[0..dwarf.register_count].*;
    }
};

/// The address of code that a word of the stack means: return addresses may be signed, in bits that
/// no address of a process has.
pub inline fn codeAddress(word: u64) u64 {
    return word & 0x0000_ffff_ffff_ffff;
}

/// How many bytes before a return address `endsInCall` looks at.
pub const call_length_max = 4;

/// Whether bytes can end in a call: `bl`, or `blr` and its signed forms.
pub fn endsInCall(before: *const [call_length_max]u8) bool {
    const word = std.mem.readInt(u32, before, .little);
    if (word & 0xfc00_0000 == 0x9400_0000) return true;
    if (word & 0xffff_fc1f == 0xd63f_0000) return true;
    return word & 0xfeff_f800 == 0xd63f_0800;
}

test "endsInCall knows bl and blr" {
    try std.testing.expect(endsInCall(&.{ 0x00, 0x00, 0x00, 0x94 }));
    try std.testing.expect(endsInCall(&.{ 0x00, 0x00, 0x3f, 0xd6 }));
    try std.testing.expect(endsInCall(&.{ 0x11, 0x09, 0x3f, 0xd7 })); // blraa x8, x17
    try std.testing.expect(!endsInCall(&.{ 0xc0, 0x03, 0x5f, 0xd6 }));
    try std.testing.expect(!endsInCall(&.{ 0x00, 0x00, 0x1f, 0xd6 }));
}

test {
    _ = memory_access;
}
