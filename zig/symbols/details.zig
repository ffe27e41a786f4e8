//! What a module's files say: its symbol table and its debug information, which may lie in a file
//! of its own, found by build id or by name as gdb finds it.

const std = @import("std");
const elf = @import("elf.zig");
const file = @import("file.zig");
const cursor = @import("cursor.zig");
const Debug = @import("debug.zig").Debug;
const Names = @import("names.zig").Names;

const debug_folder = "/usr/lib/debug";

pub const Details = struct {
    names: Names,
    debug: ?Debug,

    /// Reads what there is; anything damaged counts as missing.
    pub fn read(arena: std.mem.Allocator, image: *const elf.Image, path: []const u8) Details {
        var details: Details = .{ .names = .none, .debug = null };
        details.debug = Debug.read(arena, image) catch null;
        details.names = Names.read(arena, image, false) catch .none;
        if (details.debug == null or details.names.functions.len == 0) {
            if (separate(arena, image, path)) |other| {
                if (details.debug == null) details.debug = Debug.read(arena, &other) catch null;
                if (details.names.functions.len == 0) {
                    details.names = Names.read(arena, &other, false) catch .none;
                }
            }
        }
        if (details.names.functions.len == 0) {
            details.names = Names.read(arena, image, true) catch .none;
        }
        return details;
    }
};

/// The file that holds what was stripped from `image`.
fn separate(arena: std.mem.Allocator, image: *const elf.Image, path: []const u8) ?elf.Image {
    if (image.buildId(arena)) |id| {
        if (byBuildId(id)) |found| return found;
    }
    const link = image.content(arena, ".gnu_debuglink") orelse return null;
    const name = cursor.stringAt(link, 0) catch return null;
    // The checksum follows the name, at the next multiple of four.
    const at = std.mem.alignForward(usize, name.len + 1, 4);
    var reader = cursor.Cursor.from(link, at) catch return null;
    const checksum = reader.int(u32) catch return null;
    const folder = std.fs.path.dirnamePosix(path) orelse "/";
    const places = [_][]const []const u8{
        &.{ folder, "/", name },
        &.{ folder, "/.debug/", name },
        &.{ debug_folder, folder, "/", name },
    };
    for (places) |parts| {
        const candidate = std.mem.concat(arena, u8, parts) catch return null;
        const bytes = file.map(candidate, null) orelse continue;
        if (std.hash.Crc32.hash(bytes) != checksum) {
            file.unmap(bytes);
            continue;
        }
        return elf.Image.init(bytes) catch continue;
    }
    return null;
}

fn byBuildId(id: []const u8) ?elf.Image {
    var buffer: [256]u8 = undefined;
    if (id.len < 2) return null;
    const path = std.fmt.bufPrint(&buffer, debug_folder ++ "/.build-id/{x}/{x}.debug", .{
        id[0..1],
        id[1..],
    }) catch return null;
    return elf.Image.init(file.map(path, null) orelse return null) catch null;
}
