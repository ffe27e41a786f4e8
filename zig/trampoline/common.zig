//! What every architecture's trampoline has: the slots, the thread-local words, and the addresses
//! of what the assembly defines.

const std = @import("std");
const assert = std.debug.assert;

pub const register_thunks_max = 1024;
pub const stack_thunks_max = 256;
/// Register thunks first, then stack thunks.
pub const slots_max = register_thunks_max + stack_thunks_max;
pub const first_stack_slot = register_thunks_max;
pub const barriers_max = 1024;
/// A thunk and a barrier are this long on every architecture.
const entry_length = 16;

/// What a thunk calls. Threads read `entry` at any time, so it is stored atomically.
pub const Slot = extern struct {
    /// Where the call goes: `target`, or one of the stubs `fl_arm` and `fl_closed`.
    entry: u64 = 0,
    target: u64 = 0,
    /// Signals to catch when the kernel raised them, bit n-1 for signal n.
    signals: u32 = 0,
    /// Signals to catch also when the library sent them to itself.
    raised: u32 = 0,
    /// Bytes of stack arguments, a multiple of 16; only for stack thunks and call blocks.
    stack_bytes: u32 = 0,
    /// How many wrappers use it on all threads, and `propagate_bit`. 0 when free.
    state: u32 = 0,

    /// Set in `state` when no exception of the call is to be caught.
    pub const propagate_bit: u32 = 1 << 31;

    comptime {
        assert(@sizeOf(Slot) == 32); // The assembly indexes with it.
        assert(@offsetOf(Slot, "target") == 8);
        assert(@offsetOf(Slot, "stack_bytes") == 24);
    }

    pub fn propagates(slot: *const Slot) bool {
        return slot.state & propagate_bit != 0;
    }
};

/// The thread-local words. Sixteen bytes, so that glibc and musl can place them in static TLS.
pub const ThreadLocal = extern struct {
    /// Innermost recovery frame; 0 when no guarded call runs. With `barrier_bit`, a barrier's
    /// frame: nothing may be recovered above it.
    guard: u64,
    /// The thread's `abi.ThreadRecord`; 0 before attach.
    record: u64,

    pub const barrier_bit = 1;
};

/// What a barrier stands in front of.
pub const Barrier = extern struct {
    /// 0 when the barrier was never used.
    target: u64,
    /// Thread-table key of the only thread that may call it; 0 when any may.
    owner: u64,

    comptime {
        assert(@sizeOf(Barrier) == 16); // The assembly indexes with it.
        assert(@offsetOf(Barrier, "owner") == 8);
    }
};

/// Where `fl_call_registers` finds things in an `abi.CallBlock`; asserted there.
pub const block_slot = 64;
pub const block_integers = 96;
pub const block_floats = 160;
pub const block_stack = 224;
pub const block_stack_bytes = 232;

pub extern var fl_slots: [slots_max]Slot;
/// 0 until the block is known to be static; the body then resolves the offset at each call.
pub extern var fl_tls_offset: u64;
pub extern var fl_barrier_targets: [barriers_max]Barrier;

extern fn fl_thunks() callconv(.c) void;
extern fn fl_stack_thunks() callconv(.c) void;
extern fn fl_barriers() callconv(.c) void;
extern fn fl_landing() callconv(.c) void;
extern fn fl_closed() callconv(.c) void;
extern fn fl_arm() callconv(.c) void;
extern fn fl_return_zero() callconv(.c) void;
extern fn fl_resolve_offset() callconv(.c) u64;
extern fn fl_descriptor_argument() callconv(.c) u64;
extern fn fl_call_registers(block: *anyopaque) callconv(.c) void;
extern fn fl_jump(guard: u64, offset: u64) callconv(.c) noreturn;
extern fn fl_handler() callconv(.c) void;
extern fn fl_restorer() callconv(.c) void;
extern fn fl_probe_copy(to: u64, from: u64, length: u64) callconv(.c) u64;
extern fn fl_probe_copy_vector() callconv(.c) void;
extern fn fl_probe_copy_bytes() callconv(.c) void;
extern fn fl_probe_copy_byte() callconv(.c) void;
extern fn fl_probe_copy_end() callconv(.c) void;
extern fn fl_probe_load(from: u64, to: *u64) callconv(.c) u64;
extern fn fl_probe_load_fault() callconv(.c) void;
extern fn fl_probe_load_end() callconv(.c) void;
extern fn fl_probe_pages(first: u64, last: u64) callconv(.c) u64;
extern fn fl_probe_pages_fault() callconv(.c) void;
extern fn fl_probe_pages_end() callconv(.c) void;

pub fn thunkAddress(index: u32) u64 {
    assert(index < slots_max);
    if (index < first_stack_slot) {
        return @intFromPtr(&fl_thunks) + entry_length * @as(u64, index);
    }
    return @intFromPtr(&fl_stack_thunks) + entry_length * @as(u64, index - first_stack_slot);
}

pub fn slotIndex(slot: u64) ?u32 {
    const base = @intFromPtr(&fl_slots);
    if (slot < base or slot >= base + @sizeOf(@TypeOf(fl_slots))) return null;
    if ((slot - base) % @sizeOf(Slot) != 0) return null;
    return @intCast((slot - base) / @sizeOf(Slot));
}

pub fn barrierAddress(index: u32) u64 {
    assert(index < barriers_max);
    return @intFromPtr(&fl_barriers) + entry_length * @as(u64, index);
}

pub fn isBarrier(address: u64) bool {
    return address -% barrierAddress(0) < entry_length * barriers_max;
}

/// A function that returns 0 of any type and does nothing.
pub fn returnZero() u64 {
    return @intFromPtr(&fl_return_zero);
}
pub fn landing() u64 {
    return @intFromPtr(&fl_landing);
}
pub fn closedEntry() u64 {
    return @intFromPtr(&fl_closed);
}
pub fn armEntry() u64 {
    return @intFromPtr(&fl_arm);
}
pub fn resolveOffset() u64 {
    return fl_resolve_offset();
}
pub fn descriptorArgument() u64 {
    return fl_descriptor_argument();
}
pub fn handlerEntry() u64 {
    return @intFromPtr(&fl_handler);
}
pub fn restorer() u64 {
    return @intFromPtr(&fl_restorer);
}

/// Calls the slot of a call block with the block's arguments.
pub fn callRegisters(block: *anyopaque) void {
    fl_call_registers(block);
}

/// Leaves the handler for the landing pad, without rt_sigreturn.
pub fn jump(guard: u64, offset: u64) noreturn {
    fl_jump(guard, offset);
}

/// Copies what can be read; the result is the number of bytes that were copied. A fault on the way
/// ends in the handler, which calls `fixup`.
pub fn probeCopy(to: []u8, from: u64) usize {
    return to.len - fl_probe_copy(@intFromPtr(to.ptr), from, to.len);
}

pub fn probeLoad(from: u64) ?u64 {
    var value: u64 = 0;
    return if (fl_probe_load(from, &value) == 0) value else null;
}

/// Whether one byte of each page from `first` to `last`, both included, can be read.
pub fn probePages(first: u64, last: u64) bool {
    assert(first <= last);
    return fl_probe_pages(first, last) != 0;
}

/// Where an interrupted probe has to resume, or null when `ip` is not in one.
pub fn fixup(ip: u64) ?u64 {
    if (ip == @intFromPtr(&fl_probe_copy_vector)) return @intFromPtr(&fl_probe_copy_bytes);
    if (ip == @intFromPtr(&fl_probe_copy_byte)) return @intFromPtr(&fl_probe_copy_end);
    if (ip == @intFromPtr(&fl_probe_load_fault)) return @intFromPtr(&fl_probe_load_end);
    if (ip == @intFromPtr(&fl_probe_pages_fault)) return @intFromPtr(&fl_probe_pages_end);
    return null;
}
