//! Which addresses an entry covers: a pair of attributes, `.debug_ranges` of DWARF 4, or
//! `.debug_rnglists` of DWARF 5 (sections 2.17 and 7.25).

const std = @import("std");
const forms = @import("dwarf_forms.zig");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;
const Sections = forms.Sections;
const Unit = forms.Unit;
const Value = forms.Value;

pub const Range = struct {
    low: u64,
    high: u64,

    pub fn holds(range: *const Range, address: u64) bool {
        return address >= range.low and address < range.high;
    }
};

/// The attributes that say where an entry's code is.
pub const Described = struct {
    low: Value = .none,
    high: Value = .none,
    ranges: Value = .none,

    pub fn note(described: *Described, name: u64, value: Value) void {
        switch (name) {
            forms.at.low_pc => described.low = value,
            forms.at.high_pc => described.high = value,
            forms.at.ranges => described.ranges = value,
            else => {},
        }
    }
};

/// Appends the ranges that `described` means.
pub fn append(
    arena: std.mem.Allocator,
    into: *std.ArrayList(Range),
    sections: *const Sections,
    unit: *const Unit,
    described: *const Described,
) Error!void {
    switch (described.ranges) {
        .none => {},
        .list_index => |index| {
            const size: u64 = if (unit.wide) 8 else 4;
            var reader = try Cursor.from(
                sections.range_lists,
                unit.range_lists_base +| index *| size,
            );
            const offset = unit.range_lists_base +| try reader.reference(unit.wide);
            return appendList(arena, into, sections, unit, offset);
        },
        .offset, .constant => |offset| {
            if (unit.version >= 5) return appendList(arena, into, sections, unit, offset);
            return appendPairs(arena, into, sections, unit, offset);
        },
        else => return error.Malformed,
    }
    const low = forms.addressOf(sections, unit, described.low) orelse return;
    const high = switch (described.high) {
        .constant => |length| low +| length,
        else => forms.addressOf(sections, unit, described.high) orelse return,
    };
    if (high > low) try into.append(arena, .{ .low = low, .high = high });
}

fn appendPairs(
    arena: std.mem.Allocator,
    into: *std.ArrayList(Range),
    sections: *const Sections,
    unit: *const Unit,
    offset: u64,
) Error!void {
    var reader = try Cursor.from(sections.ranges, offset);
    var base = unit.low;
    while (true) {
        const low = try reader.int(u64);
        const high = try reader.int(u64);
        if (low == 0 and high == 0) return;
        if (low == std.math.maxInt(u64)) {
            base = high;
        } else if (high > low) {
            try into.append(arena, .{ .low = base +% low, .high = base +% high });
        }
    }
}

fn appendList(
    arena: std.mem.Allocator,
    into: *std.ArrayList(Range),
    sections: *const Sections,
    unit: *const Unit,
    offset: u64,
) Error!void {
    var reader = try Cursor.from(sections.range_lists, offset);
    var base = unit.low;
    while (true) {
        const kind = try reader.int(u8);
        const range: Range = switch (kind) {
            0x00 => return,
            0x01 => {
                base = try indexed(sections, unit, &reader);
                continue;
            },
            0x02 => .{
                .low = try indexed(sections, unit, &reader),
                .high = try indexed(sections, unit, &reader),
            },
            0x03 => from: {
                const low = try indexed(sections, unit, &reader);
                break :from .{ .low = low, .high = low +% try reader.uleb() };
            },
            0x04 => .{ .low = base +% try reader.uleb(), .high = base +% try reader.uleb() },
            0x05 => {
                base = try reader.int(u64);
                continue;
            },
            0x06 => .{ .low = try reader.int(u64), .high = try reader.int(u64) },
            0x07 => from: {
                const low = try reader.int(u64);
                break :from .{ .low = low, .high = low +% try reader.uleb() };
            },
            else => return error.Malformed,
        };
        if (range.high > range.low) try into.append(arena, range);
    }
}

fn indexed(sections: *const Sections, unit: *const Unit, reader: *Cursor) Error!u64 {
    const value: Value = .{ .address_index = try reader.uleb() };
    return forms.addressOf(sections, unit, value) orelse error.Malformed;
}
