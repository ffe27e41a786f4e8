//! What an exception of arm64 was about to do with memory, by the kernel's record of the syndrome
//! (Linux arch/arm64/include/asm/esr.h) or by the instruction.

const std = @import("std");
const abi = @import("../abi.zig");

// Exception classes of ESR_EL1, and bits of its syndrome.
const class_instruction_abort = 0x20;
const class_instruction_abort_same = 0x21;
const class_pc_alignment = 0x22;
const class_data_abort = 0x24;
const class_data_abort_same = 0x25;
const syndrome_write: u64 = 1 << 6;
const syndrome_cache_maintenance: u64 = 1 << 8;

/// What the syndrome says.
pub fn ofSyndrome(esr: u64) abi.Access {
    return switch (@as(u6, @truncate(esr >> 26))) {
        class_instruction_abort, class_instruction_abort_same, class_pc_alignment => .execute,
        // Cache maintenance by address reads, whatever its bit says.
        class_data_abort, class_data_abort_same => if (esr & syndrome_write != 0 and
            esr & syndrome_cache_maintenance == 0) .write else .read,
        else => .unknown,
    };
}

/// What a load or store does with memory (Arm ARM, C4.1: "Loads and Stores"). Atomic operations
/// read first, and fault as reads where that fails: where memory is not `readable`.
pub fn ofInstruction(word: u32, readable: bool) abi.Access {
    if (word >> 25 & 0b0101 != 0b0100) return .unknown;
    const load_bit = word >> 22 & 1 != 0;
    const vector = word >> 26 & 1 != 0;
    return switch (word >> 27 & 0b111) {
        // Exclusives, ordered ones, and structures of vectors.
        0b001 => if (isCompareAndSwap(word))
            if (readable) .write else .read
        else if (load_bit) .read else .write,
        // By pc: loads and prefetches only.
        0b011 => .read,
        // Pairs.
        0b101 => if (load_bit) .read else .write,
        0b111 => registerAccess(word, vector, readable),
        else => .unknown,
    };
}

/// CAS and CASP, in the space of the exclusives.
fn isCompareAndSwap(word: u32) bool {
    if (word >> 24 & 0b111111 != 0b001000 or word >> 21 & 1 == 0) return false;
    const pair = word >> 23 & 1 == 0;
    return !pair or word >> 31 == 0;
}

/// Single registers: bits 23 and 22 say what happens, and atomics share their space.
fn registerAccess(word: u32, vector: bool, readable: bool) abi.Access {
    const scaled = word >> 24 & 1 != 0;
    const atomic = !scaled and !vector and word >> 21 & 1 != 0 and word >> 10 & 0b11 == 0b00;
    if (atomic) return if (readable) .write else .read;
    const operation = word >> 22 & 0b11;
    if (vector) return if (operation & 1 != 0) .read else .write;
    return if (operation == 0b00) .write else .read;
}

test "ofInstruction tells loads from stores" {
    const table = [_]struct { u32, abi.Access }{
        .{ 0xf9400000, .read }, // ldr x0, [x0]
        .{ 0xf9000001, .write }, // str x1, [x0]
        .{ 0x39400000, .read }, // ldrb w0, [x0]
        .{ 0x39800000, .read }, // ldrsb x0, [x0]
        .{ 0xb8404401, .read }, // ldr w1, [x0], #4
        .{ 0xb8004401, .write }, // str w1, [x0], #4
        .{ 0xa9400400, .read }, // ldp x0, x1, [x0]
        .{ 0xa9000402, .write }, // stp x2, x1, [x0]
        .{ 0x3dc00000, .read }, // ldr q0, [x0]
        .{ 0x3d800000, .write }, // str q0, [x0]
        .{ 0xfd400000, .read }, // ldr d0, [x0]
        .{ 0xfd000000, .write }, // str d0, [x0]
        .{ 0xad400400, .read }, // ldp q0, q1, [x0]
        .{ 0xad000400, .write }, // stp q0, q1, [x0]
        .{ 0xc85f7c01, .read }, // ldxr x1, [x0]
        .{ 0xc8027c01, .write }, // stxr w2, x1, [x0]
        .{ 0xf8210002, .read }, // ldadd x1, x2, [x0]
        .{ 0xf8616800, .read }, // ldr x0, [x0, x1]
        .{ 0xf8216802, .write }, // str x2, [x0, x1]
        .{ 0x4c407000, .read }, // ld1 {v0.16b}, [x0]
        .{ 0x4c007000, .write }, // st1 {v0.16b}, [x0]
        .{ 0x58000000, .read }, // ldr x0, .
        .{ 0xd65f03c0, .unknown }, // ret
        .{ 0x8b010000, .unknown }, // add x0, x0, x1
    };
    for (table) |row| try std.testing.expectEqual(row[1], ofInstruction(row[0], false));
    const changing = [_]u32{
        0xf8210002, // ldadd x1, x2, [x0]
        0x88a17c02, // cas w1, w2, [x0]
        0xc8e1fc02, // casal x1, x2, [x0]
        0x08207c02, // casp w0, w1, w2, w3, [x0]
    };
    for (changing) |word| {
        try std.testing.expectEqual(.write, ofInstruction(word, true));
        try std.testing.expectEqual(.read, ofInstruction(word, false));
    }
    try std.testing.expectEqual(.write, ofInstruction(0xc8220400, true)); // stxp
    try std.testing.expectEqual(.read, ofInstruction(0xc85f7c01, true)); // ldxr
    try std.testing.expectEqual(.write, ofSyndrome(0x9200_0046));
    try std.testing.expectEqual(.read, ofSyndrome(0x9200_0006));
    try std.testing.expectEqual(.execute, ofSyndrome(0x8200_0006));
    try std.testing.expectEqual(.unknown, ofSyndrome(0x0200_0000));
}
