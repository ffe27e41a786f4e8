//! Call blocks that run on other threads, in memory of our own: the JavaScript that asked for the
//! call may be gone before the call ends, and its memory with it.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const threads = @import("../inside/threads.zig");
const calls = @import("calls.zig");
const lock = @import("lock.zig");

/// Stack arguments that a block keeps in itself; more get a mapping of their own.
const stack_inline = 1024;

pub const Block = struct {
    call: abi.CallBlock,
    /// Thread-table key of the thread that opened it.
    owner: u64,
    next: ?*Block,
    state: State,
    /// Its thread has ended: whoever finishes it frees it.
    orphan: bool,
    stack: [stack_inline]u8 align(16),
    chunk: [abi.exception_max]u8 align(8),

    pub const State = enum { open, running, done };
};

var used: ?*Block = null;
var free: ?*Block = null;
var free_count: u32 = 0;
const free_max = 64;

/// A copy of `call` with memory for its stack arguments and its exception; null without memory.
pub fn open(call: *const abi.CallBlock) ?*Block {
    const thread = threads.current() orelse return null;
    const block = take() orelse return null;
    block.call = call.*;
    block.call.record = std.mem.zeroes(abi.ThreadRecord);
    block.call.record.chunk = @intFromPtr(&block.chunk);
    block.call.record.chunk_length = block.chunk.len;
    block.owner = thread.key;
    block.state = .open;
    block.orphan = false;
    if (!copyStack(block, call)) {
        give(block);
        return null;
    }
    lock.acquire();
    defer lock.release();
    block.next = used;
    used = block;
    return block;
}

fn copyStack(block: *Block, call: *const abi.CallBlock) bool {
    if (call.stack_bytes == 0) return true;
    const from: [*]const u8 = @ptrFromInt(call.stack);
    var to: [*]u8 = &block.stack;
    if (call.stack_bytes > stack_inline) {
        const access = sys.protection_read | sys.protection_write;
        to = @ptrFromInt(sys.map(call.stack_bytes, access) orelse return false);
    }
    @memcpy(to[0..call.stack_bytes], from[0..call.stack_bytes]);
    block.call.stack = @intFromPtr(to);
    return true;
}

/// Makes the call on the running thread. The owner's thread-table key when it waits for the end.
pub fn run(block: *Block) ?u64 {
    block.state = .running;
    calls.run(&block.call);
    lock.acquire();
    defer lock.release();
    block.state = .done;
    if (!block.orphan) return block.owner;
    remove(block);
    return null;
}

pub fn isDone(block: *const Block) bool {
    lock.acquire();
    defer lock.release();
    return block.state == .done;
}

/// Copies what a finished call left to `call` and `chunk`, and frees the block.
pub fn close(block: *Block, call: *abi.CallBlock, chunk: []u8) void {
    call.status = block.call.status;
    call.record.pending = block.call.record.pending;
    call.record.result = block.call.record.result;
    call.record.result_float = block.call.record.result_float;
    call.record.exception_offset = 0;
    if (call.record.pending == .exception) {
        const exception: *const abi.Exception = @ptrCast(&block.chunk);
        const length = @min(exception.size, chunk.len);
        @memcpy(chunk[0..length], block.chunk[0..length]);
    }
    lock.acquire();
    defer lock.release();
    remove(block);
}

/// A thread ended: nobody waits for its blocks.
pub fn orphan(key: u64) void {
    lock.acquire();
    defer lock.release();
    var block = used;
    while (block) |one| {
        block = one.next;
        if (one.owner != key) continue;
        one.orphan = true;
        if (one.state == .done) remove(one);
    }
}

/// Takes a block out of the list of those in use. Under the lock.
fn remove(block: *Block) void {
    var place = &used;
    while (place.*) |one| : (place = &one.next) {
        if (one != block) continue;
        place.* = one.next;
        break;
    }
    if (block.call.stack_bytes > stack_inline) sys.unmap(block.call.stack, block.call.stack_bytes);
    block.next = free;
    free = block;
    free_count += 1;
    if (free_count <= free_max) return;
    free = block.next;
    free_count -= 1;
    sys.unmap(@intFromPtr(block), @sizeOf(Block));
}

fn take() ?*Block {
    {
        lock.acquire();
        defer lock.release();
        if (free) |block| {
            free = block.next;
            free_count -= 1;
            return block;
        }
    }
    const access = sys.protection_read | sys.protection_write;
    return @ptrFromInt(sys.map(@sizeOf(Block), access) orelse return null);
}

fn give(block: *Block) void {
    sys.unmap(@intFromPtr(block), @sizeOf(Block));
}
