//! An ELF file in memory: segments, sections by name, build id. Nothing in it is trusted.
//!
//! Layouts: System V gABI chapter 4 (`Elf64_Ehdr`, `Elf64_Shdr`, `Elf64_Sym`, `Elf64_Chdr`) and
//! chapter 5 (`Elf64_Phdr`), as in glibc's elf.h.

const std = @import("std");
const builtin = @import("builtin");
const cursor = @import("cursor.zig");
const Cursor = cursor.Cursor;
const Error = cursor.Error;
const assert = std.debug.assert;

const Header = extern struct {
    magic: [4]u8,
    class: u8,
    order: u8,
    _ident: [10]u8,
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
    section_size: u16,
    section_count: u16,
    section_names: u16,

    comptime {
        assert(@sizeOf(Header) == 64);
        assert(@offsetOf(Header, "segments") == 32);
    }
};

pub const Segment = extern struct {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    _physical: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,

    comptime {
        assert(@sizeOf(Segment) == 56);
    }
};

const Section = extern struct {
    name: u32,
    kind: u32,
    flags: u64,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    alignment: u64,
    entry_size: u64,

    comptime {
        assert(@sizeOf(Section) == 64);
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

const Compression = extern struct { kind: u32, _reserved: u32, size: u64, alignment: u64 };

const pt_load = 1;
pub const pt_gnu_eh_frame = 0x6474e550;
const sht_nobits = 8;
const shf_compressed = 0x800;
const compress_zlib = 1;
/// EM_X86_64 and EM_AARCH64.
const machine_own: u16 = switch (builtin.cpu.arch) {
    .x86_64 => 62,
    .aarch64 => 183,
    else => @compileError("no ELF machine for this architecture yet"),
};
const class_64 = 2;
const order_little = 1;

/// Debug sections above this size are taken for damaged.
const section_max = 1 << 31;

/// A file's bytes, mapped or in memory.
pub const Image = struct {
    bytes: []const u8,
    header: Header,

    pub fn init(bytes: []const u8) Error!Image {
        const header = (try structs(Header, bytes, 0, 1))[0];
        if (!std.mem.eql(u8, &header.magic, "\x7fELF")) return error.Malformed;
        if (header.class != class_64 or header.order != order_little) return error.Malformed;
        if (header.machine != machine_own) return error.Malformed;
        return .{ .bytes = bytes, .header = header };
    }

    pub fn segments(image: *const Image) Error![]align(1) const Segment {
        if (image.header.segment_size != @sizeOf(Segment)) return error.Malformed;
        return structs(Segment, image.bytes, image.header.segments, image.header.segment_count);
    }

    fn sections(image: *const Image) Error![]align(1) const Section {
        if (image.header.section_size != @sizeOf(Section)) return error.Malformed;
        return structs(Section, image.bytes, image.header.sections, image.header.section_count);
    }

    /// Where the section with this index ends, in the file's own numbering; null without one.
    pub fn sectionEnd(image: *const Image, index: u16) ?u64 {
        const all = image.sections() catch return null;
        return if (index < all.len) all[index].address +| all[index].size else null;
    }

    fn find(image: *const Image, name: []const u8) Error!?Section {
        const all = try image.sections();
        if (image.header.section_names >= all.len) return null;
        const names = try image.raw(&all[image.header.section_names]);
        for (all) |section| {
            const own = cursor.stringAt(names, section.name) catch continue;
            if (std.mem.eql(u8, own, name)) return section;
        }
        return null;
    }

    fn raw(image: *const Image, section: *align(1) const Section) Error![]const u8 {
        if (section.kind == sht_nobits) return &.{};
        return slice(image.bytes, section.offset, section.size);
    }

    /// Content of a section, decompressed into `arena` where it is compressed; null when there is
    /// none, or when the compression is not known.
    pub fn content(image: *const Image, arena: std.mem.Allocator, name: []const u8) ?[]const u8 {
        const found = (image.find(name) catch return null) orelse return null;
        const bytes = image.raw(&found) catch return null;
        if (bytes.len == 0) return null;
        if (found.flags & shf_compressed == 0) return bytes;
        return decompress(arena, bytes) catch null;
    }

    /// Where an address of the file's own numbering lies in the file, to the end of its segment.
    pub fn at(image: *const Image, address: u64) Error![]const u8 {
        for (try image.segments()) |segment| {
            if (segment.kind != pt_load or address < segment.address) continue;
            const distance = address - segment.address;
            if (distance >= segment.file_size) continue;
            const bytes = try slice(image.bytes, segment.offset, segment.file_size);
            return bytes[@intCast(distance)..];
        }
        return error.Malformed;
    }

    /// The address, in the file's own numbering, of what lies at `offset` of the file.
    pub fn addressOf(image: *const Image, offset: u64) ?u64 {
        for (image.segments() catch return null) |segment| {
            if (segment.kind != pt_load or offset < segment.offset) continue;
            const distance = offset - segment.offset;
            if (distance < segment.file_size) return segment.address +% distance;
        }
        return null;
    }

    /// The lowest address that the file loads, in its own numbering.
    pub fn lowest(image: *const Image) u64 {
        for (image.segments() catch return 0) |segment| {
            if (segment.kind == pt_load) return segment.address & ~@as(u64, 4095);
        }
        return 0;
    }

    /// The build id: a note of the owner "GNU", of type 3.
    pub fn buildId(image: *const Image, arena: std.mem.Allocator) ?[]const u8 {
        const note = image.content(arena, ".note.gnu.build-id") orelse return null;
        var reader: Cursor = .{ .bytes = note };
        const name_size = reader.int(u32) catch return null;
        const size = reader.int(u32) catch return null;
        const kind = reader.int(u32) catch return null;
        if (name_size != 4 or kind != 3) return null;
        reader.skip(4) catch return null;
        return reader.take(size) catch null;
    }
};

fn slice(bytes: []const u8, offset: u64, size: u64) Error![]const u8 {
    if (offset > bytes.len or size > bytes.len - offset) return error.Malformed;
    return bytes[@intCast(offset)..][0..@intCast(size)];
}

/// `count` structs at `offset`, wherever they are aligned.
pub fn structs(
    comptime T: type,
    bytes: []const u8,
    offset: u64,
    count: u64,
) Error![]align(1) const T {
    const size = std.math.mul(u64, count, @sizeOf(T)) catch return error.Malformed;
    return std.mem.bytesAsSlice(T, try slice(bytes, offset, size));
}

fn decompress(arena: std.mem.Allocator, bytes: []const u8) Error![]const u8 {
    const header = (try structs(Compression, bytes, 0, 1))[0];
    if (header.kind != compress_zlib or header.size > section_max) return error.Malformed;
    const into = try arena.alloc(u8, @intCast(header.size));
    var input: std.Io.Reader = .fixed(bytes[@sizeOf(Compression)..]);
    var output: std.Io.Writer = .fixed(into);
    var stream: std.compress.flate.Decompress = .init(&input, .zlib, &.{});
    const count = stream.reader.streamRemaining(&output) catch return error.Malformed;
    if (count != into.len) return error.Malformed;
    return into;
}
