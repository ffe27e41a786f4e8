//! Finds the machine code of the runtime and of its JavaScript engine. A fault in there is the
//! runtime's own, even when a guarded call is open below it: WebAssembly traps are such faults.
//!
//! The runtime's code is the executable file that the process runs, wherever it is mapped (V8 maps
//! its built-in functions a second time, into its code range). The engine's code is generated into
//! one large reservation that is writable and executable: 512 MiB in V8, 1 GiB in JavaScriptCore. A
//! library that generates code (PCRE2, LuaJIT, libffi) takes a small fraction of that.

const std = @import("std");
const sys = @import("../sys.zig").machine;
const maps = @import("../inside/maps.zig");

/// No smaller run of executable mappings counts as an engine's reservation.
const reservation_min = 64 * 1024 * 1024;

pub const Range = struct { start: u64, end: u64 };

/// The contiguous run of executable mappings that ended last.
const Run = struct { start: u64 = 0, end: u64 = 0, generated: bool = false };

/// Collects ranges from the text of /proc/self/maps. `program` lies in the program's own file.
fn collect(text: []const u8, program: u64, into: []Range) usize {
    var program_file: []const u8 = "";
    var lines = std.mem.tokenizeScalar(u8, text, '\n');
    while (lines.next()) |line| {
        const mapping = maps.parse(line) orelse continue;
        if (program >= mapping.start and program < mapping.end) program_file = mapping.file;
    }
    var used: usize = 0;
    var run: Run = .{};
    lines.reset();
    while (lines.next()) |line| {
        const mapping = maps.parse(line) orelse continue;
        if (!mapping.executable()) continue;
        if (mapping.start != run.end) run = .{ .start = mapping.start };
        run.end = mapping.end;
        run.generated = run.generated or (mapping.anonymous() and mapping.writable());
        const own = program_file.len != 0 and std.mem.eql(u8, mapping.file, program_file);
        const reserved = run.generated and run.end - run.start >= reservation_min;
        if (!own and !reserved) continue;
        const start = if (reserved) run.start else mapping.start;
        // A run grows line by line: its range replaces the parts of it that are there already.
        while (used > 0 and into[used - 1].start >= start) used -= 1;
        if (used == into.len) return used;
        into[used] = .{ .start = start, .end = mapping.end };
        used += 1;
    }
    return used;
}

/// Fills `into` with the runtime's and the engine's code; the number of ranges.
pub fn find(program: u64, into: []Range) usize {
    const descriptor = sys.openRead("/proc/self/maps") orelse return 0;
    defer sys.close(descriptor);
    // Read whole: a page at a time could lose a line between two reads. 16 MiB hold 200,000 lines.
    const capacity = 16 * 1024 * 1024;
    const access = sys.protection_read | sys.protection_write;
    const buffer = sys.map(capacity, access) orelse return 0;
    defer sys.unmap(buffer, capacity);
    const bytes: [*]u8 = @ptrFromInt(buffer);
    var length: usize = 0;
    while (length < capacity) {
        const count = sys.read(descriptor, bytes[length..capacity]) orelse break;
        if (count == 0) break;
        length += count;
    }
    return collect(bytes[0..length], program, into);
}

test "collect finds the program's file and the engine's reservation" {
    const v8 =
        \\555a00000000-555a00100000 r--p 00000000 fe:00 77                 /usr/bin/runtime
        \\555a00100000-555a04000000 r-xp 00100000 fe:00 77                 /usr/bin/runtime
        \\7f0000000000-7f0000001000 rwxp 00000000 00:00 0
        \\7f10f8000000-7f1117dc0000 rwxp 00000000 00:00 0
        \\7f1117dc0000-7f1117fe6000 r-xp 035cf000 fe:00 77                 /usr/bin/runtime
        \\7f1117fe6000-7f1118000000 rwxp 00000000 00:00 0
        \\7f1138848000-7f113899e000 r-xp 00026000 fe:00 99                 /usr/lib/libc.so.6
        \\
    ;
    var ranges: [8]Range = undefined;
    try std.testing.expectEqual(2, collect(v8, 0x555a_0000_0040, &ranges));
    try std.testing.expectEqual(Range{
        .start = 0x555a_0010_0000,
        .end = 0x555a_0400_0000,
    }, ranges[0]);
    try std.testing.expectEqual(Range{
        .start = 0x7f10_f800_0000,
        .end = 0x7f11_1800_0000,
    }, ranges[1]);
}

test "find sees this very program" {
    var ranges: [8]Range = undefined;
    const here = @intFromPtr(&find);
    const count = find(here, &ranges);
    const found = for (ranges[0..count]) |range| {
        if (here >= range.start and here < range.end) break true;
    } else false;
    try std.testing.expect(found);
}
