//! A loaded ELF file, read through loads that may fail: headers, build id, dynamic symbols.
//!
//! Layouts: System V gABI chapters 4 and 5 (`Elf64_Ehdr`, `Elf64_Phdr`, `Elf64_Dyn`, `Elf64_Sym`),
//! as in glibc's elf.h; DT_GNU_HASH as the GNU tools write it.

const std = @import("std");
const trampoline = @import("../../trampoline.zig").machine;
const assert = std.debug.assert;

const Header = extern struct {
    magic: [4]u8,
    class: u8,
    _ident: [11]u8,
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    segments: u64,
    sections: u64,
    flags: u32,
    size: u16,
    segment_size: u16,
    segment_count: u16,
    _sections: [3]u16,

    comptime {
        assert(@sizeOf(Header) == 64);
    }
};

const ProgramHeader = extern struct {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    _physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,

    comptime {
        assert(@sizeOf(ProgramHeader) == 56);
    }
};

pub const Symbol = extern struct {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,

    comptime {
        assert(@sizeOf(Symbol) == 24);
    }
};

const pt_load = 1;
const pt_dynamic = 2;
const pt_note = 4;
const pt_gnu_eh_frame = 0x6474e550;

const dt_hash = 4;
const dt_strtab = 5;
const dt_symtab = 6;
const dt_strsz = 10;
const dt_gnu_hash = 0x6fff_fef5;

const segments_max = 8;
const headers_max = 24;
pub const build_id_max = 64;

const Segment = struct { offset: u64, address: u64, file_size: u64 };

/// Reads a struct or number; null when it is not there.
pub fn load(comptime T: type, address: u64) ?T {
    var bytes: [@sizeOf(T)]u8 = undefined;
    if (trampoline.probeCopy(&bytes, address) != bytes.len) return null;
    return @bitCast(bytes);
}

fn loadStruct(comptime T: type, address: u64, into: *T) bool {
    const bytes = std.mem.asBytes(into);
    return trampoline.probeCopy(bytes, address) == bytes.len;
}

pub const Image = struct {
    base: u64,
    /// What is to be added to an address of the file's own numbering.
    bias: u64 = 0,
    /// The lowest address of the file's own numbering.
    lowest: u64 = 0,
    segments: [segments_max]Segment = undefined,
    segment_count: usize = 0,
    build_id: [build_id_max]u8 = undefined,
    build_id_length: usize = 0,
    /// Where .eh_frame_hdr is in memory; 0 without.
    frame_header: u64 = 0,
    symbols: u64 = 0,
    strings: u64 = 0,
    strings_length: u64 = 0,
    symbol_count: u64 = 0,

    /// Reads the file whose first page is at `base`; null when it is none.
    pub noinline fn read(base: u64) ?Image {
        var header: Header = undefined;
        if (!loadStruct(Header, base, &header)) return null;
        if (!std.mem.eql(u8, &header.magic, "\x7fELF") or header.class != 2) return null;
        if (header.segment_size != @sizeOf(ProgramHeader)) return null;
        var image: Image = .{ .base = base };
        var headers: [headers_max]ProgramHeader = undefined;
        const count = @min(header.segment_count, headers_max);
        for (headers[0..count], 0..) |*one, index| {
            const at = base +% header.segments +% index * @sizeOf(ProgramHeader);
            if (!loadStruct(ProgramHeader, at, one)) return null;
        }
        image.noteSegments(headers[0..count]);
        for (headers[0..count]) |*one| switch (one.kind) {
            pt_note => image.noteBuildId(image.bias +% one.address, one.file_size),
            pt_gnu_eh_frame => image.frame_header = image.bias +% one.address,
            pt_dynamic => image.noteDynamic(image.bias +% one.address, one.memory_size),
            else => {},
        };
        return image;
    }

    fn noteSegments(image: *Image, headers: []const ProgramHeader) void {
        for (headers) |*one| {
            if (one.kind != pt_load or image.segment_count == segments_max) continue;
            if (image.segment_count == 0) {
                image.lowest = one.address & ~@as(u64, 4095);
                image.bias = image.base -% (one.address -% one.offset);
            }
            image.segments[image.segment_count] = .{
                .offset = one.offset,
                .address = one.address,
                .file_size = one.file_size,
            };
            image.segment_count += 1;
        }
    }

    fn noteBuildId(image: *Image, start: u64, length: u64) void {
        const end = start +% @min(length, 4096);
        var at = start;
        while (image.build_id_length == 0 and at +% 12 <= end) {
            const note = load([3]u32, at) orelse return;
            const name_length = std.mem.alignForward(u64, note[0], 4);
            const content = at + 12 + name_length;
            const owner = load([4]u8, at + 12) orelse return;
            if (note[2] == 3 and note[0] == 4 and std.mem.eql(u8, &owner, "GNU\x00")) {
                const wanted = @min(note[1], build_id_max);
                if (trampoline.probeCopy(image.build_id[0..wanted], content) != wanted) return;
                image.build_id_length = wanted;
            }
            at = content + std.mem.alignForward(u64, note[1], 4);
        }
    }

    fn noteDynamic(image: *Image, start: u64, length: u64) void {
        var hash: u64 = 0;
        var gnu_hash: u64 = 0;
        var at = start;
        while (at < start +% @min(length, 4096)) : (at += 16) {
            const entry = load([2]u64, at) orelse return;
            switch (entry[0]) {
                0 => break,
                dt_hash => hash = image.absolute(entry[1]),
                dt_gnu_hash => gnu_hash = image.absolute(entry[1]),
                dt_strtab => image.strings = image.absolute(entry[1]),
                dt_symtab => image.symbols = image.absolute(entry[1]),
                dt_strsz => image.strings_length = entry[1],
                else => {},
            }
        }
        if (image.symbols == 0 or image.strings == 0) return;
        if (hash != 0) {
            const counts = load([2]u32, hash) orelse return;
            image.symbol_count = counts[1];
        } else if (gnu_hash != 0) image.symbol_count = countByGnuHash(gnu_hash);
    }

    /// Some loaders relocate the table, some do not.
    fn absolute(image: *const Image, value: u64) u64 {
        return if (value >= image.base and image.bias != 0) value else image.bias +% value;
    }

    /// The address, in the file's own numbering, of what lies at `offset` of the file.
    pub fn addressOf(image: *const Image, offset: u64) ?u64 {
        for (image.segments[0..image.segment_count]) |segment| {
            if (offset < segment.offset) continue;
            if (offset - segment.offset >= segment.file_size) continue;
            return segment.address -% segment.offset +% offset;
        }
        return null;
    }

    pub fn buildId(image: *const Image) []const u8 {
        return image.build_id[0..image.build_id_length];
    }

    /// The function that holds `address` of the file's own numbering.
    pub noinline fn find(image: *const Image, address: u64) ?Symbol {
        var chunk: [64]Symbol = undefined;
        var found: ?Symbol = null;
        var index: u64 = 0;
        while (index < image.symbol_count) : (index += chunk.len) {
            const count: usize = @intCast(@min(chunk.len, image.symbol_count - index));
            const bytes = std.mem.sliceAsBytes(chunk[0..count]);
            const at = image.symbols +% index * @sizeOf(Symbol);
            if (trampoline.probeCopy(bytes, at) != bytes.len) break;
            for (chunk[0..count]) |symbol| {
                if (holds(&symbol, address) and isBetter(&symbol, found)) found = symbol;
            }
        }
        return found;
    }

    /// Copies a symbol's name as far as it fits.
    pub noinline fn nameOf(image: *const Image, symbol: *const Symbol, into: []u8) []const u8 {
        if (symbol.name >= image.strings_length) return into[0..0];
        const length = @min(into.len, image.strings_length - symbol.name);
        const copied = trampoline.probeCopy(into[0..length], image.strings +% symbol.name);
        const end = std.mem.indexOfScalar(u8, into[0..copied], 0) orelse copied;
        return into[0..end];
    }
};

fn holds(symbol: *const Symbol, address: u64) bool {
    const kind = symbol.info & 15;
    const is_code = kind == 0 or kind == 2 or kind == 10; // NOTYPE, FUNC, GNU_IFUNC
    if (!is_code or symbol.section == 0 or address < symbol.value) return false;
    return address - symbol.value < @max(symbol.size, 1);
}

/// A global name is better than a weak one: aliases share an address.
fn isBetter(symbol: *const Symbol, found: ?Symbol) bool {
    const other = found orelse return true;
    if (symbol.value != other.value) return symbol.value > other.value;
    return symbol.info >> 4 == 1 and other.info >> 4 != 1;
}

/// The highest index in any chain, and one.
fn countByGnuHash(table: u64) u64 {
    const head = load([4]u32, table) orelse return 0; // buckets, first symbol, bloom words, shift
    const buckets = table +% 16 +% @as(u64, head[2]) * 8;
    const chains = buckets +% @as(u64, head[0]) * 4;
    var highest: u32 = 0;
    var chunk: [256]u32 = undefined;
    var index: u64 = 0;
    while (index < head[0]) : (index += chunk.len) {
        const count: usize = @intCast(@min(chunk.len, head[0] - index));
        const bytes = std.mem.sliceAsBytes(chunk[0..count]);
        if (trampoline.probeCopy(bytes, buckets +% index * 4) != bytes.len) return 0;
        for (chunk[0..count]) |first| highest = @max(highest, first);
    }
    if (highest < head[1]) return head[1];
    const limit = 1 << 20;
    for (0..limit) |_| {
        const hash = load(u32, chains +% @as(u64, highest - head[1]) * 4) orelse return highest;
        highest += 1;
        if (hash & 1 != 0) return highest;
    }
    return highest;
}
