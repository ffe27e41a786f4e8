//! Finds exported functions of a loaded library by its own hash table: where they are and how long.
//! The loader's dladdr1 says the same, and goes through every symbol for each question.
//!
//! Formats: the ELF specification's dynamic section and symbol table; DT_GNU_HASH as linkers write
//! it. `struct link_map` is that of link.h, which dlopen's handles point to in glibc and musl.

const std = @import("std");

const LinkMap = extern struct { base: u64, name: ?[*:0]const u8, dynamic: [*]const [2]u64 };

const tag_end = 0;
const tag_strings = 5;
const tag_symbols = 6;
const tag_hash = 0x6fff_fef5;

pub const Extent = struct { start: u64, end: u64 };

pub const Exports = struct {
    base: u64,
    symbols: [*]const std.elf.Elf64.Sym,
    strings: [*]const u8,
    hash: [*]const u32,

    /// `handle` is what dlopen returned; null when the library has no such table.
    pub fn of(handle: *anyopaque) ?Exports {
        const map: *const LinkMap = @ptrCast(@alignCast(handle));
        var found: [3]u64 = @splat(0);
        var entry = map.dynamic;
        while (entry[0][0] != tag_end) : (entry += 1) {
            const index: usize = switch (entry[0][0]) {
                tag_symbols => 0,
                tag_strings => 1,
                tag_hash => 2,
                else => continue,
            };
            // glibc has made addresses of them already, musl has not.
            const value = entry[0][1];
            found[index] = if (value < map.base) value + map.base else value;
        }
        if (found[0] == 0 or found[1] == 0 or found[2] == 0) return null;
        return .{
            .base = map.base,
            .symbols = @ptrFromInt(found[0]),
            .strings = @ptrFromInt(found[1]),
            .hash = @ptrFromInt(found[2]),
        };
    }

    /// Null when there is no such function, or one whose address is decided at run time (IFUNC).
    pub fn find(exports: *const Exports, name: [:0]const u8) ?Extent {
        const bucket_count = exports.hash[0];
        const first_symbol = exports.hash[1];
        const filter_words = exports.hash[2];
        if (bucket_count == 0) return null;
        const buckets = exports.hash + 4 + 2 * filter_words;
        const chain = buckets + bucket_count;
        const wanted = hashOf(name);
        var index = buckets[wanted % bucket_count];
        if (index < first_symbol) return null;
        while (true) : (index += 1) {
            const hash = chain[index - first_symbol];
            if (hash | 1 == wanted | 1) {
                if (exports.extent(index, name)) |range| return range;
            }
            if (hash & 1 != 0) return null;
        }
    }

    fn extent(exports: *const Exports, index: u32, name: [:0]const u8) ?Extent {
        const symbol = &exports.symbols[index];
        const text: [*:0]const u8 = @ptrCast(exports.strings + symbol.name);
        if (!std.mem.eql(u8, std.mem.span(text), name)) return null;
        const function = 2; // STT_FUNC
        const kind: u8 = @bitCast(symbol.info);
        if (kind & 0x0f != function or symbol.value == 0 or symbol.size == 0) return null;
        const start = exports.base + symbol.value;
        return .{ .start = start, .end = start + symbol.size };
    }
};

fn hashOf(name: []const u8) u32 {
    var hash: u32 = 5381;
    for (name) |letter| hash = hash *% 33 +% letter;
    return hash;
}

test "hashOf is the hash of the GNU linker" {
    try std.testing.expectEqual(0x0000_1505, hashOf(""));
    try std.testing.expectEqual(0x156b_2bb8, hashOf("printf"));
    try std.testing.expectEqual(0x7c96_7e3f, hashOf("exit"));
}
