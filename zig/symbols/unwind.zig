//! From an exception as the handler wrote it to the frames between the faulting instruction and
//! the guarded call: by call frame information where the copy of the stack reaches, then by the
//! frame pointers that the handler followed.

const std = @import("std");
const abi = @import("../abi.zig");
const Frame = @import("../frame.zig").machine.Frame;
const RecoveryFrame = @import("../trampoline/x86_64_frame.zig").RecoveryFrame;
const cfi = @import("cfi.zig");
const expression = @import("expression.zig");
const modules = @import("modules.zig");
const interface = @import("interface.zig");
const Entry = interface.Entry;
const Trust = interface.Trust;
const Error = @import("cursor.zig").Error;

/// The variable-length parts behind an exception's head.
const Tail = struct { frames: []align(1) const u64, stack: []const u8 };

fn tailOf(exception: *const abi.Exception, byte_length: u32) ?Tail {
    const head = @sizeOf(abi.Exception);
    const frames_length = @as(u64, exception.frame_count) * 8;
    const frames_at = head + @as(u64, exception.extended_length);
    const stack_at = frames_at + frames_length;
    if (stack_at + exception.stack_length > byte_length) return null;
    const bytes = @as([*]const u8, @ptrCast(exception))[0..byte_length];
    const frames = bytes[@intCast(frames_at)..][0..@intCast(frames_length)];
    return .{
        .frames = std.mem.bytesAsSlice(u64, frames),
        .stack = bytes[@intCast(stack_at)..][0..exception.stack_length],
    };
}

/// Writes the frames, innermost first; null when the exception is damaged.
pub fn unwind(exception: *const abi.Exception, byte_length: u32, into: []Entry) ?usize {
    const tail = tailOf(exception, byte_length) orelse return null;
    const frame: *const Frame = @ptrCast(@alignCast(&exception.context));
    var unwinder: Unwinder = .{
        .registers = registersOf(frame),
        .stack = tail.stack,
        .stack_address = exception.stack_address,
        .guard = exception.recovery_point,
        .into = into,
    };
    if (unwinder.walk()) return unwinder.count;
    unwinder.follow(tail.frames, frame.registers.rbp);
    return unwinder.count;
}

fn registersOf(frame: *const Frame) [cfi.register_count]u64 {
    const r = &frame.registers;
    return .{
        r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, //
        r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15,
        r.rip,
    };
}

const Step = struct { trust: Trust, exact: bool };

const Unwinder = struct {
    registers: [cfi.register_count]u64,
    stack: []const u8,
    stack_address: u64,
    guard: u64,
    into: []Entry,
    count: usize = 0,

    /// A word of the copied stack.
    fn load(unwinder: *const Unwinder, address: u64) ?u64 {
        const offset = address -% unwinder.stack_address;
        if (unwinder.stack.len < 8 or offset > unwinder.stack.len - 8) return null;
        return std.mem.readInt(u64, unwinder.stack[@intCast(offset)..][0..8], .little);
    }

    fn loadFrom(context: *const anyopaque, address: u64) ?u64 {
        return load(@ptrCast(@alignCast(context)), address);
    }

    fn append(unwinder: *Unwinder, address: u64, trust: Trust, exact: bool) bool {
        if (unwinder.count == unwinder.into.len) return false;
        unwinder.into[unwinder.count] = .{
            .address = address,
            .trust = trust,
            .exact = @intFromBool(exact),
        };
        unwinder.count += 1;
        return true;
    }

    /// Goes from frame to frame in the copy of the stack; true when the guarded call is reached.
    fn walk(unwinder: *Unwinder) bool {
        var step: Step = .{ .trust = .context, .exact = true };
        while (true) {
            const at = unwinder.registers[cfi.return_address];
            if (!unwinder.append(at, step.trust, step.exact)) return true;
            const rules = rulesOf(if (step.exact) at else at -% 1);
            if (rules) |found| {
                const frame_end = unwinder.frameAddress(&found.row) catch 0;
                if (frame_end == unwinder.guard +% @sizeOf(RecoveryFrame)) {
                    // This is the body of the guarded call. It is shown where it faulted itself.
                    if (unwinder.count > 1) unwinder.count -= 1;
                    return true;
                }
            }
            const before = unwinder.registers[cfi.rsp];
            step = unwinder.next(rules, unwinder.count == 1) orelse return false;
            const after = unwinder.registers[cfi.rsp];
            if (after >= unwinder.guard or unwinder.registers[cfi.return_address] == 0) return true;
            if (after <= before and !step.exact) return false;
        }
    }

    fn next(unwinder: *Unwinder, rules: ?cfi.Rules, innermost: bool) ?Step {
        if (rules) |found| {
            if (unwinder.apply(&found.row)) {
                return .{ .trust = .cfi, .exact = found.signal };
            } else |_| {}
        }
        const at = unwinder.registers[cfi.return_address];
        if (innermost and modules.find(at) == null and unwinder.popCall()) {
            return .{ .trust = .scan, .exact = false };
        }
        if (rules == null and unwinder.popFrame()) {
            return .{ .trust = .frame_pointer, .exact = false };
        }
        return null;
    }

    fn frameAddress(unwinder: *const Unwinder, row: *const cfi.Row) Error!u64 {
        return switch (row.address) {
            .none => error.Malformed,
            .register => |rule| value: {
                if (rule.number >= cfi.register_count) return error.Malformed;
                const base = unwinder.registers[@intCast(rule.number)];
                break :value base +% @as(u64, @bitCast(rule.offset));
            },
            .expression => |bytes| unwinder.evaluate(bytes, null),
        };
    }

    fn evaluate(unwinder: *const Unwinder, bytes: []const u8, initial: ?u64) Error!u64 {
        const memory: expression.Memory = .{ .context = unwinder, .load = loadFrom };
        return expression.evaluate(bytes, &unwinder.registers, initial, memory);
    }

    /// Replaces the registers by the caller's. Nothing changes when that is not possible.
    fn apply(unwinder: *Unwinder, row: *const cfi.Row) Error!void {
        const end = try unwinder.frameAddress(row);
        var caller = unwinder.registers;
        caller[cfi.rsp] = end;
        for (&caller, row.rules, 0..) |*register, rule, index| {
            switch (rule) {
                .same => if (index == cfi.return_address) return error.Malformed,
                .undefined => register.* = 0,
                .offset => |offset| register.* = try unwinder.read(end +% toUnsigned(offset)),
                .value_offset => |offset| register.* = end +% toUnsigned(offset),
                .register => |number| {
                    if (number >= cfi.register_count) return error.Malformed;
                    register.* = unwinder.registers[@intCast(number)];
                },
                .expression => |bytes| register.* =
                    try unwinder.read(try unwinder.evaluate(bytes, end)),
                .value_expression => |bytes| register.* = try unwinder.evaluate(bytes, end),
            }
        }
        unwinder.registers = caller;
    }

    fn read(unwinder: *const Unwinder, address: u64) Error!u64 {
        return unwinder.load(address) orelse error.Malformed;
    }

    /// After a call to where no code is, the return address is on top of the stack.
    fn popCall(unwinder: *Unwinder) bool {
        const top = unwinder.registers[cfi.rsp];
        const caller = unwinder.load(top) orelse return false;
        if (!followsCall(caller)) return false;
        unwinder.registers[cfi.rsp] = top +% 8;
        unwinder.registers[cfi.return_address] = caller;
        return true;
    }

    /// Code that nothing describes may keep a frame pointer.
    fn popFrame(unwinder: *Unwinder) bool {
        const pointer = unwinder.registers[cfi.rbp];
        if (pointer < unwinder.registers[cfi.rsp] or pointer % 8 != 0) return false;
        const caller = unwinder.load(pointer +% 8) orelse return false;
        if (!followsCall(caller)) return false;
        unwinder.registers[cfi.rbp] = unwinder.load(pointer) orelse return false;
        unwinder.registers[cfi.rsp] = pointer +% 16;
        unwinder.registers[cfi.return_address] = caller;
        return true;
    }

    /// Adds the frames that the handler found by frame pointers and that lie beyond the ones known
    /// so far. `first` is the frame pointer that it began with.
    fn follow(unwinder: *Unwinder, frames: []align(1) const u64, first: u64) void {
        var position: ?u64 = first;
        for (frames, 0..) |address, index| {
            const at = position;
            position = if (at) |known| unwinder.load(known) else null;
            if (at) |known| {
                if (known < unwinder.registers[cfi.rsp]) continue;
            }
            if (!followsCall(address)) return;
            if (index + 1 == frames.len and frames.len < abi.frames_max and isBody(address)) return;
            if (!unwinder.append(address, .frame_pointer, false)) return;
        }
    }
};

fn toUnsigned(offset: i64) u64 {
    return @bitCast(offset);
}

fn rulesOf(address: u64) ?cfi.Rules {
    const place = modules.place(address) orelse return null;
    return cfi.rulesAt(place.image, place.address) catch null;
}

/// Whether `address` is where a call returns to: code, behind the bytes of a call instruction.
fn followsCall(address: u64) bool {
    const range = modules.find(address -% 1) orelse return false;
    // Code made at run time is not read: it may be gone.
    if (range.module == null) return true;
    const place = modules.place(address -% 1) orelse return true;
    const bytes = place.image.at(place.address -% 6) catch return true;
    if (bytes.len < 7) return true;
    // E8 with a distance of 4 bytes, or FF /2 with 0 to 5 bytes behind the opcode's first two.
    if (bytes[2] == 0xe8) return true;
    for (0..6) |start| {
        if (bytes[start] == 0xff and (bytes[start + 1] >> 3) & 7 == 2) return true;
    }
    return false;
}

/// Whether `address` lies in the body that calls guarded functions: its frame is a recovery frame.
fn isBody(address: u64) bool {
    const place = modules.place(address -% 1) orelse return false;
    if (!std.mem.endsWith(u8, place.module.path, "/faultline.so")) return false;
    const rules = cfi.rulesAt(place.image, place.address) catch return false;
    const found = rules orelse return false;
    return switch (found.row.address) {
        .register => |rule| rule.offset == @sizeOf(RecoveryFrame),
        else => false,
    };
}
