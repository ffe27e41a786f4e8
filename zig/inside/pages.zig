//! Memory that is looked after page by page: mapped files whose pages may be lost, and memory whose
//! first writes are noted. Each page has one byte (`abi.PageState`), in memory that outlives the
//! hook.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const hooks = @import("hooks.zig");
const signals = @import("signals.zig");
const assert = std.debug.assert;

const PageState = abi.PageState;

/// What a hook of these kinds has as its `data`.
pub const Region = struct {
    base: u64,
    pages: u64,
    states: [*]PageState,
    /// Of a mapped file: its descriptor, where in it the first page lies, and the smallest size
    /// that it was seen to have.
    descriptor: u32 = 0,
    file_offset: u64 = 0,
    smallest: u64 = std.math.maxInt(u64),
    /// Handlers that are making a page of tracked memory writable now.
    opening: u32 = 0,

    pub fn address(region: *const Region, page: u64) u64 {
        assert(page < region.pages);
        return region.base + page * sys.page_size;
    }

    pub fn state(region: *const Region, page: u64) PageState {
        return @atomicLoad(PageState, &region.states[page], .acquire);
    }

    /// Pages that are replaced at once past the end of a file. Each run may cost the process a
    /// mapping, and the kernel allows 65,530.
    fn batch(region: *const Region) u64 {
        return @max(1024, region.pages / 16_384);
    }

    /// Looks how large the file is, and remembers it if that is less than ever.
    pub fn noteSize(region: *Region) void {
        const size = sys.fileSize(region.descriptor) orelse return;
        _ = @atomicRmw(u64, &region.smallest, .Min, size, .acq_rel);
    }

    /// The first page that has no byte of the file as it was when it was smallest.
    pub fn firstMissing(region: *const Region) u64 {
        const smallest = @atomicLoad(u64, &region.smallest, .acquire);
        if (smallest <= region.file_offset) return 0;
        const pages = (smallest - region.file_offset - 1) / sys.page_size + 1;
        return @min(pages, region.pages);
    }

    /// Puts zeroes in place of those of the pages from `first` to before `end` that are whole.
    /// False when the system refuses.
    pub fn replaceWhole(region: *Region, first: u64, end: u64, lost: PageState) bool {
        var page = first;
        while (page < end) {
            if (!region.claim(page, .clean)) {
                page += 1;
                continue;
            }
            var last = page;
            while (last + 1 < end and region.claim(last + 1, .clean)) last += 1;
            if (!region.replaceClaimed(page, last + 1, lost)) return false;
            page = last + 1;
        }
        return true;
    }

    /// Of two threads that find the same page lost, one replaces it: the other must not throw away
    /// what has been written since to the page that replaced it.
    fn claim(region: *Region, page: u64, known: PageState) bool {
        const place = &region.states[page];
        return @cmpxchgStrong(PageState, place, known, .replacing, .acquire, .monotonic) == null;
    }

    fn replaceClaimed(region: *Region, first: u64, end: u64, lost: PageState) bool {
        const length = (end - first) * sys.page_size;
        const mapped = sys.mapZeroes(region.address(first), length);
        for (region.states[first..end]) |*place| {
            @atomicStore(PageState, place, if (mapped) lost else .clean, .release);
        }
        return mapped;
    }
};

fn regionOf(request: *const abi.HookRequest) *Region {
    return @ptrFromInt(request.data);
}

/// Puts zeroes in place of the pages of a mapped file that an exception says are lost.
pub fn replaceLost(request: *const abi.HookRequest, event: *hooks.Event) bool {
    if (event.signal != sys.sigbus) return false;
    const region = regionOf(request);
    return switch (event.info.code) {
        sys.bus_adraln => false,
        sys.bus_mceerr_ar => replaceFailed(region, event, .lost_memory),
        sys.bus_mceerr_ao => replaceFailed(region, event, .lost_memory_early),
        sys.bus_objerr => replaceFailed(region, event, .lost_error),
        else => replaceEnd(region, event),
    };
}

/// A page past the end of the file, and those behind it. The kernel has the same code for an input
/// or output error, after which the file is as long as it was: that is one page.
fn replaceEnd(region: *Region, event: *hooks.Event) bool {
    const page = (event.info.payload.address - region.base) / sys.page_size;
    switch (region.state(page)) {
        // A new mapping may lie where the last one lay: the same again is something new.
        .clean => event.progressed = true,
        .replacing => return wait(event),
        else => {},
    }
    region.noteSize();
    const missing = page >= region.firstMissing();
    const end = if (missing) @min(region.pages, page + region.batch()) else page + 1;
    return region.replaceWhole(page, end, .lost_end);
}

/// Another thread is at it, perhaps for long: the instruction runs again and finds out.
fn wait(event: *hooks.Event) bool {
    event.progressed = true;
    sys.yield();
    return true;
}

/// The pages that an exception names. Memory can fail again after it was replaced.
fn replaceFailed(region: *Region, event: *hooks.Event, lost: PageState) bool {
    const span = hooks.spanOf(event.signal, event.info);
    const last_byte = region.base + (region.pages * sys.page_size - 1);
    const first = (@max(span.start, region.base) - region.base) / sys.page_size;
    const last = (@min(span.start + (span.length - 1), last_byte) - region.base) / sys.page_size;
    for (first..last + 1) |page| {
        const known = region.state(page);
        if (known == .replacing) {
            _ = wait(event);
            continue;
        }
        if (known != .clean and lost == .lost_error) continue;
        // Each failure of memory is a new one, also where it was replaced.
        event.progressed = true;
        if (!region.claim(page, known)) continue;
        if (!region.replaceClaimed(page, page + 1, lost)) return false;
    }
    return true;
}

const writable = sys.protection_read | sys.protection_write;

/// Notes that a page of tracked memory is being written, and lets it happen.
pub fn noteWrite(request: *const abi.HookRequest, event: *hooks.Event) bool {
    if (event.signal != sys.sigsegv or event.info.code != sys.segv_accerr) return false;
    if (event.frame.access() != .write) return false;
    const region = regionOf(request);
    const page = (event.info.payload.address - region.base) / sys.page_size;
    // Whoever takes the states waits for this: other threads can write to the page as soon as it
    // is writable, before it is noted.
    _ = @atomicRmw(u32, &region.opening, .Add, 1, .seq_cst);
    defer _ = @atomicRmw(u32, &region.opening, .Sub, 1, .seq_cst);
    // The protection first: whoever takes the states clears them last.
    if (sys.protect(region.address(page), sys.page_size, writable)) {
        const before = @atomicRmw(PageState, &region.states[page], .Xchg, .written, .seq_cst);
        // A loop may write the same to the same page, with a `take` between each two writes.
        event.progressed = before != .written;
        return true;
    }
    // Too many mappings: one for all of it, and every page counts as written.
    if (!sys.protect(region.base, region.pages * sys.page_size, writable)) return false;
    event.progressed = region.state(page) != .written;
    for (region.states[0..region.pages]) |*place| {
        @atomicStore(PageState, place, .written, .seq_cst);
    }
    return true;
}

test "replaceWhole leaves pages alone that were replaced before" {
    const expect = std.testing.expect;
    const base = sys.map(4 * sys.page_size, writable).?;
    defer sys.unmap(base, 4 * sys.page_size);
    var states: [4]PageState = @splat(.clean);
    var region: Region = .{ .base = base, .pages = 4, .states = &states };
    const bytes: [*]u8 = @ptrFromInt(base);
    for (0..4) |page| bytes[page * sys.page_size] = 7;
    states[2] = .lost_memory;
    try expect(region.replaceWhole(1, 4, .lost_end));
    const expected = [_]PageState{ .clean, .lost_end, .lost_memory, .lost_end };
    try std.testing.expectEqualSlices(PageState, &expected, &states);
    for ([_]u8{ 7, 0, 7, 0 }, 0..) |byte, page| {
        try expect(bytes[page * sys.page_size] == byte);
    }
}

test "firstMissing counts the page that the end cuts as there" {
    const expectEqual = std.testing.expectEqual;
    var region: Region = .{ .base = 0, .pages = 4, .states = undefined, .file_offset = 8192 };
    try expectEqual(4, region.firstMissing());
    for ([_][2]u64{ .{ 0, 0 }, .{ 8192, 0 }, .{ 8193, 1 }, .{ 12288, 1 }, .{ 99999, 4 } }) |pair| {
        region.smallest = pair[0];
        try expectEqual(pair[1], region.firstMissing());
    }
}
