//! One step of unwinding by call frame information, over registers and stack bytes that were copied
//! when the exception happened: that part of the stack is in use again. It allocates nothing, takes
//! no lock and gives up on what compilers do not emit for ordinary functions.
//!
//! Formats: DWARF 5 section 6.4, and the Linux Standard Base's .eh_frame and .eh_frame_hdr.

const std = @import("std");
const builtin = @import("builtin");
const frame_machine = @import("../frame.zig").machine;
const host = @import("host.zig");

/// DWARF's numbers, and one for the instruction pointer where DWARF has none.
pub const registers_max = dwarf.register_count;
pub const stack_pointer = dwarf.stack_pointer;
pub const instruction_pointer = dwarf.instruction_pointer;
const dwarf = frame_machine.dwarf;
pub const Registers = [registers_max]?u64;

/// The stack as it was.
pub const Stack = struct {
    address: u64,
    bytes: []const u8,

    pub fn load(stack: *const Stack, address: u64) ?u64 {
        const offset = address -% stack.address;
        if (stack.bytes.len < 8 or offset > stack.bytes.len - 8) return null;
        return std.mem.readInt(u64, stack.bytes[offset..][0..8], .little);
    }
};

const Rule = union(enum) { same, undefined, offset: i64 };
const Row = struct {
    register: u64 = stack_pointer,
    offset: i64 = 0,
    rules: [registers_max]Rule = @splat(.same),
};

/// The caller's registers; null when the way is lost. `pc` is in the frame's function: the return
/// address less one for all frames but the innermost.
pub fn step(registers: *const Registers, pc: u64, stack: *const Stack) ?Registers {
    const found = findEntry(pc) orelse return null;
    var machine: Machine = .{ .entry = found, .target = pc };
    machine.run(found.initial) orelse return null;
    machine.initial = machine.row;
    machine.run(found.instructions) orelse return null;
    const row = machine.row;
    if (row.register >= registers_max) return null;
    const base = registers[@intCast(row.register)] orelse return null;
    const frame_address = base +% @as(u64, @bitCast(row.offset));
    var caller = registers.*;
    for (row.rules, &caller) |rule, *value| switch (rule) {
        .same => {},
        .undefined => value.* = null,
        .offset => |offset| value.* = stack.load(frame_address +% @as(u64, @bitCast(offset))),
    };
    caller[stack_pointer] = frame_address;
    const address = caller[dwarf.return_column];
    // A return address that is where it was is one on arm64, in x30, and elsewhere no caller.
    if (row.rules[dwarf.return_column] == .same) {
        if (dwarf.return_column == instruction_pointer) return null;
        if (address == registers[instruction_pointer]) return null;
    }
    caller[instruction_pointer] = if (address) |word| frame_machine.codeAddress(word) else null;
    return caller;
}

const Entry = struct {
    initial: []const u8,
    instructions: []const u8,
    code_factor: u64,
    data_factor: i64,
    start: u64,
};

/// Bytes of a loaded library, read in order.
const Cursor = struct {
    at: [*]const u8,

    fn fixed(cursor: *Cursor, comptime Number: type) Number {
        defer cursor.at += @sizeOf(Number);
        return std.mem.readInt(Number, cursor.at[0..@sizeOf(Number)], .little);
    }
    fn unsigned(cursor: *Cursor) u64 {
        var value: u64 = 0;
        var shift: u7 = 0;
        while (true) : (shift += 7) {
            const byte = cursor.fixed(u8);
            if (shift < 64) value |= @as(u64, byte & 0x7f) << @intCast(shift);
            if (byte < 0x80) return value;
        }
    }
    fn signed(cursor: *Cursor) i64 {
        var value: u64 = 0;
        var shift: u7 = 0;
        while (true) {
            const byte = cursor.fixed(u8);
            if (shift < 64) value |= @as(u64, byte & 0x7f) << @intCast(shift);
            shift +|= 7;
            if (byte >= 0x80) continue;
            if (byte & 0x40 != 0 and shift < 64) {
                value |= @as(u64, std.math.maxInt(u64)) << @intCast(shift);
            }
            return @bitCast(value);
        }
    }
};

/// DW_EH_PE_pcrel | DW_EH_PE_sdata4, and datarel for the table: what linkers write on x86-64.
const pcrel_sdata4 = 0x1b;
const datarel_sdata4 = 0x3b;
const udata4 = 0x03;

/// Finds a function's entry by the sorted table that linkers make.
fn findEntry(pc: u64) ?Entry {
    const header = host.frameHeader(pc) orelse return null;
    const bytes: [*]const u8 = @ptrFromInt(header);
    if (bytes[0] != 1 or bytes[1] != pcrel_sdata4) return null;
    if (bytes[2] != udata4 or bytes[3] != datarel_sdata4) return null;
    const total = std.mem.readInt(u32, bytes[8..12], .little);
    if (total == 0) return null;
    const table: [*]align(1) const [2]i32 = @ptrCast(bytes + 12);
    var first: usize = 0;
    var length: usize = total;
    while (length > 1) {
        const half = length / 2;
        if (relative(header, table[first + half][0]) <= pc) {
            first += half;
            length -= half;
        } else length = half;
    }
    return parseEntry(relative(header, table[first][1]), pc);
}

fn relative(base: u64, offset: i32) u64 {
    return base +% @as(u64, @bitCast(@as(i64, offset)));
}

fn parseEntry(address: u64, pc: u64) ?Entry {
    var cursor: Cursor = .{ .at = @ptrFromInt(address) };
    const length = cursor.fixed(u32);
    if (length == 0 or length == 0xffff_ffff) return null;
    const end = @intFromPtr(cursor.at) + length;
    const pointer_at = @intFromPtr(cursor.at);
    const common = pointer_at - cursor.fixed(u32);
    var entry = parseCommon(common) orelse return null;
    const start_at = @intFromPtr(cursor.at);
    entry.start = relative(start_at, cursor.fixed(i32));
    const covered = cursor.fixed(u32);
    if (pc < entry.start or pc - entry.start >= covered) return null;
    const skipped = cursor.unsigned();
    cursor.at += skipped;
    entry.instructions = cursor.at[0 .. end - @intFromPtr(cursor.at)];
    return entry;
}

fn parseCommon(address: u64) ?Entry {
    var cursor: Cursor = .{ .at = @ptrFromInt(address) };
    const length = cursor.fixed(u32);
    if (length == 0 or length == 0xffff_ffff) return null;
    const end = @intFromPtr(cursor.at) + length;
    if (cursor.fixed(u32) != 0) return null;
    const version = cursor.fixed(u8);
    if (version != 1 and version != 3) return null;
    const text: [*:0]const u8 = @ptrCast(cursor.at);
    const augmentation = std.mem.span(text);
    // Without 'z' there is no length to skip by; 'S' is a signal's frame, beyond which we stop.
    if (augmentation.len == 0 or augmentation[0] != 'z') return null;
    if (std.mem.indexOfScalar(u8, augmentation, 'S') != null) return null;
    cursor.at += augmentation.len + 1;
    const code_factor = cursor.unsigned();
    const data_factor = cursor.signed();
    if (cursor.unsigned() != dwarf.return_column) return null;
    const data_length = cursor.unsigned();
    const data_end = cursor.at + data_length;
    for (augmentation[1..]) |letter| switch (letter) {
        'R' => if (cursor.fixed(u8) != pcrel_sdata4) return null,
        'L' => _ = cursor.fixed(u8),
        // An encoding, and the personality routine's address in four bytes.
        'P' => {
            const width: usize = switch (cursor.fixed(u8) & 0x0f) {
                0x03, 0x0b => 4,
                0x00, 0x04, 0x0c => 8,
                else => return null,
            };
            cursor.at += width;
        },
        // Signed with another key, and with tags on the stack: nothing to do with registers.
        'B', 'G' => {},
        else => return null,
    };
    return .{
        .initial = data_end[0 .. end - @intFromPtr(data_end)],
        .instructions = &.{},
        .code_factor = code_factor,
        .data_factor = data_factor,
        .start = 0,
    };
}

const Machine = struct {
    entry: Entry,
    target: u64,
    location: u64 = 0,
    row: Row = .{},
    initial: Row = .{},
    saved: [8]Row = undefined,
    depth: usize = 0,

    /// Runs until the row of `target` stands; null on what is not known.
    fn run(machine: *Machine, code: []const u8) ?void {
        machine.location = machine.entry.start;
        var cursor: Cursor = .{ .at = code.ptr };
        const end = code.ptr + code.len;
        while (@intFromPtr(cursor.at) < @intFromPtr(end)) {
            const opcode = cursor.fixed(u8);
            const operand: u64 = opcode & 0x3f;
            const done = switch (opcode >> 6) {
                1 => machine.advance(operand),
                2 => machine.set(operand, .{
                    .offset = machine.scale(cursor.unsigned()) orelse return null,
                }),
                3 => machine.restore(operand),
                else => machine.extended(opcode, &cursor),
            } orelse return null;
            if (done) return;
        }
    }

    fn extended(machine: *Machine, opcode: u8, cursor: *Cursor) ?bool {
        switch (opcode) {
            0x00 => {},
            0x02 => return machine.advance(cursor.fixed(u8)),
            0x03 => return machine.advance(cursor.fixed(u16)),
            0x04 => return machine.advance(cursor.fixed(u32)),
            0x05 => {
                const register = cursor.unsigned();
                return machine.set(register, .{
                    .offset = machine.scale(cursor.unsigned()) orelse return null,
                });
            },
            0x06 => return machine.restore(cursor.unsigned()),
            0x07 => return machine.set(cursor.unsigned(), .undefined),
            0x08 => return machine.set(cursor.unsigned(), .same),
            0x0a => {
                if (machine.depth == machine.saved.len) return null;
                machine.saved[machine.depth] = machine.row;
                machine.depth += 1;
            },
            0x0b => {
                if (machine.depth == 0) return null;
                machine.depth -= 1;
                machine.row = machine.saved[machine.depth];
            },
            0x0c => {
                machine.row.register = cursor.unsigned();
                machine.row.offset = std.math.cast(i64, cursor.unsigned()) orelse return null;
            },
            0x0d => machine.row.register = cursor.unsigned(),
            0x0e => machine.row.offset = std.math.cast(i64, cursor.unsigned()) orelse return null,
            // DW_CFA_AARCH64_negate_ra_state: signed addresses are stripped in any case.
            0x2d => if (builtin.cpu.arch != .aarch64) return null,
            0x2e => _ = cursor.unsigned(), // DW_CFA_GNU_args_size
            else => return null, // Expressions and the rest.
        }
        return false;
    }

    fn scale(machine: *const Machine, offset: u64) ?i64 {
        const value = std.math.cast(i64, offset) orelse return null;
        return std.math.mul(i64, value, machine.entry.data_factor) catch null;
    }

    fn advance(machine: *Machine, delta: u64) ?bool {
        const next = machine.location +% delta *% machine.entry.code_factor;
        if (next > machine.target) return true;
        machine.location = next;
        return false;
    }

    fn set(machine: *Machine, register: u64, rule: Rule) ?bool {
        // Vector registers and their kind are not followed.
        if (register < registers_max) machine.row.rules[@intCast(register)] = rule;
        return false;
    }

    fn restore(machine: *Machine, register: u64) ?bool {
        if (register >= registers_max) return false;
        return machine.set(register, machine.initial.rules[@intCast(register)]);
    }
};
