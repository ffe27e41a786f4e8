//! The functions of a unit, inlined ones among them, and their names.

const std = @import("std");
const forms = @import("dwarf_forms.zig");
const ranges_of = @import("dwarf_ranges.zig");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;
const Sections = forms.Sections;
const Unit = forms.Unit;
const Range = ranges_of.Range;

/// A function's code, or code of it that was inlined into another's.
pub const Function = struct {
    first_range: usize,
    range_count: usize,
    /// Index behind the functions inside it.
    end: usize,
    inlined: bool,
    /// The entry that it is, or comes from: it has the name.
    entry: u64,
    call_file: u64,
    call_line: u64,
    call_column: u64,
};

/// A function's entry that other entries may refer to. They are in the order of their offsets.
pub const Named = struct {
    offset: u64,
    scope: usize,
    name: []const u8,
    /// The entry that has the name when this one has none; 0 for none.
    origin: u64,
    full: ?[]const u8 = null,
};

const Scope = struct { parent: usize, name: []const u8 };

const Open = struct { scope: usize, function: ?usize };

const nesting_max = 256;

pub const Functions = struct {
    list: std.ArrayList(Function) = .empty,
    ranges: std.ArrayList(Range) = .empty,
    named: std.ArrayList(Named) = .empty,
    /// The first is the unit itself.
    scopes: std.ArrayList(Scope) = .empty,

    pub fn read(
        arena: std.mem.Allocator,
        sections: *const Sections,
        unit: *const Unit,
    ) Error!Functions {
        var functions: Functions = .{};
        try functions.scopes.append(arena, .{ .parent = 0, .name = "" });
        var reader: Reader = .{
            .arena = arena,
            .sections = sections,
            .unit = unit,
            .table = try .read(arena, sections, unit.abbreviations),
            .functions = &functions,
            .cursor = .{
                .bytes = sections.info[0..@intCast(unit.end)],
                .at = @intCast(unit.entries),
            },
        };
        try reader.run();
        return functions;
    }

    pub fn rangesOf(functions: *const Functions, function: *const Function) []const Range {
        return functions.ranges.items[function.first_range..][0..function.range_count];
    }

    /// Indices of the function at `address` and of those inlined there, outermost first.
    pub fn chain(functions: *const Functions, address: u64, into: []usize) []const usize {
        var count: usize = 0;
        var index: usize = 0;
        var end = functions.list.items.len;
        while (index < end) {
            const function = &functions.list.items[index];
            const holds = for (functions.rangesOf(function)) |*range| {
                if (range.holds(address)) break true;
            } else false;
            if (!holds) {
                index = function.end;
                continue;
            }
            // A function within another one is not part of its caller chain.
            if (!function.inlined) count = 0;
            if (count == into.len) break;
            into[count] = index;
            count += 1;
            end = function.end;
            index += 1;
        }
        return into[0..count];
    }

    /// The entry at `offset` of `.debug_info`.
    pub fn namedAt(functions: *Functions, offset: u64) ?*Named {
        const list = functions.named.items;
        var low: usize = 0;
        var high: usize = list.len;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (list[middle].offset <= offset) low = middle + 1 else high = middle;
        }
        return if (low > 0 and list[low - 1].offset == offset) &list[low - 1] else null;
    }

    /// The name with the namespaces and classes around it.
    pub fn fullName(
        functions: *const Functions,
        arena: std.mem.Allocator,
        named: *Named,
    ) Error![]const u8 {
        if (named.full) |known| return known;
        var text = named.name;
        var scope = named.scope;
        var depth: u32 = 0;
        while (scope != 0 and depth < nesting_max) : (depth += 1) {
            const one = functions.scopes.items[scope];
            if (one.name.len > 0) text = try std.mem.concat(arena, u8, &.{ one.name, "::", text });
            scope = one.parent;
        }
        named.full = text;
        return text;
    }
};

const Reader = struct {
    arena: std.mem.Allocator,
    sections: *const Sections,
    unit: *const Unit,
    table: forms.Abbreviations,
    functions: *Functions,
    cursor: Cursor,
    open: [nesting_max]Open = undefined,
    depth: usize = 0,

    fn run(reader: *Reader) Error!void {
        while (!reader.cursor.done()) {
            const offset = reader.cursor.at;
            const code = try reader.cursor.uleb();
            if (code == 0) {
                if (reader.depth == 0) return;
                reader.close();
                if (reader.depth == 0) return;
                continue;
            }
            try reader.entry(offset, try reader.table.get(code));
        }
    }

    fn close(reader: *Reader) void {
        reader.depth -= 1;
        const list = &reader.functions.list;
        if (reader.open[reader.depth].function) |index| list.items[index].end = list.items.len;
    }

    fn entry(reader: *Reader, offset: u64, abbreviation: *const forms.Abbreviation) Error!void {
        const around: Open = if (reader.depth == 0)
            .{ .scope = 0, .function = null }
        else
            .{ .scope = reader.open[reader.depth - 1].scope, .function = null };
        var inside = around;
        var sibling: u64 = 0;
        switch (abbreviation.tag) {
            forms.tag.subprogram, forms.tag.inlined_subroutine => {
                inside = try reader.function(offset, abbreviation, around.scope);
            },
            forms.tag.namespace,
            forms.tag.class_type,
            forms.tag.structure_type,
            forms.tag.union_type,
            => inside.scope = try reader.scope(abbreviation, around.scope),
            forms.tag.compile_unit, forms.tag.partial_unit, forms.tag.skeleton_unit => {
                _ = try reader.skip(abbreviation);
            },
            // Blocks of all kinds may hold functions; with the others it does not matter.
            0x0b, 0x1e, 0x25, 0x32 => _ = try reader.skip(abbreviation),
            else => sibling = try reader.skip(abbreviation),
        }
        if (!abbreviation.has_children) {
            if (inside.function) |index| {
                reader.functions.list.items[index].end = reader.functions.list.items.len;
            }
            return;
        }
        if (sibling > reader.cursor.at and sibling < reader.unit.end) {
            reader.cursor.at = @intCast(sibling);
            return;
        }
        if (reader.depth == nesting_max) return error.Malformed;
        reader.open[reader.depth] = inside;
        reader.depth += 1;
    }

    /// Passes over the attributes; where the next entry of the same parent is, when that is told.
    fn skip(reader: *Reader, abbreviation: *const forms.Abbreviation) Error!u64 {
        var sibling: u64 = 0;
        var attributes = try reader.attributesOf(abbreviation);
        while (try attributes.next()) |one| {
            if (one.name != forms.at.sibling) continue;
            sibling = switch (one.value) {
                .reference => |offset| offset,
                else => 0,
            };
        }
        return sibling;
    }

    fn attributesOf(
        reader: *Reader,
        abbreviation: *const forms.Abbreviation,
    ) Error!forms.Attributes {
        return .init(reader.sections, reader.unit, abbreviation, &reader.cursor);
    }

    fn scope(reader: *Reader, abbreviation: *const forms.Abbreviation, parent: usize) Error!usize {
        var name: []const u8 = "";
        var found = try reader.attributesOf(abbreviation);
        while (try found.next()) |one| {
            if (one.name != forms.at.name) continue;
            name = forms.textOf(reader.sections, reader.unit, one.value) orelse "";
        }
        if (name.len == 0 and abbreviation.tag == forms.tag.namespace) {
            name = "(anonymous namespace)";
        }
        return reader.addScope(parent, name);
    }

    fn addScope(reader: *Reader, parent: usize, name: []const u8) Error!usize {
        const scopes = &reader.functions.scopes;
        try scopes.append(reader.arena, .{ .parent = parent, .name = name });
        return scopes.items.len - 1;
    }

    fn function(
        reader: *Reader,
        offset: u64,
        abbreviation: *const forms.Abbreviation,
        around: usize,
    ) Error!Open {
        const functions = reader.functions;
        const arena = reader.arena;
        var described: ranges_of.Described = .{};
        var named: Named = .{ .offset = offset, .scope = around, .name = "", .origin = 0 };
        var call: [3]u64 = @splat(0);
        var found = try reader.attributesOf(abbreviation);
        while (try found.next()) |one| {
            described.note(one.name, one.value);
            switch (one.name) {
                forms.at.name => named.name =
                    forms.textOf(reader.sections, reader.unit, one.value) orelse "",
                forms.at.abstract_origin, forms.at.specification => switch (one.value) {
                    .reference => |origin| named.origin = origin,
                    else => {},
                },
                forms.at.call_file, forms.at.call_line, forms.at.call_column => switch (one.value) {
                    .constant => |value| call[@intCast(callIndex(one.name))] = value,
                    else => {},
                },
                else => {},
            }
        }
        const inlined = abbreviation.tag == forms.tag.inlined_subroutine;
        if (!inlined) try functions.named.append(arena, named);
        const first = functions.ranges.items.len;
        const ranges = &functions.ranges;
        ranges_of.append(arena, ranges, reader.sections, reader.unit, &described) catch |failure| {
            if (failure == error.OutOfMemory) return failure;
        };
        const count = functions.ranges.items.len - first;
        var inside: Open = .{ .scope = around, .function = null };
        if (!inlined and named.name.len > 0) inside.scope = try reader.addScope(around, named.name);
        if (count == 0) return inside;
        inside.function = functions.list.items.len;
        try functions.list.append(arena, .{
            .first_range = first,
            .range_count = count,
            .end = functions.list.items.len + 1,
            .inlined = inlined,
            .entry = if (inlined) named.origin else offset,
            .call_file = call[0],
            .call_line = call[1],
            .call_column = call[2],
        });
        return inside;
    }
};

fn callIndex(name: u64) usize {
    return switch (name) {
        forms.at.call_file => 0,
        forms.at.call_line => 1,
        else => 2,
    };
}
