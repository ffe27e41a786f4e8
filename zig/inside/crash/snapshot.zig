//! Everything that a report holds, gathered once; the writers only read it.

const std = @import("std");
const abi = @import("../../abi.zig");
const frame_machine = @import("../../frame.zig");
const sys = @import("../../sys.zig");
const trampoline = @import("../../trampoline.zig").machine;
const signals = @import("../signals.zig");
const threads = @import("../threads.zig");
const codes = @import("codes.zig");
const config = @import("config.zig");
const map_module = @import("map.zig");
const names = @import("names.zig");
const walk = @import("walk.zig");
const crash_frame = frame_machine.crash;
const Frame = frame_machine.Frame;
const Map = map_module.Map;

pub const Reason = enum {
    crash,
    on_demand,
    watchdog,

    pub fn name(reason: Reason) []const u8 {
        return switch (reason) {
            .crash => "crash",
            .on_demand => "on-demand",
            .watchdog => "watchdog",
        };
    }
};

pub const stack_max = 32 * 1024;
pub const sibling_stack_max = 4 * 1024;
pub const siblings_max = 128;
pub const sibling_frames_max = 32;
/// Frames, functions that are inlined included.
pub const named_max = walk.frames_max + 32;
pub const code_before = 128;
pub const code_length = 256;
const legacy_size = crash_frame.legacy_size;

/// A frame with what its address is called.
pub const Named = struct {
    frame: walk.Frame,
    module: ?*const map_module.Module = null,
    /// The address in the module's own numbering.
    own: u64 = 0,
    symbol: []const u8 = "",
    /// From the start of the symbol, or of the module; the address itself without a module.
    offset: u64,
    /// From debug information: empty and 0 when not known.
    file: []const u8 = "",
    line: u32 = 0,
    column: u32 = 0,
    /// Inlined into the frame that follows.
    inlined: bool = false,
};

/// Another thread of the process.
pub const Sibling = struct {
    id: u32,
    name: [16]u8,
    name_length: u32,
    /// Whether `registers` could be read.
    known: bool,
    registers: crash_frame.Registers,
    frames: [sibling_frames_max]walk.Frame,
    frame_count: usize,
    named: [sibling_frames_max]Named,
    named_count: usize,
    stack_address: u64,
    stack: [sibling_stack_max]u8,
    stack_length: usize,

    pub fn nameText(sibling: *const Sibling) []const u8 {
        return sibling.name[0..sibling.name_length];
    }
};

pub const StageFailure = struct { stage: []const u8, expired: bool };

pub const Snapshot = struct {
    // The first stage fills these; nothing of it can fail.
    reason: Reason,
    /// False for a dump that no signal caused.
    has_signal: bool,
    signal: u32,
    info: sys.machine.Siginfo,
    frame: Frame,
    registers: crash_frame.Registers,
    legacy: [legacy_size]u8,
    legacy_length: usize,
    process_id: u32,
    thread_id: u32,
    thread_name: [16]u8,
    thread_name_length: u32,
    time: u64,
    id: [96]u8,
    id_length: usize,
    has_address: bool,
    address: u64,
    access: abi.Access,
    kind: codes.Type,
    /// Bounds of the thread's stack where they are known; 0 else.
    stack_low: u64,
    stack_high: u64,
    stack_guard: u64,
    call: ?*const names.Name,
    crumbs: [names.ring_length]u32,
    crumb_count: usize,

    // Later stages; empty where one was abandoned.
    map: Map,
    frames: [walk.frames_max]walk.Frame,
    frame_count: usize,
    named: [named_max]Named,
    named_count: usize,
    code: [code_length]u8,
    code_address: u64,
    code_read: usize,
    instruction: [crash_frame.instruction_max]u8,
    instruction_length: usize,
    stack_address: u64,
    stack: [stack_max]u8,
    stack_length: usize,
    siblings: [siblings_max]Sibling,
    sibling_count: usize,
    siblings_skipped: []const u8,
    failures: [16]StageFailure,
    failure_count: usize,
    name_bytes: [64 * 1024]u8,
    name_used: usize,

    pub fn idText(snapshot: *const Snapshot) []const u8 {
        return snapshot.id[0..snapshot.id_length];
    }

    pub fn threadName(snapshot: *const Snapshot) []const u8 {
        return snapshot.thread_name[0..snapshot.thread_name_length];
    }

    pub fn backtrace(snapshot: *const Snapshot) []const Named {
        return snapshot.named[0..snapshot.named_count];
    }

    pub fn others(snapshot: *const Snapshot) []const Sibling {
        return snapshot.siblings[0..snapshot.sibling_count];
    }

    pub fn failed(snapshot: *const Snapshot) []const StageFailure {
        return snapshot.failures[0..snapshot.failure_count];
    }

    pub fn noteFailure(snapshot: *Snapshot, stage: []const u8, expired: bool) void {
        if (snapshot.failure_count == snapshot.failures.len) return;
        snapshot.failures[snapshot.failure_count] = .{ .stage = stage, .expired = expired };
        snapshot.failure_count += 1;
    }

    /// Forgets the report before.
    pub fn clear(snapshot: *Snapshot) void {
        snapshot.thread_name_length = 0;
        snapshot.map.text_length = 0;
        snapshot.map.mapping_count = 0;
        snapshot.map.module_count = 0;
        snapshot.frame_count = 0;
        snapshot.named_count = 0;
        snapshot.code_read = 0;
        snapshot.instruction_length = 0;
        snapshot.stack_length = 0;
        snapshot.sibling_count = 0;
        snapshot.siblings_skipped = "";
        snapshot.failure_count = 0;
        snapshot.name_used = 0;
        snapshot.crumb_count = 0;
        snapshot.call = null;
    }

    /// What the handler was given.
    pub fn begin(
        snapshot: *Snapshot,
        reason: Reason,
        signal: u32,
        info: *const sys.machine.Siginfo,
        frame: *const Frame,
        thread: ?*const threads.Thread,
    ) void {
        snapshot.clear();
        const synchronous = signals.synchronous(signal, info.code);
        snapshot.reason = reason;
        snapshot.has_signal = true;
        snapshot.signal = signal;
        snapshot.info = info.*;
        snapshot.frame = frame.*;
        snapshot.registers = frame.registers;
        snapshot.process_id = sys.machine.processId();
        snapshot.thread_id = sys.machine.threadId();
        snapshot.time = sys.report.now(sys.report.clock_realtime);
        snapshot.has_address = synchronous and signals.hasAddress(signal, info.code);
        snapshot.address = if (snapshot.has_address) info.payload.address else 0;
        const is_access = synchronous and signals.isAccess(signal);
        snapshot.access = if (is_access) frame.access(&trampoline.probeLoad) else .unknown;
        snapshot.kind = codes.typeOf(signal, info.code);
        snapshot.stack_low = if (thread) |known| known.stack_low else 0;
        snapshot.stack_high = if (thread) |known| known.stack_high else 0;
        snapshot.stack_guard = if (thread) |known| known.stack_guard else 0;
        const legacy = frame.legacyState();
        snapshot.legacy_length = 0;
        if (legacy.len == legacy_size) {
            const copied = trampoline.probeCopy(&snapshot.legacy, @intFromPtr(legacy.ptr));
            if (copied == legacy_size) snapshot.legacy_length = legacy_size;
        }
        if (thread) |known| snapshot.noteCall(known);
    }

    /// For a dump that no signal caused, of the thread with this id.
    pub fn beginWithoutSignal(snapshot: *Snapshot, thread: u32) void {
        snapshot.clear();
        snapshot.reason = .watchdog;
        snapshot.has_signal = false;
        snapshot.signal = 0;
        @memset(std.mem.asBytes(&snapshot.info), 0);
        @memset(std.mem.asBytes(&snapshot.registers), 0);
        snapshot.legacy_length = 0;
        snapshot.process_id = sys.machine.processId();
        snapshot.thread_id = thread;
        snapshot.time = sys.report.now(sys.report.clock_realtime);
        snapshot.has_address = false;
        snapshot.address = 0;
        snapshot.access = .unknown;
        snapshot.kind = .user;
        snapshot.stack_low = 0;
        snapshot.stack_high = 0;
        snapshot.stack_guard = 0;
    }

    /// Makes another thread the one that is reported.
    pub fn adopt(snapshot: *Snapshot, thread: u32) void {
        const count = snapshot.sibling_count;
        for (snapshot.siblings[0..count]) |*sibling| {
            if (sibling.id != thread) continue;
            snapshot.registers = sibling.registers;
            snapshot.thread_name = sibling.name;
            snapshot.thread_name_length = sibling.name_length;
            snapshot.frame_count = sibling.frame_count;
            const frames = sibling.frames[0..sibling.frame_count];
            @memcpy(snapshot.frames[0..frames.len], frames);
            snapshot.sibling_count -= 1;
            if (sibling != &snapshot.siblings[count - 1]) {
                sibling.* = snapshot.siblings[count - 1];
            }
            return;
        }
    }

    fn noteCall(snapshot: *Snapshot, thread: *const threads.Thread) void {
        snapshot.crumb_count = names.readRing(thread.key, &snapshot.crumbs);
        var guard = thread.local.guard;
        // Through barriers, behind which JavaScript runs, to the call that entered native code.
        for (0..64) |_| {
            if (guard == 0) return;
            const barrier: u64 = trampoline.ThreadLocal.barrier_bit;
            const at = guard & ~barrier;
            if (guard & barrier == 0) {
                const offset = @offsetOf(trampoline.RecoveryFrame, "slot");
                const slot = trampoline.probeLoad(at + offset) orelse return;
                snapshot.call = if (trampoline.slotIndex(slot)) |index|
                    names.ofSlot(index)
                else
                    nameOfBlock(slot, thread);
                return;
            }
            guard = trampoline.probeLoad(at) orelse return;
        }
    }

    /// The name of the running call block, if that is what the slot is a part of.
    fn nameOfBlock(slot: u64, thread: *const threads.Thread) ?*const names.Name {
        if (slot == 0 or slot != thread.block_slot) return null;
        const block = slot - @offsetOf(abi.CallBlock, "entry");
        const word = trampoline.probeLoad(block + @offsetOf(abi.CallBlock, "status")) orelse
            return null;
        const number: u32 = @truncate(word >> 32);
        return if (number == 0) null else names.get(number - 1);
    }

    comptime {
        // Both in one word, and no further: `probeLoad` must not read past the block.
        const next = @offsetOf(abi.CallBlock, "status") + 4;
        std.debug.assert(@offsetOf(abi.CallBlock, "name") == next);
    }

    /// Reads the mappings, and decides what depends on them.
    pub fn readMap(snapshot: *Snapshot) void {
        snapshot.map.read();
        if (snapshot.kind == .access_violation and snapshot.overflows()) {
            snapshot.kind = .stack_overflow;
        }
    }

    /// A fault in a stack's guard or within a page below the stack, with the stack pointer near.
    fn overflows(snapshot: *const Snapshot) bool {
        if (!snapshot.has_address) return false;
        const near = 64 * 1024;
        const page = 4096;
        var low = snapshot.stack_low;
        const stack_pointer = crash_frame.stackPointer(&snapshot.registers);
        if (low == 0) {
            // The thread never attached: its stack is what lies above the guard.
            const mapping = snapshot.stackMapping() orelse return false;
            low = mapping.start;
            if (snapshot.address >= low) return false;
            if (snapshot.map.find(snapshot.address)) |guard| {
                if (guard.protection != 0) return false;
            }
        }
        const guard = @max(snapshot.stack_guard, page);
        const zone = if (snapshot.stack_low == 0) near else guard;
        if (snapshot.address < low -| zone) return false;
        if (snapshot.address >= low + snapshot.stack_guard) return false;
        return stack_pointer < low + guard + near and stack_pointer > low -| guard -| near;
    }

    /// The mapping of the interrupted stack: where the stack pointer is, or where it overflowed.
    fn stackMapping(snapshot: *const Snapshot) ?*const map_module.Mapping {
        return stackAt(&snapshot.map, crash_frame.stackPointer(&snapshot.registers));
    }

    pub fn walkStack(snapshot: *Snapshot) void {
        const Walker = walk.Walker;
        snapshot.frame_count =
            Walker.walk(&snapshot.map, &snapshot.registers, &snapshot.frames);
        // The instruction pointer is behind the instruction then.
        const passed = switch (snapshot.kind) {
            .breakpoint => crash_frame.breakpoints_pass,
            .policy => true,
            else => false,
        };
        if (passed and snapshot.info.code > 0) snapshot.frames[0].exact = false;
    }

    pub fn nameFrames(snapshot: *Snapshot) void {
        for (snapshot.frames[0..snapshot.frame_count]) |*frame| {
            snapshot.named[snapshot.named_count] = snapshot.name(frame);
            snapshot.named_count += 1;
        }
    }

    pub fn nameSiblings(snapshot: *Snapshot) void {
        for (snapshot.siblings[0..snapshot.sibling_count]) |*sibling| {
            for (sibling.frames[0..sibling.frame_count]) |*frame| {
                sibling.named[sibling.named_count] = snapshot.name(frame);
                sibling.named_count += 1;
            }
        }
    }

    fn name(snapshot: *Snapshot, frame: *const walk.Frame) Named {
        var named: Named = .{ .frame = frame.*, .offset = frame.address };
        const at = if (frame.exact) frame.address else frame.address -% 1;
        const place = snapshot.map.place(at) orelse return named;
        const image = &place.module.image;
        named.module = place.module;
        named.own = place.address +% (frame.address -% at);
        named.offset = named.own -% image.lowest;
        const symbol = image.find(place.address) orelse return named;
        const room = snapshot.name_bytes[snapshot.name_used..];
        const text = image.nameOf(&symbol, room[0..@min(room.len, 512)]);
        if (text.len == 0) return named;
        snapshot.name_used += text.len;
        named.symbol = text;
        named.offset = named.own -% symbol.value;
        return named;
    }

    /// Code around the instruction pointer, and the instruction itself.
    pub fn copyCode(snapshot: *Snapshot) void {
        const at = crash_frame.instructionPointer(&snapshot.registers);
        snapshot.instruction_length = trampoline.probeCopy(&snapshot.instruction, at);
        const mapping = snapshot.map.find(at) orelse return;
        if (!mapping.has(sys.machine.protection_read)) return;
        const start = @max(at -| code_before, mapping.start);
        const length = @min(code_length, mapping.end - start);
        snapshot.code_address = start;
        snapshot.code_read = trampoline.probeCopy(snapshot.code[0..length], start);
    }

    pub fn copyOwnStack(snapshot: *Snapshot) void {
        const pointer = crash_frame.stackPointer(&snapshot.registers);
        snapshot.stack_length =
            copyStack(&snapshot.map, pointer, &snapshot.stack, &snapshot.stack_address);
        if (config.config.redact) {
            snapshot.redact(snapshot.stack[0..snapshot.stack_length]);
            for (snapshot.siblings[0..snapshot.sibling_count]) |*sibling| {
                snapshot.redact(sibling.stack[0..sibling.stack_length]);
            }
        }
    }

    /// Blanks every word that points into no module and no stack.
    fn redact(snapshot: *const Snapshot, bytes: []u8) void {
        var at: usize = 0;
        while (at < bytes.len) : (at += 8) {
            const end = @min(at + 8, bytes.len);
            if (end - at == 8) {
                const word = std.mem.readInt(u64, bytes[at..][0..8], .little);
                if (snapshot.tellsPlace(word)) continue;
            }
            @memset(bytes[at..end], 0);
        }
    }

    fn tellsPlace(snapshot: *const Snapshot, word: u64) bool {
        const mapping = snapshot.map.find(word) orelse return false;
        if (mapping.module != map_module.no_module) return true;
        if (snapshot.stackMapping()) |own| if (own == mapping) return true;
        for (snapshot.siblings[0..snapshot.sibling_count]) |*sibling| {
            if (!sibling.known) continue;
            const pointer = crash_frame.stackPointer(&sibling.registers);
            if (mapping.contains(pointer)) return true;
        }
        return false;
    }
};

/// The stack that `pointer` is in, or that lies next above it.
pub fn stackAt(map: *const Map, pointer: u64) ?*const map_module.Mapping {
    const reach = 1 << 20;
    const both = sys.machine.protection_read | sys.machine.protection_write;
    var index = map.indexAfter(pointer);
    while (index < map.mapping_count) : (index += 1) {
        const mapping = &map.mappings[index];
        if (mapping.start > pointer +| reach) return null;
        if (mapping.has(both) and mapping.isAnonymous()) return mapping;
    }
    return null;
}

/// Copies the innermost part of a stack, from the red zone on and without the environment: how many
/// bytes, and from where.
pub fn copyStack(map: *const Map, pointer: u64, into: []u8, address: *u64) usize {
    const mapping = stackAt(map, pointer) orelse return 0;
    const start = @max(pointer -| crash_frame.red_zone, mapping.start) & ~@as(u64, 15);
    var end = @min(mapping.end, start + into.len);
    const known = &config.config;
    if (known.environment_start > start) {
        end = @min(end, known.environment_start);
    } else if (known.environment_end > start) return 0;
    if (end <= start) return 0;
    address.* = start;
    return trampoline.probeCopy(into[0..@intCast(end - start)], start) & ~@as(usize, 7);
}
