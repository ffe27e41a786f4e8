//! One step of unwinding by call frame information that lies in memory. Everything is read through
//! loads that may fail, and bounds are checked: the tables may be damaged like anything else.
//!
//! Formats: DWARF 5 section 6.4, and the Linux Standard Base's .eh_frame and .eh_frame_hdr.

const std = @import("std");
const builtin = @import("builtin");
const trampoline = @import("../../trampoline.zig").machine;
const elf = @import("elf.zig");
const frame = @import("../../frame.zig").crash;
const dwarf = frame.dwarf;

pub const Registers = [dwarf.register_count]?u64;

pub const Rule = union(enum) { same, undefined, offset: i64, register: u64 };
pub const Row = struct {
    register: u64 = dwarf.stack_pointer,
    offset: i64 = 0,
    rules: [dwarf.register_count]Rule = @splat(.same),
};

const common_max = 512;
const entry_max = 4096;

/// Bytes that may end too early.
const Cursor = struct {
    bytes: []const u8,
    at: usize = 0,

    fn fixed(cursor: *Cursor, comptime Number: type) ?Number {
        const size = @sizeOf(Number);
        if (cursor.bytes.len - cursor.at < size) return null;
        defer cursor.at += size;
        return std.mem.readInt(Number, cursor.bytes[cursor.at..][0..size], .little);
    }
    fn skip(cursor: *Cursor, length: u64) ?void {
        if (length > cursor.bytes.len - cursor.at) return null;
        cursor.at += @intCast(length);
    }
    noinline fn unsigned(cursor: *Cursor) ?u64 {
        var value: u64 = 0;
        var shift: u32 = 0;
        while (true) : (shift +|= 7) {
            const byte = cursor.fixed(u8) orelse return null;
            if (shift < 64) value |= @as(u64, byte & 0x7f) << @intCast(shift);
            if (byte < 0x80) return value;
        }
    }
    fn signed(cursor: *Cursor) ?i64 {
        var value: u64 = 0;
        var shift: u32 = 0;
        while (true) {
            const byte = cursor.fixed(u8) orelse return null;
            if (shift < 64) value |= @as(u64, byte & 0x7f) << @intCast(shift);
            shift +|= 7;
            if (byte >= 0x80) continue;
            if (byte & 0x40 != 0 and shift < 64) {
                value |= @as(u64, std.math.maxInt(u64)) << @intCast(shift);
            }
            return @bitCast(value);
        }
    }
    fn rest(cursor: *const Cursor) []const u8 {
        return cursor.bytes[cursor.at..];
    }
};

/// DW_EH_PE_pcrel | DW_EH_PE_sdata4, and datarel for the table: what linkers write.
const pcrel_sdata4 = 0x1b;
const datarel_sdata4 = 0x3b;
const udata4 = 0x03;

fn relative(base: u64, offset: i32) u64 {
    return base +% @as(u64, @bitCast(@as(i64, offset)));
}

/// The rules that hold at `pc`; null when nothing describes it.
pub noinline fn rulesAt(image: *const elf.Image, pc: u64) ?Row {
    const header = image.frame_header;
    if (header == 0) return null;
    const head = elf.load([12]u8, header) orelse return null;
    if (head[0] != 1 or head[1] != pcrel_sdata4) return null;
    if (head[2] != udata4 or head[3] != datarel_sdata4) return null;
    const total = std.mem.readInt(u32, head[8..12], .little);
    if (total == 0) return null;
    var first: u64 = 0;
    var length: u64 = total;
    while (length > 1) {
        const half = length / 2;
        const pair = elf.load([2]i32, header + 12 + (first + half) * 8) orelse return null;
        if (relative(header, pair[0]) <= pc) {
            first += half;
            length -= half;
        } else length = half;
    }
    const pair = elf.load([2]i32, header + 12 + first * 8) orelse return null;
    return runEntry(relative(header, pair[1]), pc);
}

const Common = struct { code_factor: u64, data_factor: i64, instructions: []const u8 };

/// Copies a length-prefixed record without its length.
fn readRecord(address: u64, into: []u8) ?[]const u8 {
    const length = elf.load(u32, address) orelse return null;
    if (length == 0 or length > into.len) return null;
    const bytes = into[0..length];
    return if (trampoline.probeCopy(bytes, address + 4) == length) bytes else null;
}

fn runEntry(address: u64, pc: u64) ?Row {
    var buffer: [entry_max]u8 = undefined;
    var cursor: Cursor = .{ .bytes = readRecord(address, &buffer) orelse return null };
    const distance = cursor.fixed(u32) orelse return null;
    if (distance == 0) return null;
    var common_buffer: [common_max]u8 = undefined;
    const common = readCommon(address + 4 -% distance, &common_buffer) orelse return null;
    const start = relative(address + 8, cursor.fixed(i32) orelse return null);
    const covered = cursor.fixed(u32) orelse return null;
    if (pc < start or pc - start >= covered) return null;
    cursor.skip(cursor.unsigned() orelse return null) orelse return null;
    var machine: Machine = .{ .common = common, .target = pc, .location = start };
    machine.run(common.instructions) orelse return null;
    machine.initial = machine.row;
    machine.run(cursor.rest()) orelse return null;
    return machine.row;
}

fn readCommon(address: u64, buffer: *[common_max]u8) ?Common {
    var cursor: Cursor = .{ .bytes = readRecord(address, buffer) orelse return null };
    if ((cursor.fixed(u32) orelse return null) != 0) return null;
    const version = cursor.fixed(u8) orelse return null;
    if (version != 1 and version != 3) return null;
    const end = std.mem.indexOfScalar(u8, cursor.rest(), 0) orelse return null;
    const augmentation = cursor.rest()[0..end];
    // Without 'z' there is no length to skip by; 'S' is a signal's frame, known by its code.
    if (augmentation.len == 0 or augmentation[0] != 'z') return null;
    if (std.mem.indexOfScalar(u8, augmentation, 'S') != null) return null;
    cursor.at += end + 1;
    const code_factor = cursor.unsigned() orelse return null;
    const data_factor = cursor.signed() orelse return null;
    if ((cursor.unsigned() orelse return null) != dwarf.return_column) return null;
    const data_length = cursor.unsigned() orelse return null;
    var data: Cursor = .{ .bytes = cursor.rest() };
    cursor.skip(data_length) orelse return null;
    for (augmentation[1..]) |letter| switch (letter) {
        'R' => if ((data.fixed(u8) orelse return null) != pcrel_sdata4) return null,
        'L' => data.skip(1) orelse return null,
        'P' => {
            const width: u64 = switch ((data.fixed(u8) orelse return null) & 0x0f) {
                0x03, 0x0b => 4,
                0x00, 0x04, 0x0c => 8,
                else => return null,
            };
            data.skip(width) orelse return null;
        },
        'B', 'G' => {},
        else => return null,
    };
    return .{
        .code_factor = code_factor,
        .data_factor = data_factor,
        .instructions = cursor.rest(),
    };
}

const Machine = struct {
    common: Common,
    target: u64,
    location: u64,
    row: Row = .{},
    initial: Row = .{},
    saved: [8]Row = undefined,
    depth: usize = 0,

    /// Runs until the row of `target` stands; null on what is not known.
    noinline fn run(machine: *Machine, code: []const u8) ?void {
        var cursor: Cursor = .{ .bytes = code };
        while (cursor.at < code.len) {
            const opcode = cursor.fixed(u8) orelse return null;
            const operand: u64 = opcode & 0x3f;
            const done = switch (opcode >> 6) {
                1 => machine.advance(operand),
                2 => machine.set(operand, machine.scaled(&cursor)),
                3 => machine.restore(operand),
                else => machine.extended(opcode, &cursor),
            } orelse return null;
            if (done) return;
        }
    }

    fn extended(machine: *Machine, opcode: u8, cursor: *Cursor) ?bool {
        switch (opcode) {
            0x00 => {},
            0x02 => return machine.advance(cursor.fixed(u8) orelse return null),
            0x03 => return machine.advance(cursor.fixed(u16) orelse return null),
            0x04 => return machine.advance(cursor.fixed(u32) orelse return null),
            0x05 => {
                const register = cursor.unsigned() orelse return null;
                return machine.set(register, machine.scaled(cursor));
            },
            0x06 => return machine.restore(cursor.unsigned() orelse return null),
            0x07 => return machine.set(cursor.unsigned() orelse return null, .undefined),
            0x08 => return machine.set(cursor.unsigned() orelse return null, .same),
            0x09 => {
                const register = cursor.unsigned() orelse return null;
                return machine.set(register, .{ .register = cursor.unsigned() orelse return null });
            },
            0x0a, 0x0b => return machine.remember(opcode == 0x0a),
            0x0c => {
                machine.row.register = cursor.unsigned() orelse return null;
                machine.row.offset = number(cursor.unsigned()) orelse return null;
            },
            0x0d => machine.row.register = cursor.unsigned() orelse return null,
            0x0e => machine.row.offset = number(cursor.unsigned()) orelse return null,
            // DW_CFA_AARCH64_negate_ra_state: signed addresses are stripped in any case.
            0x2d => if (builtin.cpu.arch != .aarch64) return null,
            0x2e => _ = cursor.unsigned() orelse return null, // DW_CFA_GNU_args_size
            else => return null, // Expressions and the rest.
        }
        return false;
    }

    fn number(value: ?u64) ?i64 {
        return std.math.cast(i64, value orelse return null);
    }

    fn scaled(machine: *const Machine, cursor: *Cursor) ?Rule {
        const value = number(cursor.unsigned()) orelse return null;
        const offset = std.math.mul(i64, value, machine.common.data_factor) catch return null;
        return .{ .offset = offset };
    }

    fn advance(machine: *Machine, delta: u64) ?bool {
        const next = machine.location +% delta *% machine.common.code_factor;
        if (next > machine.target) return true;
        machine.location = next;
        return false;
    }

    fn set(machine: *Machine, register: u64, rule: ?Rule) ?bool {
        const known = rule orelse return null;
        // Vector registers and their kind are not followed.
        if (register < machine.row.rules.len) machine.row.rules[@intCast(register)] = known;
        return false;
    }

    fn restore(machine: *Machine, register: u64) ?bool {
        if (register >= machine.row.rules.len) return false;
        return machine.set(register, machine.initial.rules[@intCast(register)]);
    }

    fn remember(machine: *Machine, keep: bool) ?bool {
        if (keep) {
            if (machine.depth == machine.saved.len) return null;
            machine.saved[machine.depth] = machine.row;
            machine.depth += 1;
        } else {
            if (machine.depth == 0) return null;
            machine.depth -= 1;
            machine.row = machine.saved[machine.depth];
        }
        return false;
    }
};
