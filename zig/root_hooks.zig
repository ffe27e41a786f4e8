//! Exported C symbols of hooks, and of the state that they see. Argument checks live here; logic
//! lives in the modules.

const std = @import("std");
const abi = @import("abi.zig");
const signals = @import("inside/signals.zig");
const hooks = @import("outside/hooks.zig");
const live = @import("outside/live.zig");

fn number(status: abi.Status) i32 {
    return @backingInt(status);
}

/// Adds a hook in front of all others: its index, or a negative status. `id` gets what tells it
/// from others that had the same index.
pub export fn fl_hook_add(request: *const abi.HookRequest, byte_length: u32, id: *u64) i32 {
    if (byte_length < @sizeOf(abi.HookRequest)) return number(.invalid_argument);
    if (@intFromPtr(request) % 8 != 0 or @intFromPtr(id) % 8 != 0) return number(.invalid_argument);
    if (std.enums.fromInt(abi.HookKind, @backingInt(request.kind)) == null) {
        return number(.invalid_argument);
    }
    if (request.signals == 0 or request.signals & ~signals.mask_all != 0) {
        return number(.invalid_argument);
    }
    if (request.range_length != 0 and
        request.range_start +% (request.range_length - 1) < request.range_start)
    {
        return number(.invalid_argument);
    }
    return hooks.add(request, id);
}

/// Takes a hook away: 1, or 0 when it was gone. `hits` gets how often it was asked.
pub export fn fl_hook_remove(index: u32, id: u64, hits: *u64) i32 {
    return hooks.remove(index, id, hits);
}

/// Finds out whether JavaScript can run with `byte_length` more on the stack, and not more than
/// `stack_max` in all. `function` is what runs hooks; it is called for the hook `u32_max`, which
/// has to answer "handled".
pub export fn fl_hook_probe(function: u64, byte_length: u32, stack_max: u32) void {
    if (function != 0) hooks.probeStack(function, byte_length, stack_max);
}

/// How often a hook was asked.
pub export fn fl_hook_hits(index: u32, id: u64) u64 {
    return hooks.hits(index, id);
}

/// Copies a part (abi.StatePart) of the state of the thread that the running hook interrupted: how
/// many bytes the part has. `place` is what the hook was called with.
pub export fn fl_state_read(place: f64, part: u32, into: *anyopaque, byte_length: u32) i32 {
    const known = std.enums.fromInt(abi.StatePart, part) orelse return number(.invalid_argument);
    const bytes: [*]u8 = @ptrCast(into);
    return live.read(@intFromFloat(place), known, bytes[0..byte_length]);
}

/// Sets the general registers whose bits are set in `mask`, by their order in the machine context.
/// `words` has room for all.
pub export fn fl_state_set_registers(place: f64, mask: u64, words: *const anyopaque) i32 {
    if (@intFromPtr(words) % 8 != 0) return number(.invalid_argument);
    const values: [*]const u64 = @ptrCast(@alignCast(words));
    return number(live.setRegisters(@intFromFloat(place), mask, values[0..live.register_count]));
}

/// Makes the thread continue with another state.
pub export fn fl_state_write(place: f64, part: u32, from: *const anyopaque, byte_length: u32) i32 {
    const known = std.enums.fromInt(abi.StatePart, part) orelse return number(.invalid_argument);
    const bytes: [*]const u8 = @ptrCast(from);
    return number(live.write(@intFromFloat(place), known, bytes[0..byte_length]));
}
