//! Line number programs: from addresses to files, lines and columns. DWARF 5, section 6.2.

const std = @import("std");
const forms = @import("dwarf_forms.zig");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;

pub const Row = struct { address: u64, file: u32, line: u32, column: u32 };

const Sequence = struct { low: u64, high: u64, first: usize, count: usize };

const File = struct { name: []const u8, directory: u64, path: ?[]const u8 = null };

const Header = struct {
    version: u16,
    wide: bool,
    instruction_length: u64,
    line_base: i8,
    line_range: u8,
    opcode_base: u8,
    operand_counts: []const u8,
    program: []const u8,
};

const State = struct {
    address: u64 = 0,
    file: u64 = 1,
    line: u64 = 1,
    column: u64 = 0,
};

pub const Lines = struct {
    unit: *const forms.Unit,
    version: u16 = 0,
    directories: std.ArrayList([]const u8) = .empty,
    files: std.ArrayList(File) = .empty,
    rows: std.ArrayList(Row) = .empty,
    sequences: std.ArrayList(Sequence) = .empty,

    pub fn read(
        arena: std.mem.Allocator,
        sections: *const forms.Sections,
        unit: *const forms.Unit,
    ) Error!Lines {
        var lines: Lines = .{ .unit = unit };
        const offset = unit.line orelse return lines;
        const header = try lines.readHeader(arena, sections, offset);
        lines.version = header.version;
        // A damaged end does not spoil what came before it.
        lines.run(arena, &header) catch |failure| switch (failure) {
            error.Malformed => {},
            error.OutOfMemory => return failure,
        };
        std.mem.sortUnstable(Sequence, lines.sequences.items, {}, before);
        return lines;
    }

    fn before(_: void, left: Sequence, right: Sequence) bool {
        return left.low < right.low;
    }

    /// The row that holds for `address`: of several at one address the last.
    pub fn find(lines: *const Lines, address: u64) ?Row {
        for (lines.sequences.items) |*sequence| {
            if (sequence.low > address) return null;
            if (address >= sequence.high) continue;
            const rows = lines.rows.items[sequence.first..][0..sequence.count];
            var low: usize = 0;
            var high: usize = rows.len;
            while (low < high) {
                const middle = low + (high - low) / 2;
                if (rows[middle].address <= address) low = middle + 1 else high = middle;
            }
            return if (low == 0) null else rows[low - 1];
        }
        return null;
    }

    /// The path of a file, as absolute as the compiler told; empty when it is not listed.
    pub fn path(lines: *Lines, arena: std.mem.Allocator, number: u64) Error![]const u8 {
        const index = if (lines.version >= 5) number else number -% 1;
        if (index >= lines.files.items.len) return "";
        const file = &lines.files.items[@intCast(index)];
        if (file.path) |known| return known;
        const made = try lines.join(arena, file);
        file.path = made;
        return made;
    }

    fn join(lines: *const Lines, arena: std.mem.Allocator, file: *const File) Error![]const u8 {
        if (std.mem.startsWith(u8, file.name, "/")) return file.name;
        const base = lines.unit.directory;
        const listed = if (lines.version >= 5) file.directory else file.directory -% 1;
        if (listed >= lines.directories.items.len) return joined(arena, base, file.name);
        const directory = lines.directories.items[@intCast(listed)];
        if (std.mem.startsWith(u8, directory, "/")) return joined(arena, directory, file.name);
        return joined(arena, try joined(arena, base, directory), file.name);
    }

    fn joined(arena: std.mem.Allocator, base: []const u8, name: []const u8) Error![]const u8 {
        if (base.len == 0) return name;
        return std.mem.concat(arena, u8, &.{ base, "/", name });
    }

    fn readHeader(
        lines: *Lines,
        arena: std.mem.Allocator,
        sections: *const forms.Sections,
        offset: u64,
    ) Error!Header {
        var reader = try Cursor.from(sections.line, offset);
        var length: u64 = try reader.int(u32);
        const wide = length == 0xffff_ffff;
        if (wide) length = try reader.int(u64);
        const table = try reader.take(length);
        reader = .{ .bytes = table };
        const version = try reader.int(u16);
        if (version < 2 or version > 5) return error.Malformed;
        if (version >= 5) try reader.skip(2);
        const header_length = try reader.reference(wide);
        var program = try Cursor.from(table, reader.at +| header_length);
        const instruction_length = try reader.int(u8);
        if (version >= 4) try reader.skip(1);
        try reader.skip(1);
        const line_base = try reader.int(i8);
        const line_range = try reader.int(u8);
        const opcode_base = try reader.int(u8);
        if (line_range == 0 or opcode_base == 0) return error.Malformed;
        const operand_counts = try reader.take(opcode_base - 1);
        if (version >= 5) {
            try lines.readLists(arena, sections, &reader, wide);
        } else {
            try lines.readOldLists(arena, &reader);
        }
        return .{
            .version = version,
            .wide = wide,
            .instruction_length = instruction_length,
            .line_base = line_base,
            .line_range = line_range,
            .opcode_base = opcode_base,
            .operand_counts = operand_counts,
            .program = try program.take(table.len - program.at),
        };
    }

    fn readOldLists(lines: *Lines, arena: std.mem.Allocator, reader: *Cursor) Error!void {
        while (true) {
            const directory = try reader.string();
            if (directory.len == 0) break;
            try lines.directories.append(arena, directory);
        }
        while (true) {
            const name = try reader.string();
            if (name.len == 0) break;
            try lines.files.append(arena, .{ .name = name, .directory = try reader.uleb() });
            _ = try reader.uleb();
            _ = try reader.uleb();
        }
    }

    fn readLists(
        lines: *Lines,
        arena: std.mem.Allocator,
        sections: *const forms.Sections,
        reader: *Cursor,
        wide: bool,
    ) Error!void {
        // The forms are read as those of entries are.
        var unit = lines.unit.*;
        unit.wide = wide;
        for ([_]bool{ true, false }) |are_directories| {
            const format_count = try reader.int(u8);
            const format_at = reader.at;
            for (0..@as(usize, format_count) * 2) |_| _ = try reader.uleb();
            const count = try reader.uleb();
            var index: u64 = 0;
            while (index < count) : (index += 1) {
                var file: File = .{ .name = "", .directory = 0 };
                var attributes: forms.Attributes = .{
                    .sections = sections,
                    .unit = &unit,
                    .description = try Cursor.from(reader.bytes, format_at),
                    .reader = reader,
                };
                for (0..format_count) |_| {
                    const one = try attributes.next() orelse return error.Malformed;
                    switch (one.name) {
                        1 => file.name = forms.textOf(sections, &unit, one.value) orelse "",
                        2 => switch (one.value) {
                            .constant => |value| file.directory = value,
                            else => {},
                        },
                        else => {},
                    }
                }
                if (are_directories) {
                    try lines.directories.append(arena, file.name);
                } else {
                    try lines.files.append(arena, file);
                }
            }
        }
    }

    fn run(lines: *Lines, arena: std.mem.Allocator, header: *const Header) Error!void {
        var reader: Cursor = .{ .bytes = header.program };
        var state: State = .{};
        var first = lines.rows.items.len;
        while (!reader.done()) {
            const opcode = try reader.int(u8);
            if (opcode >= header.opcode_base) {
                const adjusted = opcode - header.opcode_base;
                state.address +%= (adjusted / header.line_range) *% header.instruction_length;
                const lines_on = @as(i64, header.line_base) + adjusted % header.line_range;
                state.line +%= @bitCast(lines_on);
                try lines.append(arena, &state);
            } else if (opcode == 0) {
                const length = try reader.uleb();
                var own: Cursor = .{ .bytes = try reader.take(length) };
                if (own.done()) continue;
                switch (try own.int(u8)) {
                    1 => {
                        try lines.endSequence(arena, first, state.address);
                        first = lines.rows.items.len;
                        state = .{};
                    },
                    2 => state.address = try own.int(u64),
                    else => {},
                }
            } else {
                try lines.standard(arena, header, &reader, &state, opcode);
            }
        }
    }

    fn standard(
        lines: *Lines,
        arena: std.mem.Allocator,
        header: *const Header,
        reader: *Cursor,
        state: *State,
        opcode: u8,
    ) Error!void {
        switch (opcode) {
            1 => try lines.append(arena, state),
            2 => state.address +%= try reader.uleb() *% header.instruction_length,
            3 => state.line +%= @bitCast(try reader.sleb()),
            4 => state.file = try reader.uleb(),
            5 => state.column = try reader.uleb(),
            8 => {
                const steps = (255 - header.opcode_base) / header.line_range;
                state.address +%= steps *% header.instruction_length;
            },
            9 => state.address +%= try reader.int(u16),
            6, 7, 10, 11 => {},
            else => for (0..header.operand_counts[opcode - 1]) |_| {
                _ = try reader.uleb();
            },
        }
    }

    fn append(lines: *Lines, arena: std.mem.Allocator, state: *const State) Error!void {
        try lines.rows.append(arena, .{
            .address = state.address,
            .file = @truncate(state.file),
            .line = @truncate(state.line),
            .column = @truncate(state.column),
        });
    }

    fn endSequence(lines: *Lines, arena: std.mem.Allocator, first: usize, end: u64) Error!void {
        const count = lines.rows.items.len - first;
        if (count == 0) return;
        const low = lines.rows.items[first].address;
        // Code that the linker dropped keeps its rows, at address 0.
        if (low == 0 or end <= low) return;
        const sequence: Sequence = .{ .low = low, .high = end, .first = first, .count = count };
        try lines.sequences.append(arena, sequence);
    }
};
