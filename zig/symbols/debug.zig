//! Debug information of one module: which unit covers an address, and what the unit says. Units
//! are read when they are first needed.

const std = @import("std");
const elf = @import("elf.zig");
const forms = @import("dwarf_forms.zig");
const ranges_of = @import("dwarf_ranges.zig");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;
const Functions = @import("dwarf_functions.zig").Functions;
const Lines = @import("dwarf_lines.zig").Lines;

/// One function at an address, as `lookup` gives it.
pub const Found = struct {
    name: []const u8 = "",
    file: []const u8 = "",
    /// In the file's own numbering; 0 when it is not known.
    start: u64 = 0,
    line: u32 = 0,
    column: u32 = 0,
};

const Covered = struct { range: ranges_of.Range, unit: usize };

const Content = struct { functions: Functions, lines: Lines };

const UnitState = struct {
    unit: forms.Unit,
    content: ?Content = null,
    read: bool = false,
};

pub const inlined_max = 64;

pub const Debug = struct {
    arena: std.mem.Allocator,
    sections: forms.Sections,
    units: []UnitState = &.{},
    covered: []const Covered = &.{},

    /// Null when `image` has no debug information.
    pub fn read(arena: std.mem.Allocator, image: *const elf.Image) Error!?Debug {
        const info = image.content(arena, ".debug_info") orelse return null;
        const sections: forms.Sections = .{
            .info = info,
            .abbreviations = image.content(arena, ".debug_abbrev") orelse return null,
            .strings = image.content(arena, ".debug_str") orelse "",
            .line = image.content(arena, ".debug_line") orelse "",
            .line_strings = image.content(arena, ".debug_line_str") orelse "",
            .string_offsets = image.content(arena, ".debug_str_offsets") orelse "",
            .addresses = image.content(arena, ".debug_addr") orelse "",
            .ranges = image.content(arena, ".debug_ranges") orelse "",
            .range_lists = image.content(arena, ".debug_rnglists") orelse "",
        };
        var debug: Debug = .{ .arena = arena, .sections = sections };
        try debug.readUnits();
        return debug;
    }

    fn readUnits(debug: *Debug) Error!void {
        var units: std.ArrayList(UnitState) = .empty;
        var covered: std.ArrayList(Covered) = .empty;
        var own: std.ArrayList(ranges_of.Range) = .empty;
        var start: u64 = 0;
        while (start < debug.sections.info.len) {
            var unit = forms.readUnit(&debug.sections, start) catch break;
            start = unit.end;
            own.clearRetainingCapacity();
            debug.readRoot(&unit, &own) catch |failure| {
                if (failure == error.OutOfMemory) return failure;
                continue;
            };
            for (own.items) |range| {
                try covered.append(debug.arena, .{ .range = range, .unit = units.items.len });
            }
            try units.append(debug.arena, .{ .unit = unit });
        }
        std.mem.sortUnstable(Covered, covered.items, {}, before);
        debug.units = units.items;
        debug.covered = covered.items;
    }

    fn before(_: void, left: Covered, right: Covered) bool {
        return left.range.low < right.range.low;
    }

    /// Reads a unit's first entry, which says where the rest is, and which code it covers.
    fn readRoot(
        debug: *const Debug,
        unit: *forms.Unit,
        own: *std.ArrayList(ranges_of.Range),
    ) Error!void {
        const sections = &debug.sections;
        const first = Cursor{
            .bytes = sections.info[0..@intCast(unit.end)],
            .at = @intCast(unit.entries),
        };
        var reader = first;
        const code = try reader.uleb();
        const found = try forms.Abbreviations.find(sections, unit.abbreviations, code);
        const after_code = reader;
        // Bases first: other attributes may need them, whatever the order is.
        var attributes = try forms.Attributes.init(sections, unit, &found, &reader);
        while (try attributes.next()) |one| switch (one.value) {
            .offset, .constant => |value| switch (one.name) {
                forms.at.stmt_list => unit.line = value,
                forms.at.str_offsets_base => unit.string_offsets_base = value,
                forms.at.addr_base => unit.addresses_base = value,
                forms.at.rnglists_base => unit.range_lists_base = value,
                else => {},
            },
            else => {},
        };
        var described: ranges_of.Described = .{};
        reader = after_code;
        attributes = try forms.Attributes.init(sections, unit, &found, &reader);
        while (try attributes.next()) |one| {
            described.note(one.name, one.value);
            switch (one.name) {
                forms.at.comp_dir => unit.directory =
                    forms.textOf(sections, unit, one.value) orelse "",
                forms.at.name => unit.name = forms.textOf(sections, unit, one.value) orelse "",
                else => {},
            }
        }
        unit.low = forms.addressOf(sections, unit, described.low) orelse 0;
        try ranges_of.append(debug.arena, own, sections, unit, &described);
    }

    fn unitFor(debug: *const Debug, address: u64) ?usize {
        var low: usize = 0;
        var high: usize = debug.covered.len;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (debug.covered[middle].range.low <= address) low = middle + 1 else high = middle;
        }
        if (low == 0) return null;
        const nearest = &debug.covered[low - 1];
        return if (nearest.range.holds(address)) nearest.unit else null;
    }

    fn content(debug: *Debug, index: usize) ?*Content {
        const state = &debug.units[index];
        if (!state.read) {
            state.read = true;
            state.content = debug.readContent(&state.unit) catch null;
        }
        return if (state.content) |*known| known else null;
    }

    fn readContent(debug: *const Debug, unit: *const forms.Unit) Error!Content {
        const none: Lines = .{ .unit = unit };
        return .{
            .functions = try Functions.read(debug.arena, &debug.sections, unit),
            .lines = Lines.read(debug.arena, &debug.sections, unit) catch none,
        };
    }

    /// Writes the functions at `address`, innermost first; how many, 0 when it is not covered.
    pub fn lookup(debug: *Debug, address: u64, into: *[inlined_max]Found) Error!usize {
        const index = debug.unitFor(address) orelse return 0;
        const known = debug.content(index) orelse return 0;
        var indices: [inlined_max]usize = undefined;
        const chain = known.functions.chain(address, &indices);
        var place: Found = .{};
        if (known.lines.find(address)) |row| {
            place.file = try known.lines.path(debug.arena, row.file);
            place.line = row.line;
            place.column = row.column;
        }
        if (chain.len == 0) {
            into[0] = place;
            return 1;
        }
        for (0..chain.len) |level| {
            const function = known.functions.list.items[chain[chain.len - 1 - level]];
            into[level] = place;
            into[level].name = try debug.nameOf(function.entry, 0);
            into[level].start = startOf(known.functions.rangesOf(&function), address);
            place = .{
                .file = try known.lines.path(debug.arena, function.call_file),
                .line = @truncate(function.call_line),
                .column = @truncate(function.call_column),
            };
        }
        return chain.len;
    }

    /// A function begins with its first range; a part that was moved before it begins itself.
    fn startOf(ranges: []const ranges_of.Range, address: u64) u64 {
        if (ranges[0].low <= address) return ranges[0].low;
        for (ranges) |range| if (range.holds(address)) return range.low;
        return 0;
    }

    /// The name of the function whose entry lies at `offset`, which may be in another unit.
    fn nameOf(debug: *Debug, offset: u64, depth: u32) Error![]const u8 {
        if (depth > 8) return "";
        const index = debug.unitAt(offset) orelse return "";
        const known = debug.content(index) orelse return "";
        const named = known.functions.namedAt(offset) orelse return "";
        // A definition outside of its class or namespace refers to the declaration in it.
        if (named.origin != 0) {
            const original = try debug.nameOf(named.origin, depth + 1);
            if (original.len > 0) return original;
        }
        if (named.name.len == 0) return "";
        return known.functions.fullName(debug.arena, named);
    }

    fn unitAt(debug: *const Debug, offset: u64) ?usize {
        var low: usize = 0;
        var high: usize = debug.units.len;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (debug.units[middle].unit.start <= offset) low = middle + 1 else high = middle;
        }
        if (low == 0 or offset >= debug.units[low - 1].unit.end) return null;
        return low - 1;
    }
};
