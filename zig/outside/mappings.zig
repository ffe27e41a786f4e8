//! Mapped files: how they are mapped, and which parts of them were lost.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const signals = @import("../inside/signals.zig");
const regions = @import("regions.zig");
const same_store = @import("same_store.zig");
const assert = std.debug.assert;

const Kept = regions.Kept;
const page_mask: u64 = sys.page_size - 1;

/// Maps bytes of an open file, and has lost pages replaced. The descriptor stays the caller's.
pub fn open(
    descriptor: u32,
    offset: u64,
    byte_length: u64,
    shared: bool,
    into: *abi.OpenedMemory,
) abi.Status {
    assert(byte_length != 0);
    const start = offset & ~page_mask;
    const kept = regions.create(regions.pagesOf(offset - start + byte_length)) orelse {
        return .no_memory;
    };
    const status = prepare(kept, descriptor, start, shared, &into.errno);
    if (status != .ok) {
        regions.finish(kept, true);
        return status;
    }
    kept.offset = offset;
    kept.byte_length = byte_length;
    regions.publish(kept);
    into.size = @sizeOf(abi.OpenedMemory);
    into.handle = @intFromPtr(kept);
    into.address = kept.region.base + (offset - start);
    return .ok;
}

fn prepare(kept: *Kept, descriptor: u32, start: u64, shared: bool, errno: *i32) abi.Status {
    const region = &kept.region;
    const own = sys.duplicate(descriptor) orelse return .system_call_failed;
    kept.descriptors[0] = own;
    region.descriptor = own;
    region.file_offset = start;
    const address = sys.mapFileAt(own, start, kept.length(), shared, errno);
    region.base = address orelse return .system_call_failed;
    return regions.look(kept, .lost_page, signals.bit(sys.sigbus));
}

/// Lost ranges of the file by their offset, as many as fit: how many. `cursor` is 0 at first; the
/// next call goes on where this one stopped.
pub fn lost(kept: *Kept, cursor: *u64, into: []abi.LostRange) usize {
    if (cursor.* == 0) replaceMissing(kept);
    const scan: Scan = .of(kept);
    var count: usize = 0;
    var page = cursor.*;
    while (count < into.len) {
        page = scan.nextLost(page);
        if (page == kept.region.pages) break;
        const state = scan.stateAt(page);
        var end = page + 1;
        while (end < kept.region.pages and scan.stateAt(end) == state) end += 1;
        if (scan.range(page, end, state)) |found| {
            into[count] = found;
            count += 1;
        }
        page = end;
    }
    cursor.* = page;
    return count;
}

/// Replaces what the file does not have any more and nobody has touched since: when the file grows
/// again, what was lost must still read as zero.
fn replaceMissing(kept: *Kept) void {
    kept.region.noteSize();
    const region = &kept.region;
    // Where the system refuses, a fault will do it.
    _ = region.replaceWhole(region.firstMissing(), region.pages, .lost_end);
}

const Scan = struct {
    kept: *const Kept,
    /// The size that the file had when it was smallest, and the first page that this cuts.
    smallest: u64,
    tail: u64,

    fn of(kept: *const Kept) Scan {
        const region = &kept.region;
        const smallest = @atomicLoad(u64, &region.smallest, .acquire);
        const whole = (smallest -| region.file_offset) / sys.page_size;
        return .{ .kept = kept, .smallest = smallest, .tail = @min(whole, region.pages) };
    }

    fn stateAt(scan: Scan, page: u64) abi.PageState {
        while (true) {
            const state = scan.kept.region.state(page);
            if (state == .clean and page >= scan.tail) return .lost_end;
            if (state != .replacing) return state;
            sys.yield();
        }
    }

    fn nextLost(scan: Scan, from: u64) u64 {
        var page = from;
        while (page < scan.tail) {
            if (regions.eightClean(&scan.kept.region, page, scan.tail)) {
                page += 8;
                continue;
            }
            if (scan.stateAt(page) != .clean) return page;
            page += 1;
        }
        return page;
    }

    /// Those of the bytes that were asked for, if any. A page that the end of the file cuts is lost
    /// from there on.
    fn range(scan: Scan, page: u64, end: u64, state: abi.PageState) ?abi.LostRange {
        const kept = scan.kept;
        const file_offset = kept.region.file_offset;
        var start = file_offset + page * sys.page_size;
        if (page == scan.tail and kept.region.state(page) == .clean) {
            start = @max(start, scan.smallest);
        }
        start = @max(start, kept.offset);
        const stop = @min(file_offset + end * sys.page_size, kept.offset + kept.byte_length);
        if (start >= stop) return null;
        return .{
            .offset = start,
            .byte_length = stop - start,
            .state = @backingInt(state),
            ._reserved = 0,
        };
    }
};

/// Writes what was changed to the file: an errno, 0 when it succeeded.
pub fn flush(kept: *const Kept) i32 {
    return sys.synchronize(kept.region.base, kept.length());
}

const expectEqual = std.testing.expectEqual;

fn lostOf(kept: *Kept, into: []abi.LostRange) usize {
    var cursor: u64 = 0;
    return lost(kept, &cursor, into);
}

test "lost gives what the file does not have, from the byte on, and keeps it" {
    const linux = std.os.linux;
    const file = sys.memfd("mappings").?;
    defer sys.close(file);
    _ = linux.ftruncate(@intCast(file), 5 * 4096);
    var opened = std.mem.zeroes(abi.OpenedMemory);
    try expectEqual(.ok, open(file, 4096 + 100, 3 * 4096, true, &opened));
    const kept: *Kept = @ptrFromInt(opened.handle);
    try expectEqual(4, kept.region.pages);
    var into: [4]abi.LostRange = undefined;
    try expectEqual(0, lostOf(kept, &into));
    _ = linux.ftruncate(@intCast(file), 2 * 4096 + 50);
    try expectEqual(1, lostOf(kept, &into));
    try expectEqual(2 * 4096 + 50, into[0].offset);
    try expectEqual(2 * 4096 + 50, into[0].byte_length);
    _ = linux.ftruncate(@intCast(file), 5 * 4096);
    kept.region.states[0] = .lost_memory;
    try expectEqual(2, lostOf(kept, &into));
    try expectEqual(4096 + 100, into[0].offset);
    try expectEqual(4096 - 100, into[0].byte_length);
    try expectEqual(2 * 4096 + 50, into[1].offset);
    var cursor: u64 = 0;
    try expectEqual(1, lost(kept, &cursor, into[0..1]));
    try expectEqual(1, lost(kept, &cursor, into[1..2]));
    try expectEqual(0, lost(kept, &cursor, into[2..3]));
    const before = regions.keptCount();
    regions.close(opened.handle, true);
    regions.close(opened.handle, true);
    try expectEqual(before - 1, regions.keptCount());
}

/// Finishes what another thread began, after longer than a thousand faults take.
fn replaceLater(kept: *Kept) void {
    const pause: std.os.linux.timespec = .{ .sec = 0, .nsec = 100_000_000 };
    _ = std.os.linux.nanosleep(&pause, null);
    _ = sys.mapZeroes(kept.region.base, sys.page_size);
    @atomicStore(abi.PageState, &kept.region.states[0], .lost_end, .release);
}

test "a thread waits as long as another one takes to replace a page" {
    const linux = std.os.linux;
    const file = sys.memfd("mappings").?;
    defer sys.close(file);
    _ = linux.ftruncate(@intCast(file), 4096);
    var opened = std.mem.zeroes(abi.OpenedMemory);
    try expectEqual(.ok, open(file, 0, 4096, true, &opened));
    defer regions.close(opened.handle, true);
    _ = linux.ftruncate(@intCast(file), 0);
    const kept: *Kept = @ptrFromInt(opened.handle);
    kept.region.states[0] = .replacing;
    const thread = try std.Thread.spawn(.{}, replaceLater, .{kept});
    defer thread.join();
    const byte: *const volatile u8 = @ptrFromInt(opened.address);
    try expectEqual(0, byte.*);
    try expectEqual(.lost_end, kept.region.state(0));
}

test "the same page with the same registers may be lost any number of times" {
    const linux = std.os.linux;
    const file = sys.memfd("mappings").?;
    defer sys.close(file);
    var opened = std.mem.zeroes(abi.OpenedMemory);
    var moved: u32 = 0;
    for (0..3000) |_| {
        const before = opened.address;
        _ = linux.ftruncate(@intCast(file), 4096);
        try expectEqual(.ok, open(file, 0, 4096, false, &opened));
        if (opened.address != before) moved += 1;
        _ = linux.ftruncate(@intCast(file), 0);
        same_store.store(opened.address);
        regions.close(opened.handle, true);
    }
    // The system gives the same addresses again, without which this shows nothing.
    try std.testing.expect(moved < 10);
}
