//! Text into a buffer of a fixed size. What does not fit is dropped, and noted. Nothing is inlined:
//! there are hundreds of calls, and each happens once.

const std = @import("std");

pub const Out = struct {
    bytes: []u8,
    used: usize = 0,
    cut: bool = false,

    pub fn written(out: *const Out) []const u8 {
        return out.bytes[0..out.used];
    }

    pub noinline fn text(out: *Out, value: []const u8) void {
        const room = out.bytes.len - out.used;
        const length = @min(room, value.len);
        @memcpy(out.bytes[out.used..][0..length], value[0..length]);
        out.used += length;
        out.cut = out.cut or length < value.len;
    }

    pub noinline fn texts(out: *Out, values: []const []const u8) void {
        for (values) |value| out.text(value);
    }

    pub noinline fn byte(out: *Out, value: u8) void {
        out.text(&.{value});
    }

    /// "0x7f00".
    pub noinline fn hex(out: *Out, value: u64) void {
        out.text("0x");
        out.digits(value, 16, 1);
    }

    /// "0x00007f00" with `width` digits at least.
    pub noinline fn address(out: *Out, value: u64, width: usize) void {
        out.text("0x");
        out.digits(value, 16, width);
    }

    pub noinline fn decimal(out: *Out, value: u64) void {
        out.digits(value, 10, 1);
    }

    pub noinline fn signed(out: *Out, value: i64) void {
        if (value < 0) out.byte('-');
        out.digits(@abs(value), 10, 1);
    }

    pub noinline fn digits(out: *Out, value: u64, base: u64, width: usize) void {
        var buffer: [64]u8 = undefined;
        var at: usize = buffer.len;
        var rest = value;
        while (rest != 0 or buffer.len - at < width) {
            at -= 1;
            buffer[at] = "0123456789abcdef"[@intCast(rest % base)];
            rest /= base;
        }
        out.text(buffer[at..]);
    }

    /// Bytes as pairs of digits.
    pub noinline fn hexBytes(out: *Out, bytes: []const u8, separator: []const u8) void {
        for (bytes, 0..) |value, index| {
            if (index != 0) out.text(separator);
            out.digits(value, 16, 2);
        }
    }

    /// A text in quotes, as JSON has it. What is no UTF-8 becomes U+FFFD.
    pub noinline fn quoted(out: *Out, value: []const u8) void {
        out.byte('"');
        var at: usize = 0;
        while (at < value.len) {
            const first = value[at];
            const length = sequenceLength(value[at..]) orelse {
                out.text("\u{fffd}");
                at += 1;
                continue;
            };
            switch (first) {
                '"', '\\' => out.texts(&.{ "\\", &.{first} }),
                0...0x1f, 0x7f => {
                    out.text("\\u");
                    out.digits(first, 16, 4);
                },
                else => out.text(value[at..][0..length]),
            }
            at += length;
        }
        out.byte('"');
    }

    pub noinline fn base64(out: *Out, bytes: []const u8) void {
        const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        var at: usize = 0;
        while (at < bytes.len) : (at += 3) {
            const length = @min(bytes.len - at, 3);
            var group: [3]u8 = @splat(0);
            @memcpy(group[0..length], bytes[at..][0..length]);
            const bits = @as(u24, group[0]) << 16 | @as(u24, group[1]) << 8 | group[2];
            for (0..4) |index| {
                const shift: u5 = @intCast(18 - 6 * index);
                out.byte(if (index <= length) alphabet[bits >> shift & 63] else '=');
            }
        }
    }

    /// A text for people: without what could steer a terminal.
    pub noinline fn plain(out: *Out, value: []const u8) void {
        for (value) |one| out.byte(if (one < 0x20 or one == 0x7f) '?' else one);
    }
};

fn sequenceLength(bytes: []const u8) ?usize {
    const length = std.unicode.utf8ByteSequenceLength(bytes[0]) catch return null;
    if (length > bytes.len) return null;
    return if (std.unicode.utf8ValidateSlice(bytes[0..length])) length else null;
}

test "Out writes numbers, quotes and base64, and drops what does not fit" {
    const expectEqualStrings = std.testing.expectEqualStrings;
    var buffer: [64]u8 = undefined;
    var out: Out = .{ .bytes = &buffer };
    out.hex(0);
    out.byte(' ');
    out.address(0xabc, 6);
    out.byte(' ');
    out.signed(-6);
    try expectEqualStrings("0x0 0x000abc -6", out.written());
    out.used = 0;
    out.quoted("a\"\\\n\xff\u{e9}");
    try expectEqualStrings("\"a\\\"\\\\\\u000a\u{fffd}\u{e9}\"", out.written());
    for ([_][]const u8{ "", "YQ==", "YWI=", "YWJj" }, 0..) |expected, length| {
        out.used = 0;
        out.base64("abc"[0..length]);
        try expectEqualStrings(expected, out.written());
    }
    out.used = 60;
    out.text("abcde");
    try std.testing.expect(out.cut and out.used == 64);
}
