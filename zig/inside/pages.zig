//! Memory that is looked after page by page: mapped files whose pages may be lost, and memory whose
//! first writes are noted. Each page has one byte (`abi.PageState`), in memory that outlives the
//! hook.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const hooks = @import("hooks.zig");

const PageState = abi.PageState;

fn stateAt(request: *const abi.HookRequest, page: u64) *PageState {
    const index = (page - request.range_start) / sys.pageSize();
    return @ptrFromInt(request.data + index);
}

/// Puts zeroes in place of the pages of a mapped file that an exception says are lost.
pub fn replaceLost(request: *const abi.HookRequest, event: *const hooks.Event) bool {
    if (event.signal != sys.sigbus) return false;
    const lost: PageState = switch (event.info.code) {
        sys.bus_mceerr_ar => .lost_memory,
        sys.bus_mceerr_ao => .lost_memory_early,
        sys.bus_objerr => .lost_error,
        sys.bus_adraln => return false,
        else => .lost_end,
    };
    const span = hooks.spanOf(event.signal, event.info);
    const page_mask = ~@as(u64, sys.pageSize() - 1);
    var page = @max(span.start & page_mask, request.range_start);
    const range_last = request.range_start + (request.range_length - 1);
    const last = @min(span.start + (span.length - 1), range_last);
    while (page <= last) : (page += sys.pageSize()) {
        if (!replace(request, page, lost)) return false;
    }
    return true;
}

/// Two threads may find the same page lost: the second must not throw away what the first has
/// written since to the page that replaced it.
fn replace(request: *const abi.HookRequest, page: u64, lost: PageState) bool {
    const state = stateAt(request, page);
    if (@cmpxchgStrong(PageState, state, .clean, .replacing, .acquire, .monotonic)) |other| {
        // Ours to wait for, or done: the instruction runs again and finds out. A page that was
        // replaced once can fail again only as memory does.
        const again = lost == .lost_memory or lost == .lost_memory_early;
        if (other == .replacing or !again) return true;
        if (@cmpxchgStrong(PageState, state, other, .replacing, .acquire, .monotonic) != null) {
            return true;
        }
    }
    const mapped = sys.mapAt(page, sys.pageSize(), @intCast(request.value));
    @atomicStore(PageState, state, if (mapped) lost else .clean, .release);
    return mapped;
}

/// Notes that a page of tracked memory is being written, and lets it happen.
pub fn noteWrite(request: *const abi.HookRequest, event: *const hooks.Event) bool {
    if (event.signal != sys.sigsegv or event.info.code != sys.segv_accerr) return false;
    const page = event.info.payload.address & ~@as(u64, sys.pageSize() - 1);
    const writable = sys.protection_read | sys.protection_write;
    if (!sys.protect(page, sys.pageSize(), writable)) return false;
    // After the protection: whoever looks at the states protects first and clears last.
    @atomicStore(PageState, stateAt(request, page), .written, .release);
    return true;
}
