//! The mappings of this process, as /proc/self/maps (proc_pid_maps(5)) lists them: by address.

const std = @import("std");
const sys = @import("../sys.zig").machine;
const assert = std.debug.assert;

pub const Mapping = struct {
    start: u64,
    end: u64,
    /// Bits as mprotect takes them: `sys.protection_read` and its kin.
    protection: u32,
    /// Where in its file it begins.
    offset: u64,
    /// Device and inode as the kernel prints them; "00:00 0" for anonymous memory.
    file: []const u8,
    /// A file's path, or a name in brackets; empty for other anonymous memory.
    path: []const u8,

    pub fn anonymous(mapping: *const Mapping) bool {
        return std.mem.startsWith(u8, mapping.file, "00:00 0");
    }
    pub fn writable(mapping: *const Mapping) bool {
        return mapping.protection & sys.protection_write != 0;
    }
    pub fn executable(mapping: *const Mapping) bool {
        return mapping.protection & sys.protection_execute != 0;
    }
};

/// Reads one line: range, permissions, offset, device, inode, and a path padded with spaces.
pub fn parse(line: []const u8) ?Mapping {
    var fields = std.mem.tokenizeScalar(u8, line, ' ');
    var range = std.mem.splitScalar(u8, fields.next() orelse return null, '-');
    const permissions = fields.next() orelse return null;
    const offset = fields.next() orelse return null;
    const device = fields.next() orelse return null;
    const inode = fields.next() orelse return null;
    if (permissions.len < 4) return null;
    const read: u32 = if (permissions[0] == 'r') sys.protection_read else 0;
    const write: u32 = if (permissions[1] == 'w') sys.protection_write else 0;
    const execute: u32 = if (permissions[2] == 'x') sys.protection_execute else 0;
    const length = @intFromPtr(inode.ptr) + inode.len - @intFromPtr(device.ptr);
    return .{
        .start = std.fmt.parseInt(u64, range.first(), 16) catch return null,
        .end = std.fmt.parseInt(u64, range.next() orelse return null, 16) catch return null,
        .protection = read | write | execute,
        .offset = std.fmt.parseInt(u64, offset, 16) catch return null,
        .file = device.ptr[0..length],
        .path = fields.rest(),
    };
}

/// A line is a little longer than the longest path, PATH_MAX bytes.
const line_max = 4096 + 256;

/// Goes through the mappings in the order of their addresses. It maps no memory of its own, which
/// would be listed too. The kernel continues after the last mapping that it gave, so none is lost
/// between two reads but those that change meanwhile.
pub const Reader = struct {
    descriptor: u32,
    buffer: [2 * line_max]u8 = undefined,
    start: usize = 0,
    end: usize = 0,

    pub fn open() ?Reader {
        return .{ .descriptor = sys.openRead("/proc/self/maps") orelse return null };
    }

    pub fn close(reader: *Reader) void {
        sys.close(reader.descriptor);
    }

    /// The next mapping, valid until the one after it; null at the end.
    pub fn next(reader: *Reader) ?Mapping {
        while (reader.line()) |text| {
            if (parse(text)) |mapping| return mapping;
        }
        return null;
    }

    fn line(reader: *Reader) ?[]const u8 {
        while (true) {
            const rest = reader.buffer[reader.start..reader.end];
            if (std.mem.indexOfScalar(u8, rest, '\n')) |length| {
                reader.start += length + 1;
                return rest[0..length];
            }
            // A line that does not fit is cut; its rest parses as no mapping.
            if (rest.len >= line_max or !reader.fill()) {
                reader.start = reader.end;
                return if (rest.len == 0) null else rest;
            }
        }
    }

    fn fill(reader: *Reader) bool {
        const rest = reader.end - reader.start;
        assert(rest < line_max);
        std.mem.copyForwards(u8, &reader.buffer, reader.buffer[reader.start..reader.end]);
        reader.start = 0;
        reader.end = rest;
        const count = sys.read(reader.descriptor, reader.buffer[rest..]) orelse return false;
        reader.end += count;
        return count != 0;
    }
};

test "parse reads a file's line, an anonymous one and the last page of the address space" {
    const expectEqual = std.testing.expectEqual;
    const expectEqualStrings = std.testing.expectEqualStrings;
    const file = parse("7f01-7f02 r-xp 00003000 fe:00 77                 /lib/a b (deleted)").?;
    try expectEqual(0x7f01, file.start);
    try expectEqual(0x7f02, file.end);
    try expectEqual(sys.protection_read | sys.protection_execute, file.protection);
    try expectEqual(0x3000, file.offset);
    try expectEqualStrings("fe:00 77", file.file);
    try expectEqualStrings("/lib/a b (deleted)", file.path);
    try std.testing.expect(!file.anonymous());
    const bare = parse("7f01-7f02 -w-p 00000000 00:00 0 ").?;
    try expectEqualStrings("", bare.path);
    try std.testing.expect(bare.anonymous() and bare.writable() and !bare.executable());
    const last = parse("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0      [vsyscall]").?;
    try expectEqual(0xffff_ffff_ff60_1000, last.end);
    try expectEqualStrings("[vsyscall]", last.path);
    try expectEqual(null, parse("7f01-7f02 r-xp"));
    try expectEqual(null, parse(""));
}

test "Reader gives the mappings in order, this program's among them" {
    var reader = Reader.open().?;
    defer reader.close();
    const here = @intFromPtr(&parse);
    var found = false;
    var end: u64 = 0;
    while (reader.next()) |mapping| {
        try std.testing.expect(mapping.start >= end and mapping.end > mapping.start);
        end = mapping.end;
        if (here >= mapping.start and here < mapping.end) found = mapping.executable();
    }
    try std.testing.expect(found);
}
