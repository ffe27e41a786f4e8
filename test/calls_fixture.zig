//! What the tests of callbacks, other threads and exits call. Built for the tests only.

const std = @import("std");

// ---- Callbacks ----------------------------------------------------------------------------------

/// `T cx_back_T(T (*function)(T), T value)`: what the function makes of the value.
fn Back(comptime T: type) type {
    return struct {
        fn call(function: *const fn (T) callconv(.c) T, value: T) callconv(.c) T {
            return function(value);
        }
    };
}

comptime {
    const types = .{
        .{ "bool", bool }, .{ "i8", i8 },   .{ "u8", u8 },   .{ "i16", i16 }, .{ "u16", u16 },
        .{ "i32", i32 },   .{ "u32", u32 }, .{ "i64", i64 }, .{ "u64", u64 }, .{ "f32", f32 },
        .{ "f64", f64 },
    };
    for (types) |entry| {
        @export(&Back(entry[1]).call, .{ .name = "cx_back_" ++ entry[0] });
    }
}

const Nullary = fn () callconv(.c) void;
const Unary = fn (i32) callconv(.c) i32;

/// Calls a `void ()`.
export fn cx_back_void(function: *const Nullary) void {
    function();
}

/// Calls `function(0)` to `function(count - 1)`, and adds up what they give.
export fn cx_back_sum(function: *const Unary, count: i32) i32 {
    var total: i32 = 0;
    var index: i32 = 0;
    while (index < count) : (index += 1) total +%= function(index);
    return total;
}

/// As `cx_back_sum`, into memory: what each call gave.
export fn cx_back_each(function: *const Unary, into: [*]i32, count: u32) void {
    for (into[0..count], 0..) |*place, index| place.* = function(@intCast(index));
}

const Mixed = fn (
    i8,
    u16,
    i32,
    u32,
    i64,
    u64,
    f32,
    f64,
    f64,
    f32,
    f64,
    f64,
    f64,
    f64,
    f64,
    f32,
    i8,
    u16,
    i64,
    f64,
    bool,
    u64,
) callconv(.c) f64;

/// Twenty-two arguments: every register, and eight words of stack.
export fn cx_back_mixed(function: *const Mixed) f64 {
    return function(
        -1,
        65535,
        -3,
        4_000_000_000,
        -5_000_000_000_000,
        0xffff_ffff_ffff_fff0,
        0.5,
        1.5,
        -2.5,
        4.25,
        5.5,
        6.5,
        -7.5,
        8.5,
        9.75,
        -10.25,
        -11,
        65524,
        -13,
        14.5,
        true,
        16,
    );
}

const U = u64;
const Words22 = fn (
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
) callconv(.c) U;
/// Sixteen words of stack: as much as a barrier passes on.
export fn cx_back_words22(function: *const Words22) u64 {
    return function(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22);
}

const Words26 = fn (
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
    U,
) callconv(.c) U;
/// Twenty words of stack.
export fn cx_back_words26(function: *const Words26) u64 {
    return @call(.auto, function, .{
        1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
        14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
    });
}

/// Calls back, then reads `address`.
export fn cx_back_and_read(function: *const Unary, value: i32, address: u64) u64 {
    _ = function(value);
    return cx_load(address);
}

/// Reads memory before and after the callback, which must not have moved or freed it.
export fn cx_back_keeping(bytes: [*]const u8, length: u64, function: *const Nullary) u64 {
    const before = sum(bytes[0..length]);
    function();
    return if (sum(bytes[0..length]) == before) before else std.math.maxInt(u64);
}

fn sum(bytes: []const u8) u64 {
    var total: u64 = 0;
    for (bytes) |*byte| total += @as(*const volatile u8, byte).*;
    return total;
}

var kept: ?*const Unary = null;
/// Keeps a function for `cx_call_kept`.
export fn cx_keep(function: ?*const Unary) void {
    kept = function;
}
export fn cx_call_kept(value: i32) i32 {
    const function = kept orelse return -1;
    return function(value);
}

const Errand = struct { function: *const Unary, value: i32, result: i32 = -1 };

fn runErrand(argument: ?*anyopaque) callconv(.c) ?*anyopaque {
    const errand: *Errand = @ptrCast(@alignCast(argument.?));
    errand.result = errand.function(errand.value);
    return null;
}

/// Calls back on a thread of its own, and gives what came back; -1 without a thread.
export fn cx_back_on_thread(function: *const Unary, value: i32) i32 {
    var errand: Errand = .{ .function = function, .value = value };
    var thread: std.c.pthread_t = undefined;
    if (std.c.pthread_create(&thread, null, runErrand, &errand) != .SUCCESS) return -1;
    _ = std.c.pthread_join(thread, null);
    return errand.result;
}

// ---- Floating point -----------------------------------------------------------------------------

comptime {
    asm (
        \\.text
        \\.macro CX_FUNCTION name
        \\.globl \name
        \\.type \name, @function
        \\\name:
        \\.endm
        // u64 cx_load(u64 address)
        \\CX_FUNCTION cx_load
        \\  movq (%rdi), %rax
        \\  ret
        // i32 cx_back_control(u32 mxcsr, u32 x87, i32 (*function)(i32), u32 into[2]): sets both
        // control words, calls back with 7, notes both control words, uses the x87 unit, and puts
        // the defaults back.
        \\CX_FUNCTION cx_back_control
        \\  pushq %rbx
        \\  pushq %r12
        \\  subq $8, %rsp
        \\  movq %rcx, %rbx
        \\  movl %edi, (%rsp)
        \\  ldmxcsr (%rsp)
        \\  movw %si, (%rsp)
        \\  fldcw (%rsp)
        \\  movl $7, %edi
        \\  callq *%rdx
        \\  movl %eax, %r12d
        \\  stmxcsr (%rsp)
        \\  movl (%rsp), %eax
        \\  andl $0xffc0, %eax
        \\  movl %eax, (%rbx)
        \\  fnstcw (%rsp)
        \\  movzwl (%rsp), %eax
        \\  movl %eax, 4(%rbx)
        \\  fld1
        \\  fstp %st(0)
        \\  fnclex
        \\  movl $0x1f80, (%rsp)
        \\  ldmxcsr (%rsp)
        \\  movw $0x37f, (%rsp)
        \\  fldcw (%rsp)
        \\  movl %r12d, %eax
        \\  addq $8, %rsp
        \\  popq %r12
        \\  popq %rbx
        \\  ret
        // i32 cx_native_invalid(i32): leaves the sticky flag "invalid" in the x87 status word, as
        // JavaScript engines do, and gives its argument.
        \\CX_FUNCTION cx_native_invalid
        \\  fldz
        \\  fldz
        \\  fdivp
        \\  fstp %st(0)
        \\  movl %edi, %eax
        \\  ret
        // f64 cx_fltdiv(f64, f64): division with the exception "divide by zero" unmasked
        \\CX_FUNCTION cx_fltdiv
        \\  stmxcsr -8(%rsp)
        \\  andl $~0x200, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  divsd %xmm1, %xmm0
        \\  stmxcsr -8(%rsp)
        \\  orl $0x200, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  ret
        // void cx_x87_div(u16 control): x87 division by zero under a control word
        \\CX_FUNCTION cx_x87_div
        \\  movw %di, -8(%rsp)
        \\  fldcw -8(%rsp)
        \\  fld1
        \\  fldz
        \\  fdivrp
        \\  fwait
        \\  ret
        // void cx_fault_with_upper_halves(u64 address): sets the upper halves of the vectors first
        \\CX_FUNCTION cx_fault_with_upper_halves
        \\  vpcmpeqd %ymm0, %ymm0, %ymm0
        \\  vpcmpeqd %ymm7, %ymm7, %ymm7
        \\  vpcmpeqd %ymm15, %ymm15, %ymm15
        \\  movq (%rdi), %rax
        \\  ret
        // u64 cx_upper_halves(): not 0 when an upper half of a vector is in use
        \\CX_FUNCTION cx_upper_halves
        \\  vextractf128 $1, %ymm0, %xmm0
        \\  vextractf128 $1, %ymm7, %xmm1
        \\  vextractf128 $1, %ymm15, %xmm2
        \\  vpor %xmm1, %xmm0, %xmm0
        \\  vpor %xmm2, %xmm0, %xmm0
        \\  vpextrq $0, %xmm0, %rax
        \\  vpextrq $1, %xmm0, %rcx
        \\  orq %rcx, %rax
        \\  vzeroupper
        \\  ret
    );
}
extern fn cx_load(address: u64) callconv(.c) u64;

// ---- Time and stack -----------------------------------------------------------------------------

/// Waits, then gives `value`.
export fn cx_sleep(milliseconds: u32, value: i64) i64 {
    sleep(milliseconds);
    return value;
}

/// Waits, then writes `value` to every byte.
export fn cx_sleep_and_fill(milliseconds: u32, bytes: [*]u8, length: u64, value: u8) void {
    sleep(milliseconds);
    @memset(bytes[0..length], value);
}

fn sleep(milliseconds: u32) void {
    const time: std.os.linux.timespec = .{
        .sec = milliseconds / 1000,
        .nsec = @as(isize, milliseconds % 1000) * 1_000_000,
    };
    _ = std.os.linux.nanosleep(&time, null);
}

/// Recurses without end.
export fn cx_overflow(depth: u64) u64 {
    var frame: [512]u8 = undefined;
    const first: *volatile u8 = &frame[depth % frame.len];
    first.* = 1;
    const below = cx_overflow(depth + 1);
    return below + first.*;
}
