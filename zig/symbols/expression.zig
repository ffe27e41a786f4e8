//! DWARF expressions as call frame information uses them: of procedure linkage tables, and of the
//! C library's return from a signal handler. DWARF 5, section 2.5.1.

const std = @import("std");
const Cursor = @import("cursor.zig").Cursor;
const Error = @import("cursor.zig").Error;
const cfi = @import("cfi.zig");

const stack_max = 16;
const steps_max = 256;

/// What an expression computes with.
pub const Memory = struct {
    context: *const anyopaque,
    load: *const fn (context: *const anyopaque, address: u64) ?u64,
};

const Stack = struct {
    values: [stack_max]u64 = undefined,
    count: usize = 0,

    fn push(stack: *Stack, value: u64) Error!void {
        if (stack.count == stack_max) return error.Malformed;
        stack.values[stack.count] = value;
        stack.count += 1;
    }

    fn pop(stack: *Stack) Error!u64 {
        if (stack.count == 0) return error.Malformed;
        stack.count -= 1;
        return stack.values[stack.count];
    }

    /// The value that lies `depth` below the top one.
    fn peek(stack: *const Stack, depth: u64) Error!u64 {
        if (depth >= stack.count) return error.Malformed;
        return stack.values[stack.count - 1 - @as(usize, @intCast(depth))];
    }
};

/// The value of `bytes`; `initial` is on the stack at the start, unless null.
pub fn evaluate(
    bytes: []const u8,
    registers: *const [cfi.register_count]u64,
    initial: ?u64,
    memory: Memory,
) Error!u64 {
    var stack: Stack = .{};
    if (initial) |value| try stack.push(value);
    var reader: Cursor = .{ .bytes = bytes };
    var steps: u32 = 0;
    while (!reader.done()) : (steps += 1) {
        if (steps == steps_max) return error.Malformed;
        try step(&stack, &reader, registers, memory);
    }
    return stack.pop();
}

fn step(
    stack: *Stack,
    reader: *Cursor,
    registers: *const [cfi.register_count]u64,
    memory: Memory,
) Error!void {
    const opcode = try reader.int(u8);
    switch (opcode) {
        0x06 => try stack.push(memory.load(memory.context, try stack.pop()) orelse
            return error.Malformed),
        0x08 => try stack.push(try reader.int(u8)),
        0x09 => try stack.push(@bitCast(@as(i64, try reader.int(i8)))),
        0x0a => try stack.push(try reader.int(u16)),
        0x0b => try stack.push(@bitCast(@as(i64, try reader.int(i16)))),
        0x0c => try stack.push(try reader.int(u32)),
        0x0d => try stack.push(@bitCast(@as(i64, try reader.int(i32)))),
        0x0e, 0x0f => try stack.push(try reader.int(u64)),
        0x10 => try stack.push(try reader.uleb()),
        0x11 => try stack.push(@bitCast(try reader.sleb())),
        0x12 => try stack.push(try stack.peek(0)),
        0x13 => _ = try stack.pop(),
        0x14 => try stack.push(try stack.peek(1)),
        0x15 => try stack.push(try stack.peek(try reader.int(u8))),
        0x16 => {
            const top = try stack.pop();
            const next = try stack.pop();
            try stack.push(top);
            try stack.push(next);
        },
        0x1f => try stack.push(0 -% try stack.pop()),
        0x20 => try stack.push(~try stack.pop()),
        0x23 => try stack.push(try stack.pop() +% try reader.uleb()),
        0x1a, 0x1c, 0x1e, 0x21, 0x22, 0x24...0x27, 0x29...0x2e => try operate(stack, opcode),
        0x30...0x4f => try stack.push(opcode - 0x30),
        0x70...0x8f => {
            const register = opcode - 0x70;
            if (register >= cfi.register_count) return error.Malformed;
            const offset: u64 = @bitCast(try reader.sleb());
            try stack.push(registers[register] +% offset);
        },
        0x96 => {},
        else => return error.Malformed,
    }
}

fn operate(stack: *Stack, opcode: u8) Error!void {
    const right = try stack.pop();
    const left = try stack.pop();
    const signed_left: i64 = @bitCast(left);
    const signed_right: i64 = @bitCast(right);
    const shift: u6 = @truncate(right);
    try stack.push(switch (opcode) {
        0x1a => left & right,
        0x1c => left -% right,
        0x1e => left *% right,
        0x21 => left | right,
        0x22 => left +% right,
        0x24 => if (right > 63) 0 else left << shift,
        0x25 => if (right > 63) 0 else left >> shift,
        0x26 => @bitCast(signed_left >> @min(right, 63)),
        0x27 => left ^ right,
        0x29 => @intFromBool(left == right),
        0x2a => @intFromBool(signed_left >= signed_right),
        0x2b => @intFromBool(signed_left > signed_right),
        0x2c => @intFromBool(signed_left <= signed_right),
        0x2d => @intFromBool(signed_left < signed_right),
        0x2e => @intFromBool(left != right),
        else => return error.Malformed,
    });
}

test "evaluate gives the frame address of a procedure linkage table" {
    // As GNU ld writes it for x86-64, where 7 is rsp and 16 the instruction pointer: rsp + 8, and 8
    // more behind the push at offset 11 of each entry.
    const bytes = [_]u8{ 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22 };
    var registers: [cfi.register_count]u64 = @splat(0);
    registers[7] = 0x7000;
    const memory: Memory = .{ .context = &registers, .load = &nothing };
    registers[16] = 0x4005;
    try std.testing.expectEqual(0x7008, try evaluate(&bytes, &registers, null, memory));
    registers[16] = 0x400b;
    try std.testing.expectEqual(0x7010, try evaluate(&bytes, &registers, null, memory));
    try std.testing.expectError(error.Malformed, evaluate(&.{0x06}, &registers, 8, memory));
    try std.testing.expectError(error.Malformed, evaluate(&.{0x22}, &registers, 8, memory));
}

fn nothing(_: *const anyopaque, _: u64) ?u64 {
    return null;
}
