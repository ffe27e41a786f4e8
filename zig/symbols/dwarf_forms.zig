//! Units, abbreviations and attribute values of `.debug_info`, DWARF 4 and 5.
//!
//! Numbers: DWARF 5, sections 7.5.3 to 7.5.6; the GNU forms: binutils' include/dwarf2.def.

const std = @import("std");
const cursor = @import("cursor.zig");
const Cursor = cursor.Cursor;
const Error = cursor.Error;

pub const tag = struct {
    pub const class_type = 0x02;
    pub const compile_unit = 0x11;
    pub const inlined_subroutine = 0x1d;
    pub const subprogram = 0x2e;
    pub const structure_type = 0x13;
    pub const union_type = 0x17;
    pub const namespace = 0x39;
    pub const partial_unit = 0x3c;
    pub const skeleton_unit = 0x4a;
};

pub const at = struct {
    pub const sibling = 0x01;
    pub const name = 0x03;
    pub const stmt_list = 0x10;
    pub const low_pc = 0x11;
    pub const high_pc = 0x12;
    pub const comp_dir = 0x1b;
    pub const abstract_origin = 0x31;
    pub const specification = 0x47;
    pub const ranges = 0x55;
    pub const call_column = 0x57;
    pub const call_file = 0x58;
    pub const call_line = 0x59;
    pub const linkage_name = 0x6e;
    pub const str_offsets_base = 0x72;
    pub const addr_base = 0x73;
    pub const rnglists_base = 0x74;
    pub const mips_linkage_name = 0x2007;
};

pub const Sections = struct {
    info: []const u8,
    abbreviations: []const u8,
    strings: []const u8,
    line: []const u8,
    line_strings: []const u8,
    string_offsets: []const u8,
    addresses: []const u8,
    ranges: []const u8,
    range_lists: []const u8,
};

pub const Value = union(enum) {
    none,
    address: u64,
    address_index: u64,
    constant: u64,
    /// A place in `.debug_info`.
    reference: u64,
    /// A place in the section that the attribute implies.
    offset: u64,
    list_index: u64,
    string: []const u8,
    string_index: u64,
};

pub const Unit = struct {
    /// Where its header begins, and where the next unit does.
    start: u64,
    end: u64,
    /// Where its first entry begins.
    entries: u64,
    abbreviations: u64,
    version: u16,
    wide: bool,
    low: u64 = 0,
    string_offsets_base: u64 = 0,
    addresses_base: u64 = 0,
    range_lists_base: u64 = 0,
    line: ?u64 = null,
    directory: []const u8 = "",
    name: []const u8 = "",
};

/// Reads the header that lies at `start`.
pub fn readUnit(sections: *const Sections, start: u64) Error!Unit {
    var reader = try Cursor.from(sections.info, start);
    var length: u64 = try reader.int(u32);
    const wide = length == 0xffff_ffff;
    if (wide) length = try reader.int(u64);
    if (length > reader.bytes.len - reader.at or length == 0) return error.Malformed;
    var unit: Unit = .{
        .start = start,
        .end = reader.at + length,
        .entries = 0,
        .abbreviations = 0,
        .version = try reader.int(u16),
        .wide = wide,
    };
    if (unit.version < 2 or unit.version > 5) {
        // Later versions may be laid out otherwise: the unit is passed over.
        unit.entries = unit.end;
        return unit;
    }
    if (unit.version < 5) {
        unit.abbreviations = try reader.reference(wide);
        try reader.skip(1);
    } else {
        const kind = try reader.int(u8);
        try reader.skip(1);
        unit.abbreviations = try reader.reference(wide);
        switch (kind) {
            4, 5 => try reader.skip(8),
            2, 6 => try reader.skip(8 + @as(u64, if (wide) 8 else 4)),
            else => {},
        }
    }
    unit.entries = reader.at;
    return unit;
}

pub const Abbreviation = struct {
    code: u64,
    tag: u64,
    has_children: bool,
    /// Where its attributes are described.
    attributes: u64,
};

/// The abbreviations of one table.
pub const Abbreviations = struct {
    list: std.ArrayList(Abbreviation) = .empty,

    pub fn read(
        arena: std.mem.Allocator,
        sections: *const Sections,
        offset: u64,
    ) Error!Abbreviations {
        var result: Abbreviations = .{};
        var reader = try Cursor.from(sections.abbreviations, offset);
        while (true) {
            const code = try reader.uleb();
            if (code == 0) return result;
            try result.list.append(arena, try readOne(&reader, code));
        }
    }

    /// The abbreviation with `code`, found without reading the whole table.
    pub fn find(sections: *const Sections, offset: u64, code: u64) Error!Abbreviation {
        var reader = try Cursor.from(sections.abbreviations, offset);
        while (true) {
            const found = try reader.uleb();
            if (found == 0) return error.Malformed;
            const one = try readOne(&reader, found);
            if (found == code) return one;
        }
    }

    fn readOne(reader: *Cursor, code: u64) Error!Abbreviation {
        const kind = try reader.uleb();
        const has_children = try reader.int(u8) != 0;
        const attributes = reader.at;
        while (true) {
            const name = try reader.uleb();
            const form = try reader.uleb();
            if (form == form_implicit_const) _ = try reader.sleb();
            if (name == 0 and form == 0) break;
        }
        return .{
            .code = code,
            .tag = kind,
            .has_children = has_children,
            .attributes = attributes,
        };
    }

    pub fn get(table: *const Abbreviations, code: u64) Error!*const Abbreviation {
        const list = table.list.items;
        // Compilers number them from 1 on.
        if (code -% 1 < list.len and list[@intCast(code - 1)].code == code) {
            return &list[@intCast(code - 1)];
        }
        for (list) |*one| if (one.code == code) return one;
        return error.Malformed;
    }
};

const form_implicit_const = 0x21;

/// Goes through the attributes of one entry.
pub const Attributes = struct {
    sections: *const Sections,
    unit: *const Unit,
    description: Cursor,
    reader: *Cursor,

    pub const Attribute = struct { name: u64, value: Value };

    pub fn init(
        sections: *const Sections,
        unit: *const Unit,
        abbreviation: *const Abbreviation,
        reader: *Cursor,
    ) Error!Attributes {
        return .{
            .sections = sections,
            .unit = unit,
            .description = try Cursor.from(sections.abbreviations, abbreviation.attributes),
            .reader = reader,
        };
    }

    pub fn next(attributes: *Attributes) Error!?Attribute {
        const name = try attributes.description.uleb();
        const form = try attributes.description.uleb();
        if (name == 0 and form == 0) return null;
        if (form == form_implicit_const) {
            const value = try attributes.description.sleb();
            return .{ .name = name, .value = .{ .constant = @bitCast(value) } };
        }
        return .{ .name = name, .value = try attributes.read(form) };
    }

    fn read(attributes: *Attributes, form: u64) Error!Value {
        const reader = attributes.reader;
        const unit = attributes.unit;
        return switch (form) {
            0x01 => .{ .address = try reader.int(u64) },
            0x03 => skipped(reader, try reader.int(u16)),
            0x04 => skipped(reader, try reader.int(u32)),
            0x05 => .{ .constant = try reader.int(u16) },
            0x06 => .{ .constant = try reader.int(u32) },
            0x07 => .{ .constant = try reader.int(u64) },
            0x08 => .{ .string = try reader.string() },
            0x09, 0x18 => skipped(reader, try reader.uleb()),
            0x0a => skipped(reader, try reader.int(u8)),
            0x0b => .{ .constant = try reader.int(u8) },
            0x0c => .{ .constant = try reader.int(u8) },
            0x0d => .{ .constant = @bitCast(try reader.sleb()) },
            0x0e => attributes.stringIn(attributes.sections.strings),
            0x0f => .{ .constant = try reader.uleb() },
            0x10 => .{ .reference = if (unit.version == 2)
                try reader.int(u64)
            else
                try reader.reference(unit.wide) },
            0x11 => .{ .reference = unit.start +% try reader.int(u8) },
            0x12 => .{ .reference = unit.start +% try reader.int(u16) },
            0x13 => .{ .reference = unit.start +% try reader.int(u32) },
            0x14 => .{ .reference = unit.start +% try reader.int(u64) },
            0x15 => .{ .reference = unit.start +% try reader.uleb() },
            0x17 => .{ .offset = try reader.reference(unit.wide) },
            0x19 => .{ .constant = 1 },
            0x1a => .{ .string_index = try reader.uleb() },
            0x1b => .{ .address_index = try reader.uleb() },
            0x1e => skipped(reader, 16),
            0x1f => attributes.stringIn(attributes.sections.line_strings),
            0x20 => skipped(reader, 8),
            0x22, 0x23 => .{ .list_index = try reader.uleb() },
            0x25 => .{ .string_index = try reader.int(u8) },
            0x26 => .{ .string_index = try reader.int(u16) },
            0x27 => .{ .string_index = try reader.int(u24) },
            0x28 => .{ .string_index = try reader.int(u32) },
            0x29 => .{ .address_index = try reader.int(u8) },
            0x2a => .{ .address_index = try reader.int(u16) },
            0x2b => .{ .address_index = try reader.int(u24) },
            0x2c => .{ .address_index = try reader.int(u32) },
            // Supplementary files are not read: what they hold stays unknown.
            0x1c => skipped(reader, 4),
            0x24 => skipped(reader, 8),
            0x1d, 0x1f20, 0x1f21 => skipped(reader, @as(u64, if (unit.wide) 8 else 4)),
            0x1f01 => .{ .address_index = try reader.uleb() },
            0x1f02 => .{ .string_index = try reader.uleb() },
            0x16 => attributes.indirect(),
            else => error.Malformed,
        };
    }

    fn indirect(attributes: *Attributes) Error!Value {
        const form = try attributes.reader.uleb();
        if (form == 0x16) return error.Malformed;
        return attributes.read(form);
    }

    fn skipped(reader: *Cursor, length: u64) Error!Value {
        try reader.skip(length);
        return .none;
    }

    fn stringIn(attributes: *Attributes, bytes: []const u8) Error!Value {
        const offset = try attributes.reader.reference(attributes.unit.wide);
        return .{ .string = cursor.stringAt(bytes, offset) catch return .none };
    }
};

/// The text of a string value; null when it is none or cannot be found.
pub fn textOf(sections: *const Sections, unit: *const Unit, value: Value) ?[]const u8 {
    switch (value) {
        .string => |text| return text,
        .string_index => |index| {
            const size: u64 = if (unit.wide) 8 else 4;
            const offset = unit.string_offsets_base +| index *| size;
            var reader = Cursor.from(sections.string_offsets, offset) catch return null;
            const place = reader.reference(unit.wide) catch return null;
            return cursor.stringAt(sections.strings, place) catch null;
        },
        else => return null,
    }
}

/// The address that a value means; null when it is none.
pub fn addressOf(sections: *const Sections, unit: *const Unit, value: Value) ?u64 {
    switch (value) {
        .address => |address| return address,
        .address_index => |index| {
            const offset = unit.addresses_base +| index *| 8;
            var reader = Cursor.from(sections.addresses, offset) catch return null;
            return reader.int(u64) catch null;
        },
        else => return null,
    }
}
