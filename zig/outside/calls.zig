//! Runs call blocks: calls whose arguments, recovery state and results lie in memory, so that any
//! thread can make them.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const trampoline = @import("../trampoline.zig").machine;
const threads = @import("../inside/threads.zig");
const attach = @import("attach.zig");
const install = @import("install.zig");
const assert = std.debug.assert;

comptime {
    // The trampoline reads the block, and calls its slot as one of the table.
    assert(@offsetOf(abi.CallBlock, "entry") == trampoline.block_slot);
    assert(@offsetOf(abi.CallBlock, "integers") == trampoline.block_integers);
    assert(@offsetOf(abi.CallBlock, "floats") == trampoline.block_floats);
    assert(@offsetOf(abi.CallBlock, "stack") == trampoline.block_stack);
    assert(@offsetOf(abi.CallBlock, "stack_bytes") == trampoline.block_stack_bytes);
    const slot = trampoline.Slot;
    const first = trampoline.block_slot;
    assert(@offsetOf(abi.CallBlock, "caught") == first + @offsetOf(slot, "signals"));
    assert(@offsetOf(abi.CallBlock, "raised") == first + @offsetOf(slot, "raised"));
    assert(@offsetOf(abi.CallBlock, "slot_stack_bytes") == first + @offsetOf(slot, "stack_bytes"));
    assert(@offsetOf(abi.CallBlock, "slot_state") == first + @offsetOf(slot, "state"));
}

/// Makes the call on the running thread, which is attached if it is not yet.
pub fn run(block: *abi.CallBlock) void {
    block.status = execute(block);
}

fn execute(block: *abi.CallBlock) abi.Status {
    const thread = threads.current() orelse switch (attach.attach(null)) {
        .ok => threads.current().?,
        else => |status| return status,
    };
    const status = install.install(block.caught | block.raised);
    if (status != .ok) return status;
    const own = thread.record == 0;
    if (own) {
        thread.record = @intFromPtr(&block.record);
        thread.local.record = thread.record;
    }
    const block_slot = thread.block_slot;
    thread.block_slot = @intFromPtr(&block.entry);
    block.entry = block.target;
    block.slot_stack_bytes = block.stack_bytes;
    trampoline.callRegisters(block);
    thread.block_slot = block_slot;
    if (own) {
        thread.local.record = 0;
        thread.record = 0;
    }
    return .ok;
}
