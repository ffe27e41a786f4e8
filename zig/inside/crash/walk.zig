//! From registers to frames: by call frame information, by frame pointers, and where neither leads
//! on by a look at the stack for what calls return to.

const std = @import("std");
const frame = @import("../../frame.zig").crash;
const trampoline = @import("../../trampoline.zig").machine;
const cfi = @import("cfi.zig");
const Map = @import("map.zig").Map;
const dwarf = frame.dwarf;

pub const frames_max = 64;
/// Words that are looked at where nothing else leads on.
const scan_max = 40;
const scans_max = 8;

pub const Trust = enum(u32) {
    context,
    cfi,
    frame_pointer,
    scan,

    pub fn name(trust: Trust) []const u8 {
        return switch (trust) {
            .context => "context",
            .cfi => "cfi",
            .frame_pointer => "frame-pointer",
            .scan => "scan",
        };
    }
};

pub const Frame = struct {
    address: u64,
    trust: Trust,
    /// Whether the thread was at this address itself: a caller is behind its call.
    exact: bool,
};

const Step = struct { trust: Trust, exact: bool = false };

pub const Walker = struct {
    map: *const Map,
    registers: cfi.Registers,
    into: []Frame,
    count: usize = 0,
    scans: usize = 0,
    /// Whether the registers are those of a thread at the instruction itself, and not of a caller.
    live: bool = true,
    /// Whether the stack pointer is the caller's own, and not only a place below its frame.
    at_frame: bool = true,

    /// Fills `into`, innermost first: how many frames.
    pub noinline fn walk(map: *const Map, registers: *const frame.Registers, into: []Frame) usize {
        var walker: Walker = .{ .map = map, .registers = undefined, .into = into };
        walker.begin(registers);
        var step: Step = .{ .trust = .context, .exact = true };
        while (walker.count < into.len) {
            const at = walker.registers[dwarf.instruction_pointer] orelse break;
            if (at == 0 and walker.count > 0) break;
            into[walker.count] = .{ .address = at, .trust = step.trust, .exact = step.exact };
            walker.count += 1;
            const before = walker.stackPointer();
            walker.live = step.exact;
            step = walker.next(if (step.exact) at else at -% 1) orelse break;
            const moved = walker.stackPointer() > before;
            // A signal's frame may lead to another stack; all other ways lead up, but for one out
            // of a function that called none, which may have no frame where calls push nothing.
            const may_stay = walker.count == 1 or (walker.live and !frame.calls_push);
            if (!moved and !step.exact and !may_stay) break;
        }
        return walker.count;
    }

    fn begin(walker: *Walker, registers: *const frame.Registers) void {
        for (&walker.registers, frame.dwarfRegisters(registers)) |*to, from| to.* = from;
        walker.at_frame = true;
    }

    fn stackPointer(walker: *const Walker) u64 {
        return walker.registers[dwarf.stack_pointer] orelse 0;
    }

    fn next(walker: *Walker, pc: u64) ?Step {
        if (walker.popSignal(pc)) return .{ .trust = .cfi, .exact = true };
        if (walker.map.place(pc)) |place| {
            const loaded = place.module.image.bias +% place.address;
            if (cfi.rulesAt(&place.module.image, loaded)) |row| {
                if (walker.apply(&row)) return .{ .trust = .cfi };
            }
        }
        if (walker.count == 1 and !walker.map.isExecutable(pc) and walker.popCall()) {
            return .{ .trust = .scan };
        }
        if (walker.popFrame()) return .{ .trust = .frame_pointer };
        return if (walker.scan()) .{ .trust = .scan } else null;
    }

    /// The return from a signal's handler: the registers of what it interrupted lie on the stack.
    fn popSignal(walker: *Walker, pc: u64) bool {
        const at = frame.signalContext(pc, walker.stackPointer(), probe) orelse return false;
        var registers: frame.Registers = undefined;
        const bytes = std.mem.asBytes(&registers);
        if (trampoline.probeCopy(bytes, at) != bytes.len) return false;
        walker.begin(&registers);
        return true;
    }

    fn probe(into: []u8, address: u64) bool {
        return trampoline.probeCopy(into, address) == into.len;
    }

    fn apply(walker: *Walker, row: *const cfi.Row) bool {
        if (row.register >= walker.registers.len) return false;
        if (row.register == dwarf.stack_pointer and !walker.at_frame) return false;
        const base = walker.registers[@intCast(row.register)] orelse return false;
        const end = base +% @as(u64, @bitCast(row.offset));
        var caller = walker.registers;
        for (row.rules, &caller) |rule, *value| switch (rule) {
            .same => {},
            .undefined => value.* = null,
            .register => |other| {
                if (other >= walker.registers.len) return false;
                value.* = walker.registers[@intCast(other)];
            },
            .offset => |offset| {
                value.* = walker.map.load(end +% @as(u64, @bitCast(offset))) orelse return false;
            },
        };
        caller[dwarf.stack_pointer] = end;
        caller[dwarf.instruction_pointer] = walker.returnAddress(row, &caller) orelse return false;
        walker.registers = caller;
        walker.at_frame = true;
        return true;
    }

    /// Where the frame that `row` describes returns to: 0 when nobody called it.
    fn returnAddress(
        walker: *const Walker,
        row: *const cfi.Row,
        caller: *const cfi.Registers,
    ) ?u64 {
        const rule = row.rules[dwarf.return_column];
        if (rule == .undefined) return 0;
        if (frame.calls_push) return if (rule == .same) null else caller[dwarf.return_column];
        // Whoever called somebody has kept the address elsewhere: it is not in the register now.
        if (rule == .same and !walker.live) return null;
        return frame.codeAddress(caller[dwarf.return_column] orelse return null);
    }

    /// After a call to where no code is, the return address is on top of the stack, or in its
    /// register.
    fn popCall(walker: *Walker) bool {
        const top = walker.stackPointer();
        const word = if (frame.calls_push)
            walker.map.load(top) orelse return false
        else
            walker.registers[dwarf.return_column] orelse return false;
        const caller = frame.codeAddress(word);
        if (!walker.followsCall(caller)) return false;
        if (frame.calls_push) walker.registers[dwarf.stack_pointer] = top +% 8;
        walker.registers[dwarf.instruction_pointer] = caller;
        return true;
    }

    /// Code that nothing describes may keep a frame pointer.
    fn popFrame(walker: *Walker) bool {
        const pointer = walker.registers[dwarf.frame_pointer] orelse return false;
        if (pointer < walker.stackPointer() or pointer % 8 != 0) return false;
        const word = walker.map.load(pointer +% 8) orelse return false;
        const caller = frame.codeAddress(word);
        if (!walker.followsCall(caller)) return false;
        const outer = walker.map.load(pointer) orelse return false;
        walker.forgetAllBut(outer, pointer +% 16, caller);
        return true;
    }

    fn scan(walker: *Walker) bool {
        if (walker.scans == scans_max) return false;
        walker.scans += 1;
        const start = (walker.stackPointer() +% 7) & ~@as(u64, 7);
        for (0..scan_max) |index| {
            const at = start +% index * 8;
            const word = walker.map.load(at) orelse return false;
            const caller = frame.codeAddress(word);
            if (!walker.followsCall(caller)) continue;
            walker.forgetAllBut(walker.registers[dwarf.frame_pointer], at +% 8, caller);
            return true;
        }
        return false;
    }

    /// Without call frame information nobody knows what became of the other registers. Where calls
    /// push nothing, what a function keeps of its caller is not at the upper end of its frame.
    fn forgetAllBut(walker: *Walker, frame_pointer: ?u64, stack_pointer: u64, ip: u64) void {
        walker.registers = @splat(null);
        walker.registers[dwarf.frame_pointer] = frame_pointer;
        walker.registers[dwarf.stack_pointer] = stack_pointer;
        walker.registers[dwarf.instruction_pointer] = ip;
        walker.at_frame = frame.calls_push;
    }

    /// Whether `address` is where a call returns to.
    noinline fn followsCall(walker: *const Walker, address: u64) bool {
        if (!walker.map.isExecutable(address -% 1)) return false;
        var before: [frame.call_length_max]u8 = undefined;
        const copied = trampoline.probeCopy(&before, address -% before.len);
        return copied == before.len and frame.endsInCall(&before);
    }
};
