//! Names of functions from a symbol table: `.symtab`, or `.dynsym` where that was stripped.

const std = @import("std");
const elf = @import("elf.zig");
const cursor = @import("cursor.zig");
const Error = cursor.Error;

const Function = struct {
    start: u64,
    end: u64,
    name: u32,
    rank: u8,
    /// Assembly without a size: it extends to the next symbol, or to the end of its section.
    open: bool,
};

const kind_function = 2;
const kind_indirect_function = 10;
const binding_local = 0;
const binding_weak = 2;

pub const Name = struct { start: u64, text: []const u8 };

pub const Names = struct {
    functions: []const Function = &.{},
    strings: []const u8 = &.{},

    pub const none: Names = .{};

    /// Reads `image`'s table; empty when it has none.
    pub fn read(arena: std.mem.Allocator, image: *const elf.Image, dynamic: bool) Error!Names {
        const table = image.content(arena, if (dynamic) ".dynsym" else ".symtab") orelse
            return .none;
        const strings = image.content(arena, if (dynamic) ".dynstr" else ".strtab") orelse
            return .none;
        const symbols = try elf.structs(elf.Symbol, table, 0, table.len / @sizeOf(elf.Symbol));
        var functions: std.ArrayList(Function) = .empty;
        for (symbols) |symbol| {
            const kind = symbol.info & 15;
            if (kind != kind_function and kind != kind_indirect_function) continue;
            if (symbol.section == 0 or symbol.name == 0) continue;
            try functions.append(arena, .{
                .start = symbol.value,
                .end = if (symbol.size == 0)
                    image.sectionEnd(symbol.section) orelse continue
                else
                    symbol.value +| symbol.size,
                .open = symbol.size == 0,
                .name = symbol.name,
                .rank = switch (symbol.info >> 4) {
                    binding_local => 2,
                    binding_weak => 1,
                    else => 0,
                },
            });
        }
        std.mem.sortUnstable(Function, functions.items, {}, before);
        return .{ .functions = functions.items, .strings = strings };
    }

    /// Of several names for one address the global one comes last: it is found first.
    fn before(_: void, left: Function, right: Function) bool {
        if (left.start != right.start) return left.start < right.start;
        if (left.rank != right.rank) return left.rank > right.rank;
        return left.name < right.name;
    }

    /// The function that holds `address`.
    pub fn find(names: *const Names, address: u64) ?Name {
        var low: usize = 0;
        var high: usize = names.functions.len;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (names.functions[middle].start <= address) low = middle + 1 else high = middle;
        }
        // Functions may lie within functions: a few are looked at.
        var tries: u32 = 0;
        while (low > 0 and tries < 8) : (tries += 1) {
            low -= 1;
            const function = &names.functions[low];
            if (address >= function.end or (function.open and tries > 0)) continue;
            const text = cursor.stringAt(names.strings, function.name) catch return null;
            return .{ .start = function.start, .text = text };
        }
        return null;
    }
};
