//! Call frame information: from `.eh_frame_hdr` to the rules that lead from a frame to its caller.
//!
//! Formats: Linux Standard Base Core 5.0, chapter 10.6 (`.eh_frame`, `.eh_frame_hdr`); DWARF 5,
//! section 6.4.2 (instructions). Register numbers are those of the signal frame's architecture.

const std = @import("std");
const builtin = @import("builtin");
const elf = @import("elf.zig");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;

/// General registers in DWARF's order, then the instruction pointer.
pub const register_count = dwarf.register_count;
pub const frame_pointer = dwarf.frame_pointer;
pub const stack_pointer = dwarf.stack_pointer;
pub const instruction_pointer = dwarf.instruction_pointer;
/// Its rule says where the caller goes on.
pub const return_column = dwarf.return_column;
const dwarf = @import("../frame.zig").machine.dwarf;

pub const Rule = union(enum) {
    same,
    undefined,
    /// At the frame's canonical address plus this.
    offset: i64,
    value_offset: i64,
    register: u64,
    expression: []const u8,
    value_expression: []const u8,
};

pub const FrameAddress = union(enum) {
    none,
    register: struct { number: u64, offset: i64 },
    expression: []const u8,
};

pub const Row = struct {
    address: FrameAddress = .none,
    rules: [register_count]Rule = @splat(.same),
};

pub const Rules = struct {
    row: Row,
    /// The frame is one that a signal interrupted: its caller is no call.
    signal: bool,
    /// The register whose rule says where the caller goes on.
    return_column: u64,
};

const Common = struct {
    code_alignment: u64 = 1,
    data_alignment: i64 = 1,
    encoding: u8 = 0,
    signal: bool = false,
    augmented: bool = false,
    instructions: []const u8 = &.{},
    return_column: u64 = return_column,
};

/// Bytes and the address, in the file's own numbering, of the first.
const Table = struct { bytes: []const u8, address: u64 };

/// The rules at `address` of the file's own numbering; null when nothing describes it.
pub fn rulesAt(image: *const elf.Image, address: u64) Error!?Rules {
    const header = for (try image.segments()) |segment| {
        if (segment.kind == elf.pt_gnu_eh_frame) break segment.address;
    } else return null;
    const table: Table = .{ .bytes = try image.at(header), .address = header };
    const entry = try search(&table, address) orelse return null;
    const frames: Table = .{ .bytes = try image.at(entry), .address = entry };
    return describe(image, &frames, address);
}

/// The address of the description that may hold for `address`, by binary search.
fn search(table: *const Table, address: u64) Error!?u64 {
    var reader: Cursor = .{ .bytes = table.bytes };
    if (try reader.int(u8) != 1) return error.Malformed;
    const frame_encoding = try reader.int(u8);
    const count_encoding = try reader.int(u8);
    const table_encoding = try reader.int(u8);
    const at = table.address;
    _ = try pointer(&reader, frame_encoding, at +% reader.at, at);
    const count = try pointer(&reader, count_encoding, at +% reader.at, at);
    // Every linker writes this form: signed 32-bit distances from the header.
    if (table_encoding != encoding_data_relative | encoding_signed_4) return null;
    const start = reader.at;
    if (count > (table.bytes.len - start) / 8) return error.Malformed;
    var low: u64 = 0;
    var high: u64 = count;
    while (low < high) {
        const middle = low + (high - low) / 2;
        const begin = try relative(table, start + middle * 8);
        if (begin <= address) low = middle + 1 else high = middle;
    }
    if (low == 0) return null;
    return try relative(table, start + (low - 1) * 8 + 4);
}

fn relative(table: *const Table, offset: u64) Error!u64 {
    var reader = try Cursor.from(table.bytes, offset);
    return table.address +% @as(u64, @bitCast(@as(i64, try reader.int(i32))));
}

/// Reads the description that `frames` begins with, and runs it up to `address`.
fn describe(image: *const elf.Image, frames: *const Table, address: u64) Error!?Rules {
    var reader: Cursor = .{ .bytes = frames.bytes };
    const length = try reader.int(u32);
    if (length == 0 or length == 0xffff_ffff) return null;
    const end = reader.at + length;
    if (end > frames.bytes.len) return error.Malformed;
    const pointer_at = reader.at;
    const distance = try reader.int(u32);
    if (distance == 0) return error.Malformed;
    const common_at = frames.address +% pointer_at -% distance;
    const common = try readCommon(try image.at(common_at), common_at);
    const begin = try pointer(&reader, common.encoding, frames.address +% reader.at, 0);
    const size = try pointer(&reader, common.encoding & 0x0f, 0, 0);
    if (address < begin or address - begin >= size) return null;
    if (common.augmented) try reader.skip(try reader.uleb());
    if (reader.at > end) return error.Malformed;
    const own = frames.bytes[reader.at..end];

    var machine: Machine = .{ .common = &common, .target = address, .location = begin };
    try machine.run(common.instructions);
    machine.initial = machine.row;
    try machine.run(own);
    return .{
        .row = machine.row,
        .signal = common.signal,
        .return_column = common.return_column,
    };
}

fn readCommon(bytes: []const u8, address: u64) Error!Common {
    var reader: Cursor = .{ .bytes = bytes };
    const length = try reader.int(u32);
    if (length > bytes.len - reader.at) return error.Malformed;
    reader.bytes = bytes[0 .. reader.at + length];
    if (try reader.int(u32) != 0) return error.Malformed;
    const version = try reader.int(u8);
    if (version != 1 and version != 3) return error.Malformed;
    const augmentation = try reader.string();
    var common: Common = .{};
    common.code_alignment = try reader.uleb();
    common.data_alignment = try reader.sleb();
    const register = if (version == 1) try reader.int(u8) else try reader.uleb();
    if (register != return_column and register != instruction_pointer) return error.Malformed;
    common.return_column = register;
    if (augmentation.len == 0) {
        common.instructions = reader.bytes[reader.at..];
        return common;
    }
    if (augmentation[0] != 'z') return error.Malformed;
    common.augmented = true;
    const data_length = try reader.uleb();
    const data_start = reader.at;
    try reader.skip(data_length);
    common.instructions = reader.bytes[reader.at..];
    reader.at = data_start;
    for (augmentation[1..]) |letter| switch (letter) {
        'R' => common.encoding = try reader.int(u8),
        'L' => try reader.skip(1),
        'P' => {
            const encoding = try reader.int(u8);
            _ = try pointer(&reader, encoding & 0x7f, address +% reader.at, 0);
        },
        'S' => common.signal = true,
        else => break,
    };
    return common;
}

const encoding_data_relative = 0x30;
const encoding_signed_4 = 0x0b;

/// A pointer in one of the encodings (LSB, table 10-1); 0xff is "none", given as 0.
fn pointer(reader: *Cursor, encoding: u8, here: u64, data: u64) Error!u64 {
    if (encoding == 0xff) return 0;
    const value: u64 = switch (encoding & 0x0f) {
        0x00, 0x04, 0x0c => try reader.int(u64),
        0x01 => try reader.uleb(),
        0x02 => try reader.int(u16),
        0x03 => try reader.int(u32),
        0x09 => @bitCast(try reader.sleb()),
        0x0a => @bitCast(@as(i64, try reader.int(i16))),
        0x0b => @bitCast(@as(i64, try reader.int(i32))),
        else => return error.Malformed,
    };
    return switch (encoding & 0x70) {
        0x00 => value,
        0x10 => value +% here,
        0x30 => value +% data,
        else => error.Malformed,
    };
}

const remembered_max = 8;

/// Runs instructions until the row of `target` is complete.
const Machine = struct {
    common: *const Common,
    target: u64,
    location: u64,
    row: Row = .{},
    initial: Row = .{},
    remembered: [remembered_max]Row = undefined,
    remembered_count: usize = 0,
    over: bool = false,

    fn run(machine: *Machine, instructions: []const u8) Error!void {
        var reader: Cursor = .{ .bytes = instructions };
        while (!reader.done() and !machine.over) {
            const byte = try reader.int(u8);
            const low: u6 = @truncate(byte);
            switch (byte >> 6) {
                1 => machine.advance(low),
                2 => try machine.set(low, .{ .offset = machine.scaled(try reader.uleb()) }),
                3 => try machine.restore(low),
                else => try machine.extended(low, &reader),
            }
        }
    }

    fn advance(machine: *Machine, distance: u64) void {
        const next = machine.location +% distance *% machine.common.code_alignment;
        if (next > machine.target) machine.over = true else machine.location = next;
    }

    fn scaled(machine: *const Machine, factor: u64) i64 {
        return @as(i64, @bitCast(factor)) *% machine.common.data_alignment;
    }

    fn set(machine: *Machine, register: u64, rule: Rule) Error!void {
        // Vector registers may have rules too; nothing here needs them.
        if (register < register_count) machine.row.rules[@intCast(register)] = rule;
    }

    fn restore(machine: *Machine, register: u64) Error!void {
        if (register >= register_count) return;
        try machine.set(register, machine.initial.rules[@intCast(register)]);
    }

    fn setOffset(machine: *Machine, offset: i64) Error!void {
        switch (machine.row.address) {
            .register => |*register| register.offset = offset,
            else => return error.Malformed,
        }
    }

    fn extended(machine: *Machine, opcode: u6, reader: *Cursor) Error!void {
        switch (opcode) {
            0x00 => {},
            0x02 => machine.advance(try reader.int(u8)),
            0x03 => machine.advance(try reader.int(u16)),
            0x04 => machine.advance(try reader.int(u32)),
            0x05 => {
                const register = try reader.uleb();
                try machine.set(register, .{ .offset = machine.scaled(try reader.uleb()) });
            },
            0x06 => try machine.restore(try reader.uleb()),
            0x07 => try machine.set(try reader.uleb(), .undefined),
            0x08 => try machine.set(try reader.uleb(), .same),
            0x09 => {
                const register = try reader.uleb();
                try machine.set(register, .{ .register = try reader.uleb() });
            },
            0x0a, 0x0b => try machine.remember(opcode == 0x0a),
            0x0c...0x0f, 0x12, 0x13 => try machine.frameAddress(opcode, reader),
            0x10, 0x16 => {
                const register = try reader.uleb();
                const block = try reader.take(try reader.uleb());
                const rule: Rule = if (opcode == 0x10)
                    .{ .expression = block }
                else
                    .{ .value_expression = block };
                try machine.set(register, rule);
            },
            0x11, 0x15 => {
                const register = try reader.uleb();
                const offset = machine.scaled(@bitCast(try reader.sleb()));
                const rule: Rule = if (opcode == 0x11)
                    .{ .offset = offset }
                else
                    .{ .value_offset = offset };
                try machine.set(register, rule);
            },
            0x14 => {
                const register = try reader.uleb();
                try machine.set(register, .{ .value_offset = machine.scaled(try reader.uleb()) });
            },
            // DW_CFA_AARCH64_negate_ra_state: signed addresses are stripped in any case.
            0x2d => if (builtin.cpu.arch != .aarch64) return error.Malformed,
            // DW_CFA_GNU_args_size says nothing about where registers are.
            0x2e => _ = try reader.uleb(),
            else => return error.Malformed,
        }
    }

    fn remember(machine: *Machine, keep: bool) Error!void {
        if (keep) {
            if (machine.remembered_count == remembered_max) return error.Malformed;
            machine.remembered[machine.remembered_count] = machine.row;
            machine.remembered_count += 1;
        } else {
            if (machine.remembered_count == 0) return error.Malformed;
            machine.remembered_count -= 1;
            machine.row = machine.remembered[machine.remembered_count];
        }
    }

    fn frameAddress(machine: *Machine, opcode: u6, reader: *Cursor) Error!void {
        switch (opcode) {
            0x0c => {
                const number = try reader.uleb();
                const offset: i64 = @bitCast(try reader.uleb());
                machine.row.address = .{ .register = .{ .number = number, .offset = offset } };
            },
            0x0d => switch (machine.row.address) {
                .register => |*register| register.number = try reader.uleb(),
                else => return error.Malformed,
            },
            0x0e => try machine.setOffset(@bitCast(try reader.uleb())),
            0x0f => {
                const block = try reader.take(try reader.uleb());
                machine.row.address = .{ .expression = block };
            },
            0x12 => {
                const number = try reader.uleb();
                const offset = machine.scaled(@bitCast(try reader.sleb()));
                machine.row.address = .{ .register = .{ .number = number, .offset = offset } };
            },
            else => try machine.setOffset(machine.scaled(@bitCast(try reader.sleb()))),
        }
    }
};
