//! One sentence about the address of an exception, shorter than JavaScript's: what can be told from
//! the mappings alone.

const std = @import("std");
const sys = @import("../../sys.zig").machine;
const crash_frame = @import("../../frame.zig").crash;
const codes = @import("codes.zig");
const map_module = @import("map.zig");
const Out = @import("out.zig").Out;
const Snapshot = @import("snapshot.zig").Snapshot;

/// Offsets from a null pointer are rarely larger.
const null_end = 64 * 1024;
const near_max = 16 * 1024 * 1024;

pub fn write(out: *Out, snapshot: *const Snapshot) void {
    if (!snapshot.has_signal) return out.text("its time is over");
    switch (snapshot.kind) {
        .stack_overflow => out.text("in the stack's guard: the recursion is too deep, or a " ++
            "local variable too large"),
        .general_protection => protection(out, snapshot),
        .misaligned_access => out.text("an address misaligned for this instruction"),
        .machine_check => out.text("the hardware lost the memory"),
        .arithmetic => out.text(if (snapshot.info.code == 1)
            "a division by zero, or one whose result is too large"
        else
            "an arithmetic exception"),
        .illegal_instruction => out.text("no instruction of this processor, or a trap on purpose"),
        .breakpoint => out.text("a breakpoint instruction was executed"),
        .single_step => out.text("one instruction was executed in single-step mode"),
        .watchpoint => out.text("a watched address was accessed"),
        .abort => out.text("the program gave up on its own: abort() or a failed assertion"),
        .policy => out.text("a system call that is not allowed was made"),
        .user => out.text("a signal asked for this report; the process goes on"),
        .access_violation, .bus_error => {
            if (snapshot.info.code <= 0) return sent(out, snapshot);
            if (!snapshot.has_address) return out.text("the processor reported no address");
            address(out, snapshot);
        },
    }
}

fn sent(out: *Out, snapshot: *const Snapshot) void {
    out.text("sent by process ");
    out.decimal(@intCast(@max(snapshot.info.payload.sender.process_id, 0)));
    out.text(", not raised by the hardware");
}

fn protection(out: *Out, snapshot: *const Snapshot) void {
    inline for (@typeInfo(crash_frame.Registers).@"struct".field_names) |name| {
        const value = @field(snapshot.registers, name);
        if (!crash_frame.isCanonical(value)) {
            out.text("non-canonical pointer ");
            out.hex(value);
            return out.text(" in " ++ name);
        }
    }
    out.text("a non-canonical address or a privileged instruction");
}

fn address(out: *Out, snapshot: *const Snapshot) void {
    const at = snapshot.address;
    if (snapshot.map.find(at)) |mapping| return inMapping(out, snapshot, mapping);
    if (at < null_end) {
        out.text("offset ");
        out.hex(at);
        return out.text(if (at == 0)
            " from the null page: a null pointer"
        else
            " from the null page: a field or an element of a null pointer");
    }
    const index = snapshot.map.indexAfter(at);
    if (index > 0) {
        const below = &snapshot.map.mappings[index - 1];
        const distance = at - below.end;
        if (distance < near_max) {
            size(out, distance);
            out.text(" past ");
            return describe(out, below);
        }
    }
    if (index < snapshot.map.mapping_count) {
        const above = &snapshot.map.mappings[index];
        const distance = above.start - at;
        if (distance < near_max) {
            size(out, distance);
            out.text(" before ");
            return describe(out, above);
        }
    }
    out.text("unmapped, far from everything: freed, or no pointer at all");
}

fn inMapping(out: *Out, snapshot: *const Snapshot, mapping: *const map_module.Mapping) void {
    if (snapshot.kind == .bus_error) {
        out.text("past the end of file: in ");
        return describe(out, mapping);
    }
    out.text(switch (snapshot.access) {
        .write => "not writable: in ",
        .execute => "not executable: in ",
        .read => "not readable: in ",
        .unknown => "refused: in ",
    });
    describe(out, mapping);
}

fn size(out: *Out, bytes: u64) void {
    if (bytes < 4096) {
        out.decimal(bytes);
        out.text(if (bytes == 1) " byte" else " bytes");
    } else {
        out.decimal(bytes / 1024);
        out.text(" KiB");
    }
}

/// "mapping libz.so.1 r-x".
fn describe(out: *Out, mapping: *const map_module.Mapping) void {
    out.text("mapping ");
    out.plain(if (mapping.path.len == 0) "of memory" else baseName(mapping.path));
    out.byte(' ');
    out.text(&protectionText(mapping.protection));
}

pub fn protectionText(bits: u32) [3]u8 {
    return .{
        if (bits & sys.protection_read != 0) 'r' else '-',
        if (bits & sys.protection_write != 0) 'w' else '-',
        if (bits & sys.protection_execute != 0) 'x' else '-',
    };
}

pub fn baseName(path: []const u8) []const u8 {
    const slash = std.mem.lastIndexOfScalar(u8, path, '/') orelse return path;
    return path[slash + 1 ..];
}
