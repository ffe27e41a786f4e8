//! Reads bytes that may be damaged: everything is checked, nothing is trusted.

const std = @import("std");

pub const Error = error{ Malformed, OutOfMemory };

pub const Cursor = struct {
    bytes: []const u8,
    at: usize = 0,

    /// A cursor at `offset`; offsets past the end are malformed.
    pub fn from(bytes: []const u8, offset: u64) Error!Cursor {
        if (offset > bytes.len) return error.Malformed;
        return .{ .bytes = bytes, .at = @intCast(offset) };
    }

    pub fn done(cursor: *const Cursor) bool {
        return cursor.at >= cursor.bytes.len;
    }

    pub fn take(cursor: *Cursor, length: u64) Error![]const u8 {
        if (length > cursor.bytes.len - cursor.at) return error.Malformed;
        const start = cursor.at;
        cursor.at += @intCast(length);
        return cursor.bytes[start..cursor.at];
    }

    pub fn skip(cursor: *Cursor, length: u64) Error!void {
        _ = try cursor.take(length);
    }

    pub fn int(cursor: *Cursor, comptime T: type) Error!T {
        const bytes = try cursor.take(@divExact(@bitSizeOf(T), 8));
        return std.mem.readInt(T, bytes[0..@divExact(@bitSizeOf(T), 8)], .little);
    }

    /// An offset of the 32-bit or the 64-bit DWARF format.
    pub fn reference(cursor: *Cursor, wide: bool) Error!u64 {
        return if (wide) try cursor.int(u64) else try cursor.int(u32);
    }

    /// ULEB128; bits past 64 are dropped.
    pub fn uleb(cursor: *Cursor) Error!u64 {
        var result: u64 = 0;
        var shift: u32 = 0;
        while (true) {
            const byte = try cursor.int(u8);
            if (shift < 64) result |= @as(u64, byte & 0x7f) << @intCast(shift);
            if (byte & 0x80 == 0) return result;
            shift +|= 7;
        }
    }

    /// SLEB128; bits past 64 are dropped.
    pub fn sleb(cursor: *Cursor) Error!i64 {
        var result: u64 = 0;
        var shift: u32 = 0;
        while (true) {
            const byte = try cursor.int(u8);
            if (shift < 64) result |= @as(u64, byte & 0x7f) << @intCast(shift);
            shift +|= 7;
            if (byte & 0x80 != 0) continue;
            if (byte & 0x40 != 0 and shift < 64) result |= ~@as(u64, 0) << @intCast(shift);
            return @bitCast(result);
        }
    }

    /// A string that ends with a zero byte, without it.
    pub fn string(cursor: *Cursor) Error![]const u8 {
        const rest = cursor.bytes[cursor.at..];
        const length = std.mem.indexOfScalar(u8, rest, 0) orelse return error.Malformed;
        cursor.at += length + 1;
        return rest[0..length];
    }
};

/// The string at `offset` of a string section.
pub fn stringAt(bytes: []const u8, offset: u64) Error![]const u8 {
    var cursor = try Cursor.from(bytes, offset);
    return cursor.string();
}

test "Cursor reads numbers of every form and refuses to pass the end" {
    const expectEqual = std.testing.expectEqual;
    var cursor: Cursor = .{ .bytes = &.{ 0xe5, 0x8e, 0x26, 0xc0, 0xbb, 0x78, 0x34, 0x12, 'a', 0 } };
    try expectEqual(624485, try cursor.uleb());
    try expectEqual(-123456, try cursor.sleb());
    try expectEqual(0x1234, try cursor.int(u16));
    try std.testing.expectEqualStrings("a", try cursor.string());
    try std.testing.expect(cursor.done());
    try std.testing.expectError(error.Malformed, cursor.int(u8));
    try std.testing.expectError(error.Malformed, Cursor.from("abc", 4));
}
