//! The executable mappings of this process and the files behind them. Files stay mapped, and what
//! was read from them stays in memory, so that a later look-up finds it.

const std = @import("std");
const maps = @import("../inside/maps.zig");
const elf = @import("elf.zig");
const file = @import("file.zig");
const Details = @import("details.zig").Details;

pub const Module = struct {
    /// As the kernel prints it.
    path: []const u8,
    inode: u64,
    image: ?elf.Image,
    /// Read at the first look-up.
    details: ?Details = null,
};

pub const Range = struct {
    start: u64,
    end: u64,
    offset: u64,
    /// null for anonymous memory, where only a JIT compiler's code can be.
    module: ?*Module,
};

/// Where an address lies.
pub const Place = struct {
    module: *Module,
    image: *const elf.Image,
    /// In the file's own numbering.
    address: u64,
};

const allocator = std.heap.page_allocator;
var arena_state: std.heap.ArenaAllocator = .init(allocator);
var ranges: std.ArrayList(Range) = .empty;
var modules: std.ArrayList(*Module) = .empty;

/// Memory for what is kept.
pub fn arena() std.mem.Allocator {
    return arena_state.allocator();
}

/// Reads the mappings anew. Libraries may have been opened and closed since.
pub fn refresh() void {
    ranges.clearRetainingCapacity();
    var reader = maps.Reader.open() orelse return;
    defer reader.close();
    while (reader.next()) |mapping| {
        if (!mapping.executable()) continue;
        ranges.append(allocator, .{
            .start = mapping.start,
            .end = mapping.end,
            .offset = mapping.offset,
            .module = moduleOf(&mapping),
        }) catch return;
    }
}

const vdso = "[vdso]";

fn moduleOf(mapping: *const maps.Mapping) ?*Module {
    const is_vdso = std.mem.eql(u8, mapping.path, vdso);
    if (!is_vdso and (mapping.anonymous() or mapping.path.len == 0)) return null;
    const inode = inodeOf(mapping.file);
    for (modules.items) |module| {
        if (module.inode == inode and std.mem.eql(u8, module.path, mapping.path)) return module;
    }
    return create(mapping, inode, is_vdso) catch null;
}

fn create(mapping: *const maps.Mapping, inode: u64, is_vdso: bool) !*Module {
    const module = try arena().create(Module);
    const path = try arena().dupe(u8, mapping.path);
    const bytes = if (is_vdso)
        @as([*]const u8, @ptrFromInt(mapping.start))[0..@intCast(mapping.end - mapping.start)]
    else
        file.map(path, inode);
    module.* = .{
        .path = path,
        .inode = inode,
        .image = if (bytes) |found| elf.Image.init(found) catch null else null,
    };
    try modules.append(allocator, module);
    return module;
}

/// "fe:00 77": the inode follows the device.
fn inodeOf(text: []const u8) u64 {
    const space = std.mem.indexOfScalar(u8, text, ' ') orelse return 0;
    return std.fmt.parseInt(u64, text[space + 1 ..], 10) catch 0;
}

/// The executable mapping that holds `address`. They are in the order of their addresses.
pub fn find(address: u64) ?*const Range {
    var low: usize = 0;
    var high: usize = ranges.items.len;
    while (low < high) {
        const middle = low + (high - low) / 2;
        if (ranges.items[middle].end <= address) low = middle + 1 else high = middle;
    }
    if (low == ranges.items.len or address < ranges.items[low].start) return null;
    return &ranges.items[low];
}

/// The module and place of `address`; null outside of files that can be read.
pub fn place(address: u64) ?Place {
    const range = find(address) orelse return null;
    const module = range.module orelse return null;
    const image = if (module.image) |*image| image else return null;
    const own = image.addressOf(address - range.start +% range.offset) orelse return null;
    return .{ .module = module, .image = image, .address = own };
}
