//! Guarded calls without JavaScript: the thunk, the handler and the landing pad, in one process
//! that really faults. The library's own attach needs the host's loader, so the thread is set up by
//! hand.

const std = @import("std");
const abi = @import("abi.zig");
const sys = @import("sys.zig").machine;
const trampoline = @import("trampoline.zig").machine;
const signals = @import("inside/signals.zig");
const threads = @import("inside/threads.zig");
const barriers = @import("outside/barriers.zig");
const install = @import("outside/install.zig");
const self_test = @import("outside/self_test.zig");
const slots = @import("outside/slots.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

var record: abi.ThreadRecord align(16) = std.mem.zeroes(abi.ThreadRecord);
var chunk: [2 * abi.exception_max]u8 align(8) = undefined;
var alternate_stack: [64 * 1024]u8 align(16) = undefined;

fn setUp() !*threads.Thread {
    const offset = trampoline.resolveOffset();
    trampoline.fl_tls_offset = offset;
    const local: *trampoline.ThreadLocal = @ptrFromInt(trampoline.threadPointer() +% offset);
    record = std.mem.zeroes(abi.ThreadRecord);
    record.chunk = @intFromPtr(&chunk);
    record.chunk_length = chunk.len;
    local.* = .{ .guard = 0, .record = @intFromPtr(&record) };
    const stack: sys.AlternateStack = .{
        .base = @intFromPtr(&alternate_stack),
        .length = alternate_stack.len,
    };
    try expect(sys.sigaltstack(&stack, null));
    return threads.add(.{
        .local = local,
        .record = @intFromPtr(&record),
        .process_id = sys.processId(),
        .thread_id = sys.threadId(),
        .stack_low = 0,
        .stack_high = 0,
        .stack_guard = 0,
        .signal_mask = sys.signalMask(),
        .alternate_base = stack.base,
        .alternate_length = stack.length,
        .alternate_owned = false,
        .busy = false,
        .unclaimed = .{},
    }).?;
}

fn tearDown(thread: *threads.Thread) !void {
    var foreign: u32 = 0;
    try expectEqual(.ok, install.uninstall(&foreign));
    threads.remove(thread);
}

fn target(kind: u32) callconv(.c) i32 {
    return @backingInt(self_test.run(@fromBackingInt(kind)));
}

const Thunk = *const fn (u32) callconv(.c) i32;

fn pendingException() *const abi.Exception {
    return @ptrFromInt(record.chunk + record.exception_offset);
}

test "a fault behind a thunk is recorded and the thunk returns" {
    const thread = try setUp();
    const index = slots.open(@intFromPtr(&target), signals.mask_default, 0).?;
    const thunk: Thunk = @ptrFromInt(trampoline.thunkAddress(index));
    const kinds = [_]abi.SelfTest{
        .null_read,         .null_write,             .read_only_write,     .non_canonical_read,
        .past_end_of_file,  .integer_division,       .illegal_instruction, .breakpoint,
        .misaligned_access, .privileged_instruction,
    };
    for (kinds) |kind| {
        record.chunk_used = 0;
        try expectEqual(0, thunk(@backingInt(kind)));
        try expectEqual(.exception, record.pending);
        try expectEqual(index, pendingException().slot);
        try expect(pendingException().instruction_pointer != 0);
        try expect(pendingException().stack_length > 0);
        try expectEqual(0, thread.local.guard);
        record.pending = .none;
    }
    try expectEqual(0, thunk(@backingInt(abi.SelfTest.none)));
    try expectEqual(.none, record.pending);
    slots.close(index);
    _ = thunk(@backingInt(abi.SelfTest.null_read));
    try expectEqual(.closed, record.pending);
    slots.release(index);
    try expectEqual(0, slots.openCount());
    try tearDown(thread);
}

fn echo(value: u64) callconv(.c) u64 {
    return value;
}

test "results reach the caller and the record" {
    const thread = try setUp();
    const index = slots.open(@intFromPtr(&echo), signals.mask_default, 0).?;
    const thunk: *const fn (u64) callconv(.c) u64 = @ptrFromInt(trampoline.thunkAddress(index));
    const value = 0x1234_5678_9abc_def0;
    try expectEqual(value, thunk(value)); // The first call arms the slot.
    try expectEqual(value, thunk(value));
    try expectEqual(value, record.result);
    slots.close(index);
    slots.release(index);
    try tearDown(thread);
}

var guard_in_callback: u64 = 1;
var open_in_callback = false;
var slot_of_callback: u32 = 0;
var control_in_callback: u32 = 0;

fn callback(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) callconv(.c) u64 {
    const thread = threads.current().?;
    guard_in_callback = thread.local.guard;
    open_in_callback = slots.inFlight(slot_of_callback);
    control_in_callback = asm volatile ("stmxcsr -8(%%rsp)\n movl -8(%%rsp), %[result]"
        : [result] "=r" (-> u32),
        :
        : .{ .memory = true });
    return a + 2 * b + 3 * c + 5 * d + 7 * e + 11 * f + 13 * g + 17 * h;
}

const Callback = @TypeOf(&callback);

/// Calls back with a rounding mode of its own, then faults.
fn callThenFault(function: Callback) callconv(.c) u64 {
    const odd: u32 = 0x7f80;
    asm volatile ("ldmxcsr (%[word])"
        :
        : [word] "r" (&odd),
        : .{ .memory = true });
    const sum = function(1, 2, 3, 4, 5, 6, 7, 8);
    if (sum != 1 + 4 + 9 + 20 + 35 + 66 + 91 + 136) return 0;
    _ = self_test.run(.null_read);
    return 0;
}

test "a barrier hides the recovery point, passes stack arguments and gives default control state" {
    const thread = try setUp();
    const index = slots.open(@intFromPtr(&callThenFault), signals.mask_default, 0).?;
    const thunk: *const fn (u64) callconv(.c) u64 = @ptrFromInt(trampoline.thunkAddress(index));
    slot_of_callback = index;
    _ = thunk(barriers.of(@intFromPtr(&callback)).?);
    try expectEqual(.exception, record.pending); // The sum was right, and the guard was back.
    try expectEqual(trampoline.ThreadLocal.barrier_bit, guard_in_callback & 15);
    try expect(open_in_callback);
    try expectEqual(0x1f80, control_in_callback & 0xffc0);
    slots.close(index);
    slots.release(index);
    try tearDown(thread);
}

test "dispositions are put back exactly" {
    var before: sys.Action = .{};
    try expect(sys.sigaction(sys.sigfpe, null, &before));
    try expectEqual(.ok, install.install(signals.mask_all));
    try expectEqual(.ok, install.install(signals.mask_all));
    var foreign: u32 = 0;
    const ignore: sys.Action = .{ .handler = sys.sig_ign };
    var ours: sys.Action = .{};
    try expect(sys.sigaction(sys.sigfpe, &ignore, &ours));
    try expectEqual(.foreign_handler, install.uninstall(&foreign));
    try expectEqual(sys.sigfpe, foreign);
    try expect(sys.sigaction(sys.sigfpe, &ours, null));
    try expectEqual(.ok, install.uninstall(&foreign));
    var after: sys.Action = .{};
    try expect(sys.sigaction(sys.sigfpe, null, &after));
    try expectEqual(before, after);
}

test "probes report what they could not read" {
    const thread = try setUp();
    try expectEqual(.ok, install.install(signals.mask_default));
    try expectEqual(null, trampoline.probeLoad(16));
    const word: u64 = 42;
    try expectEqual(42, trampoline.probeLoad(@intFromPtr(&word)).?);
    const pages = sys.map(2 * sys.page_size, sys.protection_read | sys.protection_write).?;
    sys.unmap(pages + sys.page_size, sys.page_size);
    var copy: [64]u8 = undefined;
    try expectEqual(24, trampoline.probeCopy(&copy, pages + sys.page_size - 24));
    sys.unmap(pages, sys.page_size);
    try tearDown(thread);
}
