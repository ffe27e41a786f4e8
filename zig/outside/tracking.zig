//! Memory whose first write to each page is noted, in one of two ways. The kernel can do it by
//! itself (userfaultfd with asynchronous write protection, and PAGEMAP_SCAN, since Linux 6.7):
//! then system calls may write to the memory as well. Else pages are read-only until a hook has
//! seen the first write.
//!
//! Layouts: include/uapi/linux/userfaultfd.h, include/uapi/linux/fs.h.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const signals = @import("../inside/signals.zig");
const regions = @import("regions.zig");
const same_store = @import("same_store.zig");
const assert = std.debug.assert;

const Kept = regions.Kept;
const PageState = abi.PageState;

const Api = extern struct { api: u64, features: u64, ioctls: u64 };
const Register = extern struct { start: u64, length: u64, mode: u64, ioctls: u64 };
const WriteProtect = extern struct { start: u64, length: u64, mode: u64 };
const Scan = extern struct {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_length: u64,
    pages_max: u64,
    inverted: u64,
    mask: u64,
    any_of: u64,
    returned: u64,
};

comptime {
    assert(@sizeOf(Api) == 24 and @sizeOf(Register) == 32 and @sizeOf(WriteProtect) == 24);
    assert(@sizeOf(Scan) == 96);
}

const uffdio_api = 0xc018_aa3f;
const uffdio_register = 0xc020_aa00;
const uffdio_writeprotect = 0xc018_aa06;
const pagemap_scan = 0xc060_6610;

const api_version = 0xaa;
/// UFFD_FEATURE_WP_UNPOPULATED and UFFD_FEATURE_WP_ASYNC.
const features: u64 = 1 << 13 | 1 << 15;
const register_write_protect = 2;
const protect_now = 1;
/// PM_SCAN_WP_MATCHING and PM_SCAN_CHECK_WPASYNC.
const scan_flags = 1 | 2;
/// PAGE_IS_WRITTEN
const is_written = 2;

/// Fresh memory. `wanted` says how writes are to be noted.
pub fn open(byte_length: u64, wanted: abi.Tracking, into: *abi.OpenedMemory) abi.Status {
    assert(byte_length != 0);
    const kept = regions.create(regions.pagesOf(byte_length)) orelse return .no_memory;
    const status = prepare(kept, wanted);
    if (status != .ok) {
        regions.finish(kept, true);
        return status;
    }
    kept.byte_length = byte_length;
    regions.publish(kept);
    into.size = @sizeOf(abi.OpenedMemory);
    into.handle = @intFromPtr(kept);
    into.address = kept.region.base;
    into.tracking = if (kept.hook == null) .userfault else .protection;
    return .ok;
}

fn prepare(kept: *Kept, wanted: abi.Tracking) abi.Status {
    const writable = sys.protection_read | sys.protection_write;
    kept.region.base = sys.map(kept.length(), writable) orelse return .no_memory;
    if (wanted != .protection and byKernel(kept)) return .ok;
    if (wanted == .userfault) return .not_supported;
    const status = regions.look(kept, .track_writes, signals.bit(sys.sigsegv));
    if (status != .ok) return status;
    const armed = sys.protect(kept.region.base, kept.length(), sys.protection_read);
    return if (armed) .ok else .system_call_failed;
}

/// Asks the kernel to note writes. False where it cannot, or is not allowed to.
fn byKernel(kept: *Kept) bool {
    const fault = sys.userfault() orelse return false;
    kept.descriptors[0] = fault;
    var api: Api = .{ .api = api_version, .features = features, .ioctls = 0 };
    if (sys.control(fault, uffdio_api, &api) != 0) return false;
    const start = kept.region.base;
    const length = kept.length();
    var register: Register = .{
        .start = start,
        .length = length,
        .mode = register_write_protect,
        .ioctls = 0,
    };
    if (sys.control(fault, uffdio_register, &register) != 0) return false;
    var protect: WriteProtect = .{ .start = start, .length = length, .mode = protect_now };
    if (sys.control(fault, uffdio_writeprotect, &protect) != 0) return false;
    kept.descriptors[1] = sys.openRead("/proc/self/pagemap") orelse return false;
    var none: [1]abi.WrittenRange = undefined;
    var cursor: u64 = 0;
    return scan(kept, &cursor, &none) == 0;
}

/// Ranges of pages that were written since the last time, by address and as many as fit: how many,
/// or a negative status. `cursor` is 0 at first; the next call goes on where this one stopped.
pub fn take(kept: *Kept, cursor: *u64, into: []abi.WrittenRange) i32 {
    if (kept.hook == null) return scan(kept, cursor, into);
    return collect(kept, cursor, into);
}

fn scan(kept: *const Kept, cursor: *u64, into: []abi.WrittenRange) i32 {
    const start = kept.region.base;
    const end = start + kept.length();
    if (cursor.* == end) return 0;
    var request: Scan = .{
        .size = @sizeOf(Scan),
        .flags = scan_flags,
        .start = if (cursor.* == 0) start else cursor.*,
        .end = end,
        .walk_end = 0,
        .vec = @intFromPtr(into.ptr),
        .vec_length = into.len,
        .pages_max = 0,
        .inverted = 0,
        .mask = is_written,
        .any_of = 0,
        .returned = is_written,
    };
    const count = sys.control(kept.descriptors[1].?, pagemap_scan, &request);
    if (count < 0) return @backingInt(abi.Status.system_call_failed);
    cursor.* = request.walk_end;
    return @intCast(count);
}

/// What the hook has noted. A page goes from `written` through `arming` to `clean`, and back to
/// `written` at any moment: a handler makes the page writable and then says so, and here it is
/// protected and only then said to be clean. Whichever comes last, a page that is writable is
/// `written`, or a handler is about to say so.
fn collect(kept: *Kept, cursor: *u64, into: []abi.WrittenRange) i32 {
    const region = &kept.region;
    // A page that became writable just now may have been written by a third thread already.
    while (@atomicLoad(u32, &region.opening, .seq_cst) != 0) sys.yield();
    var count: usize = 0;
    var page = if (cursor.* == 0) 0 else (cursor.* - region.base) / sys.page_size;
    while (page < region.pages and count < into.len) {
        if (regions.eightClean(region, page, region.pages)) {
            page += 8;
            continue;
        }
        const end = claimFrom(region.states, page, region.pages);
        if (end == page) {
            page += 1;
            continue;
        }
        const start = region.address(page);
        const length = (end - page) * sys.page_size;
        // Without protection they stay written: the next time shows them again.
        const armed = sys.protect(start, length, sys.protection_read);
        for (region.states[page..end]) |*place| settle(place, if (armed) .clean else .written);
        into[count] = .{ .start = start, .end = start + length, .categories = is_written };
        count += 1;
        page = end;
    }
    cursor.* = region.base + page * sys.page_size;
    return @intCast(count);
}

/// Marks the written pages from `page` on, up to the first that is not: where that is.
fn claimFrom(states: [*]PageState, page: u64, end: u64) u64 {
    var last = page;
    while (last < end) : (last += 1) {
        const place = &states[last];
        if (@cmpxchgStrong(PageState, place, .written, .arming, .seq_cst, .seq_cst) != null) break;
    }
    return last;
}

/// Unless a handler has noted another write meanwhile.
fn settle(place: *PageState, state: PageState) void {
    _ = @cmpxchgStrong(PageState, place, .arming, state, .seq_cst, .seq_cst);
}

fn takeAll(kept: *Kept, into: []abi.WrittenRange) !usize {
    var cursor: u64 = 0;
    var count: usize = 0;
    while (true) {
        const found = take(kept, &cursor, into[count..]);
        try std.testing.expect(found >= 0);
        if (found == 0) return count;
        count += @intCast(found);
    }
}

test "written pages are given once, joined, in each way" {
    const expectEqual = std.testing.expectEqual;
    for ([_]abi.Tracking{ .userfault, .protection }) |way| {
        var opened = std.mem.zeroes(abi.OpenedMemory);
        const status = open(40 * 4096 - 1, way, &opened);
        if (status == .not_supported) continue;
        try expectEqual(.ok, status);
        try expectEqual(way, opened.tracking);
        const kept: *Kept = @ptrFromInt(opened.handle);
        const bytes: [*]volatile u8 = @ptrFromInt(opened.address);
        var into: [8]abi.WrittenRange = undefined;
        for (0..2) |round| {
            for ([_]u64{ 3, 4, 5, 30, 39 }) |page| bytes[page * 4096 + round] = 1;
            try expectEqual(3, try takeAll(kept, &into));
            try expectEqual(opened.address + 3 * 4096, into[0].start);
            try expectEqual(opened.address + 6 * 4096, into[0].end);
            try expectEqual(opened.address + 40 * 4096, into[2].end);
            try expectEqual(0, try takeAll(kept, &into));
        }
        regions.close(opened.handle, true);
    }
}

test "the same store with the same registers is let through any number of times" {
    var opened = std.mem.zeroes(abi.OpenedMemory);
    try std.testing.expectEqual(.ok, open(4096, .protection, &opened));
    const kept: *Kept = @ptrFromInt(opened.handle);
    defer regions.close(opened.handle, true);
    var into: [1]abi.WrittenRange = undefined;
    for (0..3000) |_| {
        same_store.store(opened.address);
        var cursor: u64 = 0;
        try std.testing.expectEqual(1, take(kept, &cursor, &into));
    }
}
