//! Exported C symbols of crash reports, dumps of threads and watchdogs. Argument checks live here;
//! logic lives in the modules. Where there are no crash reports yet, all of them say so.

const std = @import("std");
const abi = @import("abi.zig");
const report = @import("sys.zig").report;
const supported = @import("frame.zig").has_crash_reports;
const trampoline = @import("trampoline.zig").machine;
const config = @import("inside/crash/config.zig");
const names = @import("inside/crash/names.zig");
const reporter = @import("inside/crash/reporter.zig");
const session = @import("inside/crash/session.zig");
const crash = @import("outside/crash.zig");
const watch = @import("outside/watch.zig");

fn number(status: abi.Status) i32 {
    return @backingInt(status);
}

/// Arms the crash reporter. The directories exist already.
pub export fn fl_crash_install(request: *const abi.CrashRequest, byte_length: u32) i32 {
    if (comptime !supported) return number(.not_supported);
    if (byte_length < @sizeOf(abi.CrashRequest)) return number(.invalid_argument);
    if (request.formats & ~@as(u32, 7) != 0) return number(.invalid_argument);
    if (request.deadline_ms == 0 or request.bytes_max < 4096) return number(.invalid_argument);
    switch (request.on_demand) {
        0, report.sigusr1, report.sigusr2 => {},
        else => return number(.invalid_argument),
    }
    return number(crash.install(request));
}

/// Disarms the crash reporter. The handlers stay.
pub export fn fl_crash_uninstall() i32 {
    if (comptime !supported) return number(.not_supported);
    crash.uninstall();
    return number(.ok);
}

/// 1 when the crash reporter is armed.
pub export fn fl_crash_active() i32 {
    return @intFromBool(config.active());
}

/// Where wrappers of the running thread note the names of what they call: 16 numbers from
/// `fl_name_add` and one more each, then the place of the newest.
pub export fn fl_crumbs(ring: *anyopaque, byte_length: u32) i32 {
    if (comptime !supported) return number(.not_supported);
    if (byte_length < @sizeOf(names.Ring)) return number(.invalid_argument);
    if (@intFromPtr(ring) % 4 != 0) return number(.invalid_argument);
    crash.setRing(@ptrCast(@alignCast(ring)));
    return number(.ok);
}

/// Makes a stage of every further crash report fail, from 1 on: the number of stages. For tests.
pub export fn fl_crash_sabotage(stage: u32, how: u32) i32 {
    if (comptime !supported) return number(.not_supported);
    const known = std.enums.fromInt(abi.Sabotage, how) orelse return number(.invalid_argument);
    session.sabotaged_stage = stage;
    session.sabotage = known;
    return reporter.stage_count;
}

/// Where all threads are, the calling one first: how many `ThreadDump` were written.
pub export fn fl_threads_dump(into: *anyopaque, byte_length: u32) i32 {
    if (comptime !supported) return number(.not_supported);
    if (@intFromPtr(into) % 8 != 0) return number(.invalid_argument);
    const list: [*]abi.ThreadDump = @ptrCast(@alignCast(into));
    return crash.dumpThreads(list[0 .. byte_length / @sizeOf(abi.ThreadDump)]);
}

/// Starts a watchdog for the running thread. `flags` are bits of `abi.WatchFlag`; `path`, empty for
/// standard error, and `symbols`, the symbols library's, end with a zero byte. What names it.
pub export fn fl_watch_start(
    timeout_ms: u32,
    flags: u32,
    path: *const anyopaque,
    symbols: *const anyopaque,
) i32 {
    if (comptime !supported) return number(.not_supported);
    if (timeout_ms == 0 or flags & ~@as(u32, 3) != 0) return number(.invalid_argument);
    const path_text: [*:0]const u8 = @ptrCast(path);
    const symbols_text: [*:0]const u8 = @ptrCast(symbols);
    return watch.start(&.{
        .timeout_ms = timeout_ms,
        .flags = flags,
        .path = std.mem.span(path_text),
        .symbols = std.mem.span(symbols_text),
    });
}

/// Cancels a watchdog: 1, or 0 when it is over.
pub export fn fl_watch_stop(id: i32) i32 {
    if (comptime !supported) return number(.not_supported);
    return watch.stop(id);
}

/// Adds the name of a guarded function, for reports: its index, or -4 when there is no room.
pub export fn fl_name_add(
    library: *const anyopaque,
    library_length: u32,
    symbol: *const anyopaque,
    symbol_length: u32,
) i32 {
    if (comptime !supported) return number(.not_supported);
    const library_text: [*]const u8 = @ptrCast(library);
    const symbol_text: [*]const u8 = @ptrCast(symbol);
    const index = crash.addName(
        library_text[0..library_length],
        symbol_text[0..symbol_length],
    ) orelse return number(.no_free_slot);
    return @intCast(index);
}

/// Says by which of these names a slot is called.
pub export fn fl_slot_name(slot: u32, name: u32) i32 {
    if (comptime !supported) return number(.not_supported);
    if (slot >= trampoline.slots_max) return number(.invalid_argument);
    names.setSlot(slot, name);
    return number(.ok);
}
