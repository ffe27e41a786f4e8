//! Guarded calls without JavaScript: the thunk, the handler and the landing pad, in one process
//! that really faults. The library's own attach needs the host's loader, so the thread is set up by
//! hand.

const std = @import("std");
const builtin = @import("builtin");
const abi = @import("abi.zig");
const sys = @import("sys.zig").machine;
const trampoline = @import("trampoline.zig").machine;
const signals = @import("inside/signals.zig");
const threads = @import("inside/threads.zig");
const barriers = @import("outside/barriers.zig");
const install = @import("outside/install.zig");
const self_test = @import("outside/self_test.zig");
const slots = @import("outside/slots.zig");
const blocks = @import("outside/blocks.zig");
const calls = @import("outside/calls.zig");
const handler = @import("inside/handler.zig");
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

var record: abi.ThreadRecord align(16) = std.mem.zeroes(abi.ThreadRecord);
var chunk: [2 * abi.exception_max]u8 align(8) = undefined;
var alternate_stack: [64 * 1024]u8 align(16) = undefined;

fn setUp() !*threads.Thread {
    const offset = trampoline.resolveOffset();
    trampoline.tls_offset.* = offset;
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

fn openSlot(function: u64, stack_bytes: u32) u32 {
    return slots.open(.{
        .target = function,
        .caught = signals.mask_default,
        .raised = 0,
        .stack_bytes = stack_bytes,
        .propagate = false,
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
    const index = openSlot(@intFromPtr(&target), 0);
    const thunk: Thunk = @ptrFromInt(trampoline.thunkAddress(index));
    const kinds = [_]abi.SelfTest{
        .null_read,         .null_write,             .read_only_write,     .non_canonical_read,
        .past_end_of_file,  .integer_division,       .illegal_instruction, .breakpoint,
        .misaligned_access, .privileged_instruction,
    };
    for (kinds) |kind| {
        if (kind == .integer_division and !x86_64) continue; // It gives 0.
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
    slots.release(index);
    _ = thunk(@backingInt(abi.SelfTest.null_read));
    try expectEqual(.closed, record.pending);
    try expectEqual(0, slots.openCount());
    try tearDown(thread);
}

fn echo(value: u64) callconv(.c) u64 {
    return value;
}

test "results reach the caller and the record" {
    const thread = try setUp();
    const index = openSlot(@intFromPtr(&echo), 0);
    const thunk: *const fn (u64) callconv(.c) u64 = @ptrFromInt(trampoline.thunkAddress(index));
    const value = 0x1234_5678_9abc_def0;
    try expectEqual(value, thunk(value)); // The first call arms the slot.
    try expectEqual(value, thunk(value));
    try expectEqual(value, record.result);
    slots.release(index);
    try tearDown(thread);
}

const x86_64 = builtin.cpu.arch == .x86_64;
/// Without the sticky flags.
const default_control: u32 = if (x86_64) 0x1f80 else 0;

fn control() u32 {
    if (!x86_64) return @truncate(asm volatile ("mrs %[result], fpcr"
        : [result] "=r" (-> u64),
    ));
    const word = asm volatile ("stmxcsr -8(%%rsp)\n movl -8(%%rsp), %[result]"
        : [result] "=r" (-> u32),
        :
        : .{ .memory = true });
    return word & 0xffc0;
}

/// Another rounding mode.
fn setOddControl() void {
    if (!x86_64) return asm volatile ("msr fpcr, %[word]"
        :
        : [word] "r" (@as(u64, 0xc0_0000)),
    );
    const odd: u32 = 0x7f80;
    asm volatile ("ldmxcsr (%[word])"
        :
        : [word] "r" (&odd),
        : .{ .memory = true });
}

var guard_in_callback: u64 = 1;
var open_in_callback = false;
var slot_of_callback: u32 = 0;
var control_in_callback: u32 = 0;

fn callback(a: u64, b: u64, c: u64, d: u64, e: u64, f: u64, g: u64, h: u64) callconv(.c) u64 {
    const thread = threads.current().?;
    guard_in_callback = thread.local.guard;
    open_in_callback = slots.inFlight(slot_of_callback);
    control_in_callback = control();
    return a + 2 * b + 3 * c + 5 * d + 7 * e + 11 * f + 13 * g + 17 * h;
}

const Callback = @TypeOf(&callback);

/// Calls back with a rounding mode of its own, then faults.
fn callThenFault(function: Callback) callconv(.c) u64 {
    setOddControl();
    const sum = function(1, 2, 3, 4, 5, 6, 7, 8);
    if (sum != 1 + 4 + 9 + 20 + 35 + 66 + 91 + 136) return 0;
    _ = self_test.run(.null_read);
    return 0;
}

test "a barrier hides the recovery point, passes stack arguments and gives default control state" {
    const thread = try setUp();
    const index = openSlot(@intFromPtr(&callThenFault), 0);
    const thunk: *const fn (u64) callconv(.c) u64 = @ptrFromInt(trampoline.thunkAddress(index));
    slot_of_callback = index;
    _ = thunk(barriers.of(@intFromPtr(&callback)).?);
    try expectEqual(.exception, record.pending); // The sum was right, and the guard was back.
    try expectEqual(trampoline.ThreadLocal.barrier_bit, guard_in_callback & 15);
    try expect(open_in_callback);
    try expectEqual(default_control, control_in_callback);
    slots.release(index);
    try tearDown(thread);
}

fn tenArguments(
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    f: u64,
    x: f64,
    g: u64,
    h: u64,
    i: u64,
    fault: u64,
) callconv(.c) u64 {
    if (fault != 0) _ = self_test.run(.null_read);
    const whole: u64 = @intFromFloat(x);
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + whole;
}

const ten_sum = 1 + 4 + 9 + 16 + 25 + 36 + 49 + 64 + 81 + 100;

test "stack arguments arrive, and a fault behind them is caught, by either exit" {
    const thread = try setUp();
    const index = openSlot(@intFromPtr(&tenArguments), 32);
    try expect(index >= trampoline.first_stack_slot);
    const thunk: @TypeOf(&tenArguments) = @ptrFromInt(trampoline.thunkAddress(index));
    for ([_]bool{ false, true }) |jump| {
        handler.leave_by_jump = jump;
        record.chunk_used = 0;
        try expectEqual(ten_sum, thunk(1, 2, 3, 4, 5, 6, 100, 7, 8, 9, 0));
        try expectEqual(.none, record.pending);
        try expectEqual(0, thunk(1, 2, 3, 4, 5, 6, 100, 7, 8, 9, 1));
        try expectEqual(.exception, record.pending);
        record.pending = .none;
    }
    slots.release(index);
    try tearDown(thread);
}

test "a call block passes everything" {
    const thread = try setUp();
    // x86-64 passes six integers in registers, arm64 eight.
    const stack = if (x86_64) [_]u64{ 7, 8, 9, 0 } else [_]u64{ 9, 0, 0, 0 };
    var block = std.mem.zeroes(abi.CallBlock);
    block.target = @intFromPtr(&tenArguments);
    block.caught = signals.mask_default;
    block.integers = .{ 1, 2, 3, 4, 5, 6, 7, 8 };
    block.floats[0] = 100;
    block.stack = @intFromPtr(&stack);
    block.stack_bytes = 32;
    calls.run(&block);
    try expectEqual(.ok, block.status);
    try expectEqual(ten_sum, record.result); // A thread with a record uses its own.
    block.target = 16; // Nothing is mapped there.
    record.chunk_used = 0;
    calls.run(&block);
    try expectEqual(.exception, record.pending);
    try tearDown(thread);
}

test "an opened block runs without its thread's record, and keeps its exception" {
    const thread = try setUp();
    var call = std.mem.zeroes(abi.CallBlock);
    call.target = @intFromPtr(&target);
    call.caught = signals.mask_default;
    call.integers[0] = @backingInt(abi.SelfTest.null_read);
    const block = blocks.open(&call).?;
    thread.record = 0;
    thread.local.record = 0;
    try expectEqual(thread.key, blocks.run(block).?);
    try expectEqual(0, thread.record);
    try expect(blocks.isDone(block));
    var bytes: [abi.exception_max]u8 align(8) = undefined;
    blocks.close(block, &call, &bytes);
    try expectEqual(.ok, call.status);
    try expectEqual(.exception, call.record.pending);
    const exception: *const abi.Exception = @ptrCast(&bytes);
    try expectEqual(sys.sigsegv, exception.signal);
    try expectEqual(0x10, exception.address);
    try tearDown(thread);
}

test "a function at a non-canonical address is a fault of its call" {
    const thread = try setUp();
    const index = openSlot(1 << 47, 0);
    const thunk: Thunk = @ptrFromInt(trampoline.thunkAddress(index));
    for (0..3) |_| {
        record.chunk_used = 0;
        _ = thunk(0);
        try expectEqual(.exception, record.pending);
        record.pending = .none;
    }
    slots.release(index);
    try tearDown(thread);
}

test "a shared slot lives as long as one use of it" {
    const thread = try setUp();
    const first = openSlot(@intFromPtr(&echo), 0);
    try expectEqual(first, openSlot(@intFromPtr(&echo), 0));
    slots.release(first);
    const thunk: *const fn (u64) callconv(.c) u64 = @ptrFromInt(trampoline.thunkAddress(first));
    try expectEqual(5, thunk(5));
    slots.release(first);
    try expectEqual(0, slots.openCount());
    _ = thunk(5);
    try expectEqual(.closed, record.pending);
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
    const pages = sys.map(2 * sys.pageSize(), sys.protection_read | sys.protection_write).?;
    sys.unmap(pages + sys.pageSize(), sys.pageSize());
    var copy: [64]u8 = undefined;
    try expectEqual(24, trampoline.probeCopy(&copy, pages + sys.pageSize() - 24));
    sys.unmap(pages, sys.pageSize());
    try tearDown(thread);
}
