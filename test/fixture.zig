//! What the tests call: functions that take and return every type, faults in assembly, and looks at
//! the thread's state that JavaScript cannot take itself. Built for the tests only.

const std = @import("std");
const builtin = @import("builtin");
const linux = std.os.linux;
const machine = switch (builtin.cpu.arch) {
    .x86_64 => @import("fixture_x86_64.zig"),
    .aarch64 => @import("fixture_aarch64.zig"),
    else => @compileError("no fixture for this architecture yet"),
};

// ---- Values -------------------------------------------------------------------------------------

export fn fx_echo_bool(a: bool) bool {
    return a;
}
export fn fx_echo_i8(a: i8) i8 {
    return a;
}
export fn fx_echo_u8(a: u8) u8 {
    return a;
}
export fn fx_echo_i16(a: i16) i16 {
    return a;
}
export fn fx_echo_u16(a: u16) u16 {
    return a;
}
export fn fx_echo_i32(a: i32) i32 {
    return a;
}
export fn fx_echo_u32(a: u32) u32 {
    return a;
}
export fn fx_echo_i64(a: i64) i64 {
    return a;
}
export fn fx_echo_u64(a: u64) u64 {
    return a;
}
export fn fx_echo_f32(a: f32) f32 {
    return a;
}
export fn fx_echo_f64(a: f64) f64 {
    return a;
}
/// The whole register, to see what narrow arguments were extended to.
export fn fx_raw_register(a: u64) u64 {
    return a & 0xffff_ffff;
}
/// All register arguments at once, in a weighted sum that notices any mix-up.
export fn fx_mix(
    a: i8,
    b: u16,
    c: i32,
    d: u32,
    e: i64,
    f: u64,
    g: f32,
    h: f64,
    i: f64,
    j: f32,
    k: f64,
    l: f64,
    m: f64,
    n: f64,
) f64 {
    const whole = @as(f64, @floatFromInt(a)) + 2 * @as(f64, @floatFromInt(b)) +
        3 * @as(f64, @floatFromInt(c)) + 5 * @as(f64, @floatFromInt(d)) +
        7 * @as(f64, @floatFromInt(e)) + 11 * @as(f64, @floatFromInt(f));
    return whole + 13 * @as(f64, g) + 17 * h + 19 * i + 23 * @as(f64, j) + 29 * k + 31 * l +
        37 * m + 41 * n;
}
export fn fx_sum_bytes(data: [*]const u8, length: u64) u64 {
    var sum: u64 = 0;
    for (data[0..length]) |byte| sum += byte;
    return sum;
}
export fn fx_is_null(pointer: ?*const anyopaque) bool {
    return pointer == null;
}
var noted: u64 = 0;
/// Counts its calls, to show that one did not happen.
export fn fx_note(_: u64) void {
    noted += 1;
}
export fn fx_noted() u64 {
    return noted;
}
/// A variable: calling it jumps to memory that may not be executed.
export var fx_data: u64 = 7;

// ---- Faults -------------------------------------------------------------------------------------

/// Recurses without end, in frames of `frame` bytes.
export fn fx_overflow(depth: u64) u64 {
    var frame: [512]u8 = undefined;
    const first: *volatile u8 = &frame[depth % frame.len];
    first.* = 1;
    const below = fx_overflow(depth + 1);
    return below + first.*;
}

/// Sends this thread a signal as raise() does.
export fn fx_raise(signal: u32) i32 {
    const process: usize = @intCast(linux.getpid());
    return @intCast(linux.syscall3(.tgkill, process, @intCast(linux.gettid()), signal));
}
/// Makes the kernel answer a system call with SIGSYS from now on, for this thread and its heirs.
export fn fx_forbid(system_call: u32) i32 {
    const Instruction = extern struct { code: u16, jump_true: u8, jump_false: u8, value: u32 };
    const program = [_]Instruction{
        .{ .code = 0x20, .jump_true = 0, .jump_false = 0, .value = 0 }, // Loads the number.
        .{ .code = 0x15, .jump_true = 0, .jump_false = 1, .value = system_call },
        .{ .code = 0x06, .jump_true = 0, .jump_false = 0, .value = 0x0003_0000 }, // Trap.
        .{ .code = 0x06, .jump_true = 0, .jump_false = 0, .value = 0x7fff_0000 }, // Allow.
    };
    const filter = extern struct { length: u64, program: *const anyopaque };
    const value: filter = .{ .length = program.len, .program = &program };
    _ = linux.syscall5(.prctl, 38, 1, 0, 0, 0); // PR_SET_NO_NEW_PRIVS
    return @intCast(@as(i64, @bitCast(linux.syscall3(.seccomp, 1, 0, @intFromPtr(&value)))));
}

/// Makes the kernel say, to this thread and its heirs, that returns are checked against a shadow
/// stack: a filter traps the question, and the handler of SIGSYS answers it.
export fn fx_claim_shadow_stack() i32 {
    const with_info = 0x0400_0004;
    const restorer = @intFromPtr(&machine.restorer);
    const action = [4]u64{ @intFromPtr(&claimShadowStack), with_info, restorer, 0 };
    const set = linux.syscall4(.rt_sigaction, sigsys, @intFromPtr(&action), 0, 8);
    if (set != 0) return -1;
    return fx_forbid(machine.shadow_stack_call.number);
}

const sigsys = 31;

/// Answers 1 to the question, and EINVAL to what else that system call is for.
fn claimShadowStack(_: u32, _: *const anyopaque, context: *machine.Context) callconv(.c) void {
    const call = machine.shadow_stack_call;
    const registers = &context.registers;
    if (registers[call.operation_register] == call.operation) {
        const into: *u64 = @ptrFromInt(registers[call.pointer_register]);
        into.* = 1;
        registers[call.result_register] = 0;
    } else {
        registers[call.result_register] = @bitCast(@as(i64, -22));
    }
}

export fn fx_getppid() i32 {
    return @bitCast(@as(u32, @truncate(linux.syscall0(.getppid))));
}
/// Sends this process a signal as kill() does.
export fn fx_kill_self(signal: u32) i32 {
    return @intCast(linux.syscall2(.kill, @intCast(linux.getpid()), signal));
}

// ---- Memory -------------------------------------------------------------------------------------

export fn fx_map(length: u64, protection: u32) u64 {
    const flags = 0x22;
    return linux.syscall6(.mmap, 0, length, protection, flags, @bitCast(@as(i64, -1)), 0);
}
export fn fx_protect(address: u64, length: u64, protection: u32) i32 {
    return @intCast(@as(i64, @bitCast(linux.syscall3(.mprotect, address, length, protection))));
}
export fn fx_unmap(address: u64, length: u64) i32 {
    return @intCast(@as(i64, @bitCast(linux.syscall2(.munmap, address, length))));
}
/// Writes a function that reads address 0x10. The bytes before the instruction that does.
export fn fx_make_code(address: u64) u32 {
    const bytes: [*]u8 = @ptrFromInt(address);
    @memcpy(bytes, &machine.code);
    machine.flush(address, machine.code.len);
    return if (builtin.cpu.arch == .aarch64) 4 else 0;
}
/// Makes code that was written as data visible to the processor's fetches.
export fn fx_flush(address: u64, length: u64) void {
    machine.flush(address, length);
}
/// Two pages of a file that has only `length` bytes.
export fn fx_map_short_file(length: u64) u64 {
    const fd = linux.syscall2(.memfd_create, @intFromPtr("fixture"), 1);
    _ = linux.syscall2(.ftruncate, fd, length);
    const address = linux.syscall6(.mmap, 0, 8192, 3, 1, fd, 0);
    _ = linux.syscall1(.close, fd);
    return address;
}

// ---- Signals ------------------------------------------------------------------------------------

export fn fx_signal_mask() u64 {
    var mask: u64 = 0;
    _ = linux.syscall4(.rt_sigprocmask, 0, 0, @intFromPtr(&mask), 8);
    return mask;
}
/// Blocks SIGUSR2, then reads `address`.
export fn fx_block_and_read(address: u64) u64 {
    const mask: u64 = 1 << (12 - 1);
    _ = linux.syscall4(.rt_sigprocmask, 0, @intFromPtr(&mask), 0, 8);
    return fx_read(address);
}
extern fn fx_read(address: u64) callconv(.c) u64;

/// Copies the kernel's 32-byte record of a disposition: handler, flags, restorer, mask.
export fn fx_disposition(signal: u32, into: *[4]u64) i32 {
    return @intCast(linux.syscall4(.rt_sigaction, signal, 0, @intFromPtr(into), 8));
}
export fn fx_set_disposition(signal: u32, from: *const [4]u64) i32 {
    return @intCast(linux.syscall4(.rt_sigaction, signal, @intFromPtr(from), 0, 8));
}

/// What the handlers below saw last.
const Seen = extern struct { count: u64, signal: u64, code: i64, address: u64, ip: u64, mask: u64 };
var seen: Seen = std.mem.zeroes(Seen);
var skip: u64 = 0;

export fn fx_seen(into: *Seen) void {
    into.* = seen;
}

/// A SA_SIGINFO handler: notes what it got and moves on by `skip` bytes.
fn handleWithInfo(
    signal: u32,
    info: *const linux.siginfo_t,
    context: *machine.Context,
) callconv(.c) void {
    seen = .{
        .count = seen.count + 1,
        .signal = signal,
        .code = info.code,
        .address = @intFromPtr(info.fields.sigfault.addr),
        .ip = context.ip,
        .mask = fx_signal_mask(),
    };
    context.ip += skip;
}

/// A plain handler, which cannot move on: it mends the cause instead.
var mend_address: u64 = 0;
fn handlePlain(signal: u32) callconv(.c) void {
    seen.count += 1;
    seen.signal = signal;
    seen.mask = fx_signal_mask();
    if (mend_address != 0) _ = linux.syscall3(.mprotect, mend_address, 4096, 3);
}

/// Installs a handler, kind 1 with siginfo or kind 0 plain. `advance`: bytes to skip.
export fn fx_install_handler(signal: u32, with_info: u32, flags: u64, mask: u64, advance: u64) i32 {
    skip = advance;
    seen = std.mem.zeroes(Seen);
    const handler = if (with_info != 0) @intFromPtr(&handleWithInfo) else @intFromPtr(&handlePlain);
    const info_flag: u64 = if (with_info != 0) 4 else 0;
    const all_flags = flags | info_flag | 0x0400_0000;
    const action = [4]u64{ handler, all_flags, @intFromPtr(&machine.restorer), mask };
    return fx_set_disposition(signal, &action);
}
export fn fx_mend(address: u64) void {
    mend_address = address;
}

// ---- Threads ------------------------------------------------------------------------------------

fn faultOnThread(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    _ = fx_read(@intFromPtr(argument));
    return null;
}
/// Reads `address` on a thread of its own and waits for it.
export fn fx_read_on_thread(address: u64) i32 {
    var thread: std.c.pthread_t = undefined;
    const argument: ?*anyopaque = @ptrFromInt(address);
    if (std.c.pthread_create(&thread, null, faultOnThread, argument) != .SUCCESS) return -1;
    _ = std.c.pthread_join(thread, null);
    return 0;
}

// ---- The kernel's floor -------------------------------------------------------------------------

fn skipLoad(_: u32, _: *const linux.siginfo_t, context: *machine.Context) callconv(.c) void {
    context.ip += machine.load_length;
}

/// Nanoseconds for `count` faults with the barest handler there can be: it skips the instruction.
export fn fx_kernel_floor(count: u32) f64 {
    var old: [4]u64 = undefined;
    _ = fx_disposition(11, &old);
    const flags = 0x4 | 0x0800_0000 | 0x4000_0000 | 0x0400_0000;
    const action = [4]u64{ @intFromPtr(&skipLoad), flags, @intFromPtr(&machine.restorer), 0 };
    _ = fx_set_disposition(11, &action);
    const start = now();
    for (0..count) |_| {
        machine.load(0);
    }
    const end = now();
    _ = fx_set_disposition(11, &old);
    return end - start;
}
fn now() f64 {
    var time: linux.timespec = undefined;
    _ = linux.clock_gettime(.MONOTONIC, &time);
    return @as(f64, @floatFromInt(time.sec)) * 1e9 + @as(f64, @floatFromInt(time.nsec));
}

// ---- Strings and variables ----------------------------------------------------------------------

/// Sum of a string's bytes after `function` has run, to show that its memory was still there.
export fn fx_sum_string_after(text: [*:0]const u8, function: *const fn (i32) callconv(.c) i32) u64 {
    _ = function(0);
    var sum: u64 = 0;
    for (std.mem.span(text)) |byte| sum += byte;
    return sum;
}
/// Whether two strings have one address, and what their bytes sum up to.
export fn fx_sum_two_strings(first: [*:0]const u8, second: [*:0]const u8) u64 {
    if (first == second) return 0;
    var sum: u64 = 0;
    for (std.mem.span(first)) |byte| sum += byte;
    for (std.mem.span(second)) |byte| sum += 1000 * @as(u64, byte);
    return sum;
}
export fn fx_string_length(text: ?[*:0]const u8) i64 {
    return if (text) |bytes| @intCast(std.mem.len(bytes)) else -1;
}
export fn fx_byte_at(text: [*]const u8, index: u64) u8 {
    return text[index];
}

export const fx_static_true: u8 = 0x80;
export const fx_static_false: u8 = 0;
export const fx_static_i8: i8 = -128;
export const fx_static_u8: u8 = 255;
export const fx_static_i16: i16 = -32768;
export const fx_static_u16: u16 = 65535;
export const fx_static_i32: i32 = -2147483648;
export const fx_static_u32: u32 = 4294967295;
export const fx_static_i64: i64 = -9223372036854775808;
export const fx_static_u64: u64 = 18446744073709551615;
export const fx_static_f32: f32 = 0.1;
export const fx_static_f64: f64 = -0.1;
/// A byte order mark, text, an invalid byte.
export const fx_static_text: [11:0]u8 = "\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe\xff".*;
export const fx_static_empty: [0:0]u8 = "".*;
/// What changes is the variable; what was read at open does not.
export var fx_static_counter: u32 = 1;
export fn fx_count() u32 {
    fx_static_counter += 1;
    return fx_static_counter;
}
/// A page of its own, so that tests can take it away.
export var fx_static_page: [4096]u8 align(4096) = @splat('p');
export fn fx_static_page_address() u64 {
    return @intFromPtr(&fx_static_page);
}

comptime {
    asm (
        \\.section .rodata
        \\.balign 16
        \\.byte 0
        // Exported at an odd address.
        \\.globl fx_static_odd
        \\.type fx_static_odd, %object
        \\.size fx_static_odd, 8
        \\fx_static_odd:
        \\.byte 1, 2, 3, 4, 5, 6, 7, 8
        \\.text
    );
}
