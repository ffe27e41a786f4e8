//! Files of the loaded modules and of their debug information, mapped for as long as the process
//! lives.

const std = @import("std");
const linux = std.os.linux;
const sys = @import("../sys.zig").machine;

pub const path_max = 4096;

/// The whole file, read-only; null when it cannot be opened, is empty, or has another inode than
/// the one asked for, because another file took its name.
pub fn map(path: []const u8, inode: ?u64) ?[]const u8 {
    var buffer: [path_max]u8 = undefined;
    if (path.len >= buffer.len) return null;
    @memcpy(buffer[0..path.len], path);
    buffer[path.len] = 0;
    const descriptor = sys.openRead(buffer[0..path.len :0]) orelse return null;
    defer sys.close(descriptor);
    const size = check(descriptor, inode) orelse return null;
    const address = sys.mapFile(descriptor, size) orelse return null;
    return @as([*]const u8, @ptrFromInt(address))[0..@intCast(size)];
}

pub fn unmap(bytes: []const u8) void {
    sys.unmap(@intFromPtr(bytes.ptr), bytes.len);
}

fn check(descriptor: u32, inode: ?u64) ?u64 {
    const at_empty_path = 0x1000;
    const want: linux.STATX = .{ .SIZE = true, .INO = true, .TYPE = true };
    var stat: linux.Statx = undefined;
    const result = linux.statx(@intCast(descriptor), "", at_empty_path, want, &stat);
    if (linux.errno(result) != .SUCCESS or stat.size == 0) return null;
    // Opening something else than a file may have effects, mapping it surely has.
    if (stat.mode & 0o170000 != 0o100000) return null;
    // The device is not compared: overlay file systems show another one in maps than here.
    const expected = inode orelse return stat.size;
    return if (stat.ino == expected) stat.size else null;
}
