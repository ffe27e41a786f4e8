//! Memory that JavaScript sees as an array and that a hook looks after: how it begins and ends.
//!
//! Nobody can be asked whether an array over it is still in use once it was given to another
//! thread. Memory is therefore unmapped only when its owner says that no array is left; else it
//! becomes ordinary zeroes, which cost nothing but their addresses.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const inside = @import("../inside/hooks.zig");
const pages = @import("../inside/pages.zig");
const hooks = @import("hooks.zig");
const lock = @import("lock.zig");
const assert = std.debug.assert;

pub const Kept = struct {
    region: pages.Region,
    next: ?*Kept,
    /// Bytes of this struct and the states behind it.
    allocated: u64,
    /// The thread that made it: it ends with it.
    owner: u64,
    hook: ?u32,
    hook_id: u64,
    /// To be closed with it.
    descriptors: [2]?u32,
    /// What was asked for: where in the file, and how many bytes.
    offset: u64,
    byte_length: u64,

    pub fn length(kept: *const Kept) u64 {
        return kept.region.pages * sys.pageSize();
    }
};

var first: ?*Kept = null;

pub fn pagesOf(byte_length: u64) u64 {
    return (byte_length + (sys.pageSize() - 1)) / sys.pageSize();
}

/// Whether eight pages from `page` on are clean, as most are: looked at together.
pub fn eightClean(region: *const pages.Region, page: u64, end: u64) bool {
    if (page % 8 != 0 or end - page < 8) return false;
    comptime assert(@backingInt(abi.PageState.clean) == 0 and @alignOf(Kept) >= 8);
    const eight: *const u64 = @ptrCast(@alignCast(region.states + page));
    return @atomicLoad(u64, eight, .acquire) == 0;
}

/// Room for what is kept about that many pages, or null.
pub fn create(count: u64) ?*Kept {
    assert(count != 0);
    const allocated = @sizeOf(Kept) + count; // The states are 8-byte aligned.
    const writable = sys.protection_read | sys.protection_write;
    const address = sys.map(allocated, writable) orelse return null;
    const kept: *Kept = @ptrFromInt(address);
    kept.* = .{
        .region = .{
            .base = 0,
            .pages = count,
            .states = @ptrFromInt(address + @sizeOf(Kept)),
        },
        .next = null,
        .allocated = allocated,
        .owner = trampoline.threadPointer(),
        .hook = null,
        .hook_id = 0,
        .descriptors = .{ null, null },
        .offset = 0,
        .byte_length = 0,
    };
    return kept;
}

/// Has a hook look after the memory from now on.
pub fn look(kept: *Kept, kind: abi.HookKind, signals: u32) abi.Status {
    var request = std.mem.zeroes(abi.HookRequest);
    request.size = @sizeOf(abi.HookRequest);
    request.kind = kind;
    request.signals = signals;
    request.range_start = kept.region.base;
    request.range_length = kept.length();
    request.data = @intFromPtr(&kept.region);
    const index = hooks.add(&request, &kept.hook_id);
    if (index < 0) return std.enums.fromInt(abi.Status, index).?;
    kept.hook = @intCast(index);
    return .ok;
}

pub fn publish(kept: *Kept) void {
    lock.acquire();
    defer lock.release();
    kept.next = first;
    first = kept;
}

/// Takes it out of the list, or null when it is not in there any more.
fn unlink(handle: u64) ?*Kept {
    lock.acquire();
    defer lock.release();
    return unlinkLocked(handle);
}

fn unlinkLocked(handle: u64) ?*Kept {
    var place: *?*Kept = &first;
    while (place.*) |kept| : (place = &kept.next) {
        if (@intFromPtr(kept) != handle) continue;
        place.* = kept.next;
        return kept;
    }
    return null;
}

/// Ends it; nothing happens the second time. `unused` says that no array over the memory is left.
pub fn close(handle: u64, unused: bool) void {
    finish(unlink(handle) orelse return, unused);
}

/// Also for what was never published.
pub fn finish(kept: *Kept, unused: bool) void {
    // Zeroes first: other threads that read may go on, and no fault can happen from here on.
    const mapped = kept.region.base != 0;
    if (mapped and !sys.mapZeroes(kept.region.base, kept.length()) and !unused) return;
    if (kept.hook) |index| {
        var hits: u64 = 0;
        _ = hooks.remove(index, kept.hook_id, &hits);
    }
    // A handler that still looks at the hook may put a page in place: then the rest stays.
    if (!inside.settle()) return;
    for (kept.descriptors) |open| if (open) |descriptor| sys.close(descriptor);
    if (mapped and unused) sys.unmap(kept.region.base, kept.length());
    sys.unmap(@intFromPtr(kept), kept.allocated);
}

/// A thread ended, and the memory that it made with it. Others may have arrays over it.
pub fn closeOwned(key: u64) void {
    while (ownedBy(key)) |kept| finish(kept, false);
}

fn ownedBy(key: u64) ?*Kept {
    lock.acquire();
    defer lock.release();
    var candidate = first;
    while (candidate) |kept| : (candidate = kept.next) {
        if (kept.owner == key) return unlinkLocked(@intFromPtr(kept));
    }
    return null;
}

/// How many there are.
pub fn keptCount() u32 {
    lock.acquire();
    defer lock.release();
    var found: u32 = 0;
    var candidate = first;
    while (candidate) |kept| : (candidate = kept.next) found += 1;
    return found;
}
