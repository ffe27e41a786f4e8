//! From an exception as the handler wrote it to the frames between the faulting instruction and
//! the guarded call: by call frame information where the copy of the stack reaches, then by the
//! frame pointers that the handler followed.

const std = @import("std");
const abi = @import("../abi.zig");
const machine = @import("../frame.zig").machine;
const RecoveryFrame = @import("../trampoline/frame.zig").RecoveryFrame;
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
    const frame: *const machine.Frame = @ptrCast(@alignCast(&exception.context));
    var unwinder: Unwinder = .{
        .registers = frame.dwarfRegisters(),
        .stack = tail.stack,
        .stack_address = exception.stack_address,
        .guard = exception.recovery_point,
        .into = into,
    };
    if (unwinder.walk()) return unwinder.count;
    unwinder.follow(tail.frames, frame.framePointer());
    return unwinder.count;
}

/// Whether a call leaves the return address on the stack; else it is in a register.
const calls_push = cfi.return_column == cfi.instruction_pointer;

const Step = struct { trust: Trust, exact: bool };

const Unwinder = struct {
    registers: [cfi.register_count]u64,
    stack: []const u8,
    stack_address: u64,
    guard: u64,
    into: []Entry,
    count: usize = 0,
    /// Whether the stack pointer is the caller's. Where calls push nothing, a function keeps what
    /// is its caller's not at the upper end of its frame: a frame pointer does not tell the end.
    knows_stack: bool = true,

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
            const at = unwinder.registers[cfi.instruction_pointer];
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
            const before = unwinder.registers[cfi.stack_pointer];
            step = unwinder.next(rules, unwinder.count == 1) orelse return false;
            const after = unwinder.registers[cfi.stack_pointer];
            const caller = unwinder.registers[cfi.instruction_pointer];
            if (after >= unwinder.guard or caller == 0) return true;
            if (after <= before and !step.exact) {
                // Only a function that calls none may have no frame, where calls push nothing.
                if (after < before or calls_push or unwinder.count > 1) return false;
            }
        }
    }

    fn next(unwinder: *Unwinder, rules: ?cfi.Rules, innermost: bool) ?Step {
        if (rules) |found| {
            if (unwinder.apply(&found)) {
                return .{ .trust = .cfi, .exact = found.signal };
            } else |_| {}
        }
        const at = unwinder.registers[cfi.instruction_pointer];
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
                if (rule.number == cfi.stack_pointer and !unwinder.knows_stack) {
                    return error.Malformed;
                }
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
    fn apply(unwinder: *Unwinder, rules: *const cfi.Rules) Error!void {
        const row = &rules.row;
        const end = try unwinder.frameAddress(row);
        var caller = unwinder.registers;
        caller[cfi.stack_pointer] = end;
        for (&caller, row.rules, 0..) |*register, rule, index| {
            switch (rule) {
                .same => if (index == cfi.instruction_pointer and index == rules.return_column) {
                    return error.Malformed;
                },
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
        if (rules.return_column != cfi.instruction_pointer) {
            const address = machine.codeAddress(caller[cfi.return_column]);
            // Whoever goes on where he is has not been called. A recursive function does return to
            // where it is, but has kept that address in its frame.
            const kept = row.rules[rules.return_column] != .same;
            const here = unwinder.registers[cfi.instruction_pointer];
            if (address == here and !kept) return error.Malformed;
            caller[cfi.instruction_pointer] = address;
        }
        unwinder.registers = caller;
        unwinder.knows_stack = true;
    }

    fn read(unwinder: *const Unwinder, address: u64) Error!u64 {
        return unwinder.load(address) orelse error.Malformed;
    }

    /// After a call to where no code is, the return address is on top of the stack, or in its
    /// register.
    fn popCall(unwinder: *Unwinder) bool {
        const top = unwinder.registers[cfi.stack_pointer];
        const caller = if (calls_push)
            unwinder.load(top) orelse return false
        else
            machine.codeAddress(unwinder.registers[cfi.return_column]);
        if (!followsCall(caller)) return false;
        if (calls_push) unwinder.registers[cfi.stack_pointer] = top +% 8;
        unwinder.registers[cfi.instruction_pointer] = caller;
        return true;
    }

    /// Code that nothing describes may keep a frame pointer.
    fn popFrame(unwinder: *Unwinder) bool {
        const pointer = unwinder.registers[cfi.frame_pointer];
        if (pointer < unwinder.registers[cfi.stack_pointer] or pointer % 8 != 0) return false;
        const caller = machine.codeAddress(unwinder.load(pointer +% 8) orelse return false);
        if (!followsCall(caller)) return false;
        unwinder.registers[cfi.frame_pointer] = unwinder.load(pointer) orelse return false;
        unwinder.registers[cfi.stack_pointer] = pointer +% 16;
        unwinder.knows_stack = calls_push;
        unwinder.registers[cfi.instruction_pointer] = caller;
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
                if (known < unwinder.registers[cfi.stack_pointer]) continue;
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
    const length = machine.call_length_max;
    const bytes = place.image.at(place.address +% 1 -% length) catch return true;
    return if (bytes.len < length) true else machine.endsInCall(bytes[0..length]);
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
