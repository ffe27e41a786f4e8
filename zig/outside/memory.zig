//! Memory of this process by address: copies that are all or nothing, and what is mapped where.
//!
//! The access itself is the test, so that there is no moment between check and use: `read` and
//! `write` run behind a thunk and simply fault. They touch every page before they copy, in order,
//! so that the fault is at the first bad byte and nothing has been copied by then. Protection has
//! page granularity: the first byte of the range on each page stands for the page's others.

const std = @import("std");
const builtin = @import("builtin");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const hooks = @import("../inside/hooks.zig");
const signals = @import("../inside/signals.zig");
const install = @import("install.zig");
const maps = @import("../inside/maps.zig");
const touch = switch (builtin.cpu.arch) {
    .x86_64 => @import("touch_x86_64.zig"),
    .aarch64 => @import("touch_aarch64.zig"),
    else => @compileError("no way to touch memory on this architecture yet"),
};
const assert = std.debug.assert;

/// Pages may be larger, which makes a look at each of these too many, not too few.
const step_mask: u64 = sys.page_size_min - 1;
const signals_of_access = signals.bit(sys.sigsegv) | signals.bit(sys.sigbus);

comptime {
    assert(sys.page_size_min == 4096); // As `probePages` steps, too.
}

/// Copies `length` bytes of memory at `from`; the ranges may overlap.
pub fn read(from: u64, into: [*]u8, length: u64) void {
    assert(length > 0);
    const last = from +% (length - 1);
    var address = from;
    while (true) {
        touch.read(address);
        address = (address | step_mask) +% 1;
        if (address == 0 or address > last) break;
    }
    const source: [*]const u8 = @ptrFromInt(from);
    @memmove(into[0..length], source[0..length]);
}

/// Copies `length` bytes to memory at `to`; the ranges may overlap.
pub fn write(to: u64, from: [*]const u8, length: u64) void {
    assert(length > 0);
    const last = to +% (length - 1);
    var address = to;
    while (true) {
        touch.write(address, from[@intCast(address -% to)]);
        address = (address | step_mask) +% 1;
        if (address == 0 or address > last) break;
    }
    const target: [*]u8 = @ptrFromInt(to);
    @memmove(target[0..length], from[0..length]);
}

/// What `isReadable` said last, on any thread: it decides about time, never about the answer.
var last_readable: bool = true;

/// Whether every byte of the range can be read. A fault ends in the handler, which lets the probe
/// go on: that takes no thunk and no attached thread, and makes no exception.
///
/// A probe of readable memory costs a few nanoseconds, one of other memory a signal: four times a
/// system call. Bad addresses come in runs, so after one the kernel is asked first.
pub fn isReadable(address: u64, length: u64) error{NoHandler}!bool {
    assert(length > 0);
    if (!@atomicLoad(bool, &last_readable, .monotonic) and !sys.kernelCanRead(address)) {
        return false;
    }
    if (install.install(signals_of_access) != .ok) return error.NoHandler;
    const readable = trampoline.probePages(address, address + (length - 1));
    @atomicStore(bool, &last_readable, readable, .monotonic);
    return readable;
}

/// Copies the bytes at `address` up to the first that cannot be read: how many those are.
pub fn readAvailable(address: u64, into: []u8) error{NoHandler}!usize {
    if (install.install(signals_of_access) != .ok) return error.NoHandler;
    return trampoline.probeCopy(into, address);
}

/// mprotect of all pages that the range touches, or of none when one of them is not mapped: the
/// system call alone would change those before the gap. The result is its errno, 0 for success.
pub fn protect(address: u64, length: u64, protection: u32, before: *u32) error{NoList}!i32 {
    assert(length > 0);
    const page_mask = sys.pageSize() - 1;
    const first = address & ~page_mask;
    const last = (address + (length - 1)) | page_mask;
    var reader = maps.Reader.open() orelse return error.NoList;
    defer reader.close();
    var covered = first;
    while (reader.next()) |mapping| {
        if (mapping.end <= covered) continue;
        if (mapping.start > covered) return sys.enomem;
        if (covered == first) before.* = mapping.protection;
        covered = mapping.end;
        if (covered > last) break;
    } else return sys.enomem;
    hooks.noteChange();
    return sys.protectErrno(first, last - first +% 1, protection);
}

/// The mapping that holds `address`; false when there is none.
pub fn mappingOf(address: u64, into: *abi.Mapping) error{NoList}!bool {
    var reader = maps.Reader.open() orelse return error.NoList;
    defer reader.close();
    while (reader.next()) |mapping| {
        if (mapping.end <= address) continue;
        if (mapping.start > address) return false;
        describe(mapping, into);
        return true;
    }
    return false;
}

/// The mappings below, at and above `address`, in this order; `size` is 0 where there is none.
pub fn neighbours(address: u64, into: *[3]abi.Mapping) error{NoList}!void {
    var reader = maps.Reader.open() orelse return error.NoList;
    defer reader.close();
    for (into) |*mapping| mapping.size = 0;
    while (reader.next()) |mapping| {
        if (mapping.end <= address) {
            describe(mapping, &into[0]);
        } else if (mapping.start <= address) {
            describe(mapping, &into[1]);
        } else return describe(mapping, &into[2]);
    }
}

fn describe(mapping: maps.Mapping, into: *abi.Mapping) void {
    const path = mapping.path[0..@min(mapping.path.len, into.path.len)];
    into.size = @sizeOf(abi.Mapping);
    into.protection = mapping.protection;
    into.start = mapping.start;
    into.end = mapping.end;
    into.path_length = @intCast(path.len);
    @memcpy(into.path[0..path.len], path);
}

test "read and write copy overlapping ranges as if through a buffer" {
    var bytes: [3 * 4096]u8 = undefined;
    for (&bytes, 0..) |*byte, index| byte.* = @truncate(index *% 31);
    const before = bytes;
    read(@intFromPtr(&bytes), bytes[1..], bytes.len - 1);
    try std.testing.expectEqualSlices(u8, before[0 .. bytes.len - 1], bytes[1..]);
    write(@intFromPtr(&bytes), bytes[1..], bytes.len - 1);
    try std.testing.expectEqualSlices(u8, before[0 .. bytes.len - 1], bytes[0 .. bytes.len - 1]);
}

test "isReadable, protect and mappingOf look at whole pages" {
    const expect = std.testing.expect;
    const expectEqual = std.testing.expectEqual;
    const read_write = sys.protection_read | sys.protection_write;
    const page = sys.pageSize();
    const base = sys.map(4 * page, read_write).?;
    defer sys.unmap(base, 4 * page);
    const end = base + 3 * page;
    sys.unmap(end, page);
    var before: u32 = undefined;
    try expect(try isReadable(end - 1, 1));
    try expect(!try isReadable(end - 1, 2));
    try expect(!try isReadable(end, 1)); // Asks the kernel.
    try expect(try isReadable(end - 1, 1)); // Asks the kernel and looks.
    try expectEqual(sys.enomem, try protect(end - 1, 2, sys.protection_read, &before));
    try expectEqual(0, try protect(base + page - 1, 2, sys.protection_none, &before));
    try expectEqual(read_write, before);
    try expect(!try isReadable(base, 1));
    var mapping: abi.Mapping = undefined;
    try expect(try mappingOf(end - 1, &mapping));
    try expectEqual(read_write, mapping.protection);
    try expectEqual(base + 2 * page, mapping.start);
    try expect(try mappingOf(base + 4096, &mapping));
    try expectEqual(base, mapping.start);
    try expectEqual(0, mapping.protection);
    try expect(!try mappingOf(16, &mapping));
    var around: [3]abi.Mapping = undefined;
    try neighbours(base + 8192, &around);
    try expectEqual(base + 2 * page, around[0].end);
    try expectEqual(around[0].end, around[1].start);
    try neighbours(16, &around);
    try expect(around[0].size == 0 and around[1].size == 0 and around[2].start > 16);
    var foreign: u32 = 0;
    try expectEqual(.ok, install.uninstall(&foreign));
}
