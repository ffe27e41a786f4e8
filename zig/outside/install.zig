//! Puts the handler in place, takes it out again, and says who owns what.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const chain = @import("../inside/chain.zig");
const hooks = @import("../inside/hooks.zig");
const runtime_code = @import("../inside/runtime_code.zig");
const signals = @import("../inside/signals.zig");
const threads = @import("../inside/threads.zig");
const attach = @import("attach.zig");
const lock = @import("lock.zig");
const slots = @import("slots.zig");

fn isOurs(action: *const sys.Action) bool {
    return action.handler == trampoline.handlerEntry();
}

/// Signals that guarded calls or the program want handled, whatever becomes of hooks.
var pinned: u32 = 0;

/// Installs the handler for the signals of `mask` that do not have it yet.
pub fn install(mask: u32) abi.Status {
    if (mask & ~@atomicLoad(u32, &pinned, .acquire) == 0) return .ok;
    lock.acquire();
    defer lock.release();
    const status_now = installMissing(mask);
    if (status_now == .ok) @atomicStore(u32, &pinned, pinned | mask, .release);
    return status_now;
}

/// The same until no hook needs them any more. Under the lock.
pub fn installForHooks(mask: u32) abi.Status {
    return installMissing(mask);
}

/// Puts back what was there before for the signals of `mask` that only hooks needed, and none does
/// now. A handler that was installed over ours may call it: then it stays.
pub fn uninstallUnused(mask: u32) void {
    lock.acquire();
    defer lock.release();
    const unused = mask & signals.installed() & ~pinned & ~hooks.signalsInUse();
    for (signals.handled) |signal| {
        const bit = signals.bit(signal);
        if (unused & bit == 0) continue;
        var now: sys.Action = .{};
        if (!sys.sigaction(signal, null, &now) or !isOurs(&now)) continue;
        chain.restorePrevious(signal);
        signals.setInstalled(signals.installed() & ~bit);
    }
}

fn installMissing(mask: u32) abi.Status {
    for (signals.handled) |signal| {
        const bit = signals.bit(signal);
        if (mask & bit == 0 or signals.installed() & bit != 0) continue;
        const previous = signals.previous(signal);
        // Read before replacing: the handler may run the moment it is in place.
        if (!sys.sigaction(signal, null, &previous.bottom)) return .system_call_failed;
        previous.setTop(previous.bottom);
        if (!sys.sigaction(signal, &chain.ourAction(), null)) return .system_call_failed;
        signals.setInstalled(signals.installed() | bit);
    }
    return .ok;
}

/// Puts back every disposition exactly, or none: when somebody installed a handler over ours, that
/// one may call ours, and taking ours away would leave it calling nothing.
pub fn uninstall(foreign_signal: *u32) abi.Status {
    lock.acquire();
    defer lock.release();
    const mask = signals.installed();
    for (signals.handled) |signal| {
        if (mask & signals.bit(signal) == 0) continue;
        var now: sys.Action = .{};
        if (!sys.sigaction(signal, null, &now)) return .system_call_failed;
        if (!isOurs(&now)) {
            foreign_signal.* = signal;
            return .foreign_handler;
        }
    }
    slots.disarm();
    for (signals.handled) |signal| {
        if (mask & signals.bit(signal) == 0) continue;
        chain.restorePrevious(signal);
    }
    signals.setInstalled(0);
    @atomicStore(u32, &pinned, 0, .release);
    return .ok;
}

/// Puts our handler on top again where somebody replaced it. Theirs is then the previous one.
pub fn reinstall() abi.Status {
    lock.acquire();
    defer lock.release();
    for (signals.handled) |signal| {
        if (signals.installed() & signals.bit(signal) == 0) continue;
        var now: sys.Action = .{};
        if (!sys.sigaction(signal, null, &now)) return .system_call_failed;
        if (isOurs(&now)) continue;
        signals.previous(signal).setTop(now);
        if (!sys.sigaction(signal, &chain.ourAction(), null)) return .system_call_failed;
    }
    return .ok;
}

fn owner(action: *const sys.Action) abi.Owner {
    if (isOurs(action)) return .faultline;
    if (action.handler == sys.sig_dfl) return .default;
    if (action.handler == sys.sig_ign) return .ignored;
    if (runtime_code.contains(action.handler)) return .runtime;
    return .other;
}

pub fn status(into: *abi.ProcessStatus) abi.Status {
    into.size = @sizeOf(abi.ProcessStatus);
    into.installed = 0;
    into.open_slots = slots.openCount();
    into.slots_max = trampoline.slots_max;
    into.attached_threads = threads.attachedCount();
    into.static_tls = @intFromBool(attach.hasStaticTls());
    into.caught = threads.caught();
    for (signals.handled, &into.signals) |signal, *entry| {
        var action: sys.Action = .{};
        if (!sys.sigaction(signal, null, &action)) return .system_call_failed;
        entry.* = .{ .number = signal, .owner = owner(&action), .handler = action.handler };
        if (entry.owner == .faultline) into.installed |= signals.bit(signal);
    }
    var alternate: sys.AlternateStack = .{};
    if (!sys.sigaltstack(null, &alternate)) return .system_call_failed;
    const enabled = alternate.flags & sys.AlternateStack.disabled == 0;
    into.alternate_stack_base = if (enabled) alternate.base else 0;
    into.alternate_stack_length = if (enabled) alternate.length else 0;
    return .ok;
}
