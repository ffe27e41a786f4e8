//! What native hooks do, in the handler, on whatever thread the exception happened.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const Frame = @import("../frame.zig").Frame;
const hooks = @import("hooks.zig");
const pages = @import("pages.zig");
const signals = @import("signals.zig");

/// Whether a kind of hook may be asked about memory that failed before anybody touched it. What
/// works on the interrupted instruction may not: that one has nothing to do with it.
pub fn mendsMemory(kind: abi.HookKind) bool {
    return switch (kind) {
        .map, .lost_page, .call => true,
        else => false,
    };
}

/// Runs a hook's action. `nobody` passes the exception to the next hook.
pub fn act(hook: *const hooks.Hook, event: *hooks.Event) hooks.Answer {
    const request = &hook.request;
    switch (request.kind) {
        .next, .javascript => return .nobody,
        .throw => return .thrown,
        .die => return .die,
        .skip_instruction => {
            // The signals of instructions that are over leave the instruction pointer behind them.
            if (!signals.passed(event.signal)) event.frame.skip(request.value);
            return .handled;
        },
        .set_registers => {
            const words: *align(8) const [abi.hook_registers_max]u64 = @ptrCast(&request.registers);
            event.frame.setRegisters(request.register_mask, words);
            return .handled;
        },
        .protect => return protect(request, event),
        .map => return map(hook, event),
        .call => return call(request, event),
        .lost_page => return answer(pages.replaceLost(request, event)),
        .track_writes => return if (pages.noteWrite(request, event)) .mended else .nobody,
    }
}

fn answer(done: bool) hooks.Answer {
    return if (done) .handled else .nobody;
}

fn pageOf(event: *const hooks.Event) ?u64 {
    if (!signals.hasAddress(event.signal, event.info.code)) return null;
    return event.info.payload.address & ~@as(u64, sys.pageSize() - 1);
}

fn protect(request: *const abi.HookRequest, event: *const hooks.Event) hooks.Answer {
    const page = pageOf(event) orelse return .nobody;
    const protection: u32 = @intCast(request.value);
    if (!sys.protect(page, sys.pageSize(), protection)) return .nobody;
    return granted(event, protection);
}

/// What becomes of an exception whose page has `protection` now. Where that permits the access, the
/// instruction succeeds: when it faults again, somebody has taken the permission away since. That
/// may go on for ever, as with memory that is protected anew whenever it was written, and the
/// registers of interpreted code look the same each time.
fn granted(event: *const hooks.Event, protection: u32) hooks.Answer {
    const refused = event.signal == sys.sigsegv and
        (event.info.code == sys.segv_maperr or event.info.code == sys.segv_accerr);
    if (!refused) return .handled;
    const needed: u32 = switch (event.frame.access(&trampoline.probeLoad)) {
        .read => sys.protection_read,
        .write => sys.protection_write,
        .execute => sys.protection_execute,
        .unknown => return .handled,
    };
    return if (protection & needed != 0) .mended else .handled;
}

/// Puts fresh memory in place of the page. What fills it is put there before it can be seen.
fn map(hook: *const hooks.Hook, event: *const hooks.Event) hooks.Answer {
    const page = pageOf(event) orelse return .nobody;
    const protection: u32 = @intCast(hook.request.value);
    if (hook.fill == 0) {
        if (!sys.mapAt(page, sys.pageSize(), protection)) return .nobody;
        return granted(event, protection);
    }
    const writable = sys.protection_read | sys.protection_write;
    const fresh = sys.map(sys.pageSize(), writable) orelse return .nobody;
    const to: [*]u8 = @ptrFromInt(fresh);
    const from: [*]const u8 = @ptrFromInt(hook.fill);
    @memcpy(to[0..sys.pageSize()], from[0..sys.pageSize()]);
    if (sys.protect(fresh, sys.pageSize(), protection)) {
        // Where nothing was mapped, the kernel may have chosen this very place.
        const placed = fresh == page or sys.move(fresh, sys.pageSize(), page);
        if (placed) return granted(event, protection);
    }
    sys.unmap(fresh, sys.pageSize());
    return .nobody;
}

fn call(request: *const abi.HookRequest, event: *const hooks.Event) hooks.Answer {
    const function: *const fn (*sys.Siginfo, *Frame, u64) callconv(.c) i32 =
        @ptrFromInt(request.function);
    return answer(function(event.info, event.frame, request.data) != 0);
}
