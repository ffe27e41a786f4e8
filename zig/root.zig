//! Exported C symbols. Argument checks live here; logic lives in the modules. Crash reports have
//! theirs in root_crash.zig, hooks in root_hooks.zig.

const std = @import("std");
const abi = @import("abi.zig");
const gen = @import("gen.zig");
const sys = @import("sys.zig").machine;
const trampoline = @import("trampoline.zig").machine;
const handler = @import("inside/handler.zig");
const signals = @import("inside/signals.zig");
const attach = @import("outside/attach.zig");
const barriers = @import("outside/barriers.zig");
const blocks = @import("outside/blocks.zig");
const calls = @import("outside/calls.zig");
const hooks = @import("outside/hooks.zig");
const install = @import("outside/install.zig");
const libraries = @import("outside/libraries.zig");
const machine_facts = @import("outside/machine_facts.zig");
const mappings = @import("outside/mappings.zig");
const memory = @import("outside/memory.zig");
const pool = @import("outside/pool.zig");
const regions = @import("outside/regions.zig");
const self_test = @import("outside/self_test.zig");
const slots = @import("outside/slots.zig");
const strings = @import("outside/strings.zig");
const suspects = @import("outside/suspects.zig");
const tracking = @import("outside/tracking.zig");

/// Safety panics print, and printing pulls in libc and 130 KiB. A failed check is a crash here.
pub const panic = std.debug.no_panic;
pub const std_options: std.Options = .{ .enable_segfault_handler = false };

fn number(status: abi.Status) i32 {
    return @backingInt(status);
}

/// Hash over layouts and signatures, compared at load.
pub export fn fl_abi_hash() u64 {
    return gen.hash;
}

/// The package's version: major, minor and patch, 8 bits for each of the last two.
pub export fn fl_version() u32 {
    return @intCast(abi.version.major << 16 | abi.version.minor << 8 | abi.version.patch);
}

/// Makes the running thread ready. `record` is zeroed memory that outlives every guarded call of
/// this thread; `byte_length` its size.
pub export fn fl_attach(record: *abi.ThreadRecord, byte_length: u32) i32 {
    if (byte_length < @sizeOf(abi.ThreadRecord)) return number(.invalid_argument);
    if (@intFromPtr(record) % @alignOf(abi.ThreadRecord) != 0) return number(.invalid_argument);
    record.size = @sizeOf(abi.ThreadRecord);
    record.exception_size_max = abi.exception_max;
    return number(attach.attach(record));
}

/// The kernel's id of the running thread.
pub export fn fl_thread_id() u32 {
    return sys.threadId();
}

/// Where the handler writes exceptions from now on: 8-byte aligned, alive until the next chunk.
pub export fn fl_give_chunk(record: *abi.ThreadRecord, chunk: *anyopaque, byte_length: u32) i32 {
    if (@intFromPtr(chunk) % 8 != 0) return number(.invalid_argument);
    if (byte_length < abi.exception_max) return number(.invalid_argument);
    record.chunk_length = 0; // Never a moment with the old length at the new address.
    record.chunk = @intFromPtr(chunk);
    record.chunk_used = 0;
    record.chunk_length = byte_length;
    return number(.ok);
}

/// Installs the handlers of the signals in `mask`, bit n-1 for signal n.
pub export fn fl_install(mask: u32) i32 {
    if (mask & ~signals.mask_all != 0) return number(.invalid_argument);
    return number(install.install(mask));
}

/// Puts the previous dispositions back. On `foreign_handler`, `foreign_signal` says whose.
pub export fn fl_uninstall(foreign_signal: *u32) i32 {
    foreign_signal.* = 0;
    return number(install.uninstall(foreign_signal));
}

/// Puts our handlers on top of whatever displaced them.
pub export fn fl_reinstall() i32 {
    return number(install.reinstall());
}

/// Who owns which signal, and this thread's alternate stack.
pub export fn fl_status(into: *abi.ProcessStatus, byte_length: u32) i32 {
    if (byte_length < @sizeOf(abi.ProcessStatus)) return number(.invalid_argument);
    return number(install.status(into));
}

/// A thunk for `target`: its index, or a negative status. `caught` and `raised` are signal masks,
/// `stack_bytes` the size of the stack arguments, `propagate` 1 when nothing is to be caught.
pub export fn fl_slot_open(
    target: u64,
    caught: u32,
    raised: u32,
    stack_bytes: u32,
    propagate: u32,
) i32 {
    if (target == 0 or stack_bytes % 16 != 0) return number(.invalid_argument);
    if (stack_bytes > stack_bytes_max) return number(.invalid_argument);
    if ((caught | raised) & ~signals.mask_all != 0) return number(.invalid_argument);
    const index = slots.open(.{
        .target = target,
        .caught = caught,
        .raised = raised,
        .stack_bytes = stack_bytes,
        .propagate = propagate != 0,
    }) orelse return number(.no_free_slot);
    return @intCast(index);
}

/// More stack arguments than that are a mistake in the definition.
const stack_bytes_max = 64 * 1024;

/// Gives a slot back that nobody can call any more.
pub export fn fl_slot_release(index: u32) i32 {
    if (index >= trampoline.slots_max) return number(.invalid_argument);
    slots.release(index);
    return number(.ok);
}

/// 1 while a call through the slot is open on this thread.
pub export fn fl_slot_in_flight(index: u32) i32 {
    if (index >= trampoline.slots_max) return number(.invalid_argument);
    return @intFromBool(slots.inFlight(index));
}

/// Address of a thunk, 0 when there is none with that index.
pub export fn fl_thunk_address(index: u32) u64 {
    return if (index < trampoline.slots_max) trampoline.thunkAddress(index) else 0;
}

/// Runs a call block on this thread; its `status` says what became of it. Void: what the call runs
/// may be JavaScript, and Deno aborts when that returns into a call with a result.
pub export fn fl_call_block(block: *abi.CallBlock) void {
    if (callable(block)) calls.run(block) else block.status = .invalid_argument;
}

/// A copy of a call block that outlives the memory it is copied from: its handle, or 0.
pub export fn fl_block_open(block: *const abi.CallBlock) u64 {
    if (!callable(block)) return 0;
    return @intFromPtr(blocks.open(block) orelse return 0);
}

/// Runs an opened block on this thread.
pub export fn fl_block_run(handle: u64) void {
    if (handle != 0) _ = blocks.run(@ptrFromInt(handle));
}

/// Runs an opened block on some other thread, and then rings `doorbell`, a `void ()`; none if 0.
pub export fn fl_block_submit(handle: u64, doorbell: u64) i32 {
    if (handle == 0) return number(.invalid_argument);
    return number(pool.submit(@ptrFromInt(handle), doorbell));
}

/// 1 when an opened block has run.
pub export fn fl_block_done(handle: u64) i32 {
    if (handle == 0) return number(.invalid_argument);
    return @intFromBool(blocks.isDone(@ptrFromInt(handle)));
}

/// Copies status, results and exception of a block that has run, and frees it.
pub export fn fl_block_close(
    handle: u64,
    block: *abi.CallBlock,
    chunk: *anyopaque,
    byte_length: u32,
) i32 {
    if (handle == 0) return number(.invalid_argument);
    const bytes: [*]u8 = @ptrCast(chunk);
    blocks.close(@ptrFromInt(handle), block, bytes[0..byte_length]);
    return number(.ok);
}

fn callable(block: *const abi.CallBlock) bool {
    if (block.target == 0 or block.stack_bytes % 16 != 0) return false;
    if (block.stack_bytes > stack_bytes_max) return false;
    if (block.stack_bytes != 0 and block.stack == 0) return false;
    return (block.caught | block.raised) & ~signals.mask_all == 0;
}

/// How a recovery leaves the handler: 0 as the machine allows, 1 by rt_sigreturn, 2 by a jump.
pub export fn fl_set_exit(mode: u32) i32 {
    switch (mode) {
        0 => handler.leave_by_jump = !sys.needsSigreturn(),
        1 => handler.leave_by_jump = false,
        2 => {
            if (sys.needsSigreturn()) return number(.not_supported);
            handler.leave_by_jump = true;
        },
        else => return number(.invalid_argument),
    }
    return number(.ok);
}

/// A barrier of its own for a callback of this thread: 0 when all are taken.
pub export fn fl_callback_open(function: u64) u64 {
    if (function == 0) return 0;
    return barriers.open(function) orelse 0;
}

/// From now on the callback returns 0.
pub export fn fl_callback_close(barrier: u64) i32 {
    barriers.close(barrier);
    return number(.ok);
}

/// The barrier in front of a function that native code will call: 0 when all are taken.
pub export fn fl_barrier(function: u64) u64 {
    if (function == 0 or barriers.isBarrier(function)) return function;
    return barriers.of(function) orelse 0;
}

/// The argument as it came: between the runtimes' pointer types and integers, and from a buffer to
/// its address, without the permission that their own conversions need.
pub export fn fl_identity(value: u64) u64 {
    return value;
}

/// Opens a library. 0 on failure, with the loader's words in `message`.
pub export fn fl_library_open(path: *const anyopaque, message: *anyopaque, byte_length: u32) u64 {
    const text: [*]u8 = @ptrCast(message);
    return libraries.open(@ptrCast(path), text[0..byte_length]);
}

/// Address of a symbol of an opened library, 0 when it has none.
pub export fn fl_library_symbol(handle: u64, name: *const anyopaque) u64 {
    if (handle == 0) return 0;
    return libraries.symbol(handle, @ptrCast(name));
}

pub export fn fl_library_close(handle: u64) i32 {
    if (handle == 0) return number(.invalid_argument);
    return libraries.close(handle);
}

/// Copies the string at `address` without its zero, as far as it fits, and gives its whole length.
/// Called through a thunk: the string may end in memory that is not there.
pub export fn fl_string_read(address: u64, into: *anyopaque, byte_length: u32) u64 {
    const bytes: [*]u8 = @ptrCast(into);
    return strings.read(address, bytes[0..byte_length]);
}

/// The value of 1, 2, 4 or 8 bytes at `address`, 0 for another width. Called through a thunk.
pub export fn fl_value_read(address: u64, byte_length: u32) u64 {
    return strings.value(address, byte_length) orelse 0;
}

/// Copies memory of this process to `into`, or faults at the first byte that cannot be read before
/// anything is copied. Called through a thunk. Lengths are whole numbers below 2^53: what
/// JavaScript has, and a bigint costs more than a small copy.
pub export fn fl_read_memory(from: u64, into: *anyopaque, byte_length: f64) void {
    const length: u64 = @intFromFloat(byte_length);
    if (length != 0) memory.read(from, @ptrCast(into), length);
}

/// Copies `from` to memory of this process, or faults at the first byte that cannot be written
/// before anything is copied. Called through a thunk.
pub export fn fl_write_memory(to: u64, from: *const anyopaque, byte_length: f64) void {
    const length: u64 = @intFromFloat(byte_length);
    if (length != 0) memory.write(to, @ptrCast(from), length);
}

/// 1 when every byte of the range can be read, 0 when not.
pub export fn fl_is_readable(address: u64, byte_length: f64) i32 {
    const length: u64 = @intFromFloat(byte_length);
    if (length == 0) return 1;
    if (address +% (length - 1) < address) return number(.invalid_argument);
    const readable = memory.isReadable(address, length) catch return number(.system_call_failed);
    return @intFromBool(readable);
}

/// Changes the protection of the pages that the range touches: 0, or an errno. `before` gets the
/// first page's bits.
pub export fn fl_protect(address: u64, byte_length: f64, protection: u32, before: *u32) i32 {
    const length: u64 = @intFromFloat(byte_length);
    before.* = 0;
    if (protection > 7 or length == 0) return number(.invalid_argument);
    if (address +% (length - 1) < address) return number(.invalid_argument);
    return memory.protect(address, length, protection, before) catch
        number(.system_call_failed);
}

/// The mapping that holds `address`: 1, or 0 when there is none.
pub export fn fl_mapping_of(address: u64, into: *abi.Mapping, byte_length: u32) i32 {
    if (byte_length < @sizeOf(abi.Mapping)) return number(.invalid_argument);
    const found = memory.mappingOf(address, into) catch return number(.system_call_failed);
    return @intFromBool(found);
}

/// The mappings below, at and above `address`: three `Mapping`, with size 0 where there is none.
pub export fn fl_mappings_around(address: u64, into: *anyopaque, byte_length: u32) i32 {
    if (byte_length < 3 * @sizeOf(abi.Mapping)) return number(.invalid_argument);
    if (@intFromPtr(into) % @alignOf(abi.Mapping) != 0) return number(.invalid_argument);
    memory.neighbours(address, @ptrCast(@alignCast(into))) catch {
        return number(.system_call_failed);
    };
    return number(.ok);
}

/// Copies what can be read of the bytes at `address`: how many, from the first on.
pub export fn fl_read_available(address: u64, into: *anyopaque, byte_length: u32) i32 {
    const bytes: [*]u8 = @ptrCast(into);
    const available = memory.readAvailable(address, bytes[0..byte_length]) catch {
        return number(.system_call_failed);
    };
    return @intCast(available);
}

/// Maps `byte_length` bytes of an open file from `offset` on. What is written gets into the file
/// only when `shared` is 1. `into.errno` says why the system refused.
pub export fn fl_mapping_open(
    descriptor: u32,
    offset: u64,
    byte_length: f64,
    shared: u32,
    into: *abi.OpenedMemory,
    into_length: u32,
) i32 {
    if (into_length < @sizeOf(abi.OpenedMemory)) return number(.invalid_argument);
    const length = lengthFrom(byte_length) orelse return number(.invalid_argument);
    if (offset > offset_max) return number(.invalid_argument);
    into.errno = 0;
    return number(mappings.open(descriptor, offset, length, shared != 0, into));
}

const length_max = 1 << 53;
const offset_max = std.math.maxInt(i64) - length_max;

/// A length that is not 0, or null.
fn lengthFrom(value: f64) ?u64 {
    return if (value >= 1 and value < length_max) @intFromFloat(value) else null;
}

/// Lost parts of a mapped file into an array of `LostRange`: how many. `cursor` starts at 0, and
/// fewer than fit are the last.
pub export fn fl_mapping_lost(
    handle: u64,
    cursor: *u64,
    into: *anyopaque,
    byte_length: u32,
) i32 {
    if (handle == 0 or @intFromPtr(into) % 8 != 0) return number(.invalid_argument);
    const ranges: [*]abi.LostRange = @ptrCast(@alignCast(into));
    const room = byte_length / @sizeOf(abi.LostRange);
    return @intCast(mappings.lost(@ptrFromInt(handle), cursor, ranges[0..room]));
}

/// Writes what was changed to the file: 0, or an errno.
pub export fn fl_mapping_flush(handle: u64) i32 {
    if (handle == 0) return number(.invalid_argument);
    return mappings.flush(@ptrFromInt(handle));
}

/// Fresh memory whose first writes are noted in the way `wanted` (abi.Tracking).
pub export fn fl_tracker_open(
    byte_length: f64,
    wanted: u32,
    into: *abi.OpenedMemory,
    into_length: u32,
) i32 {
    if (into_length < @sizeOf(abi.OpenedMemory)) return number(.invalid_argument);
    const way = std.enums.fromInt(abi.Tracking, wanted) orelse return number(.invalid_argument);
    const length = lengthFrom(byte_length) orelse return number(.invalid_argument);
    into.errno = 0;
    return number(tracking.open(length, way, into));
}

/// Written ranges of tracked memory into an array of `WrittenRange`: how many. `cursor` starts at
/// 0, and fewer than fit are the last.
pub export fn fl_tracker_take(
    handle: u64,
    cursor: *u64,
    into: *anyopaque,
    byte_length: u32,
) i32 {
    if (handle == 0 or @intFromPtr(into) % 8 != 0) return number(.invalid_argument);
    const ranges: [*]abi.WrittenRange = @ptrCast(@alignCast(into));
    const room = byte_length / @sizeOf(abi.WrittenRange);
    return tracking.take(@ptrFromInt(handle), cursor, ranges[0..room]);
}

/// Ends a mapped file or tracked memory; once more does nothing. `unused` is 1 when no array over
/// the memory is left; else it stays as zeroes.
pub export fn fl_memory_close(handle: u64, unused: u32) i32 {
    regions.close(handle, unused != 0);
    return number(.ok);
}

/// The allocator, loader and lock functions that were running when an exception happened: their
/// names, innermost first, each with a zero behind it. The bytes written, 0 when there was none.
pub export fn fl_suspects(
    exception: *const anyopaque,
    exception_length: u32,
    into: *anyopaque,
    byte_length: u32,
) i32 {
    if (exception_length < @sizeOf(abi.Exception)) return number(.invalid_argument);
    if (@intFromPtr(exception) % 8 != 0) return number(.invalid_argument);
    const known: *const abi.Exception = @ptrCast(@alignCast(exception));
    if (known.size > exception_length) return number(.invalid_argument);
    const names: [*]u8 = @ptrCast(into);
    return @intCast(suspects.name(known, names[0..byte_length]));
}

/// What this machine and this process allow.
pub export fn fl_machine_facts(into: *abi.MachineFacts, byte_length: u32) i32 {
    if (byte_length < @sizeOf(abi.MachineFacts)) return number(.invalid_argument);
    machine_facts.read(into);
    return number(.ok);
}

/// Makes the exception that `kind` (abi.SelfTest) names. Called through a thunk like any function.
pub export fn fl_self_test(kind: u32) i32 {
    const known = std.enums.fromInt(abi.SelfTest, kind) orelse return number(.invalid_argument);
    return number(self_test.run(known));
}

comptime {
    _ = @import("root_crash.zig");
    _ = @import("root_hooks.zig");
}

test {
    _ = @import("outside/machine_facts.zig");
    _ = @import("inside/handler.zig");
    _ = @import("guarded_call_test.zig");
    _ = @import("outside/engine_code.zig");
    _ = @import("outside/exports.zig");
    _ = @import("inside/maps.zig");
    _ = @import("inside/suspects.zig");
    _ = mappings;
    _ = memory;
    _ = tracking;
    _ = @import("inside/pages.zig");
    _ = barriers;
    _ = hooks;
    _ = slots;
    _ = strings;
}
