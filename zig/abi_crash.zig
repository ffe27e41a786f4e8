//! The part of the C ABI that crash reports and dumps of threads need. `abi.zig` has its names.

const std = @import("std");
const assert = std.debug.assert;

/// Files that a crash report consists of, as bits.
pub const CrashFormat = enum(u32) { text = 1, json = 2, minidump = 4 };

/// What a crash reporter does.
pub const CrashRequest = extern struct {
    size: u32,
    /// Bits of `CrashFormat`.
    formats: u32,
    /// 1 to write to standard error, too.
    stderr: u32,
    /// 0 for any number.
    reports_max: u32,
    /// The most that a dump may have.
    bytes_max: u32,
    deadline_ms: u32,
    /// 1 to blank stack words that point into no module and no stack.
    redact: u32,
    /// A signal that asks for a report without an end; 0 for none.
    on_demand: u32,
    /// Paths that end with a zero byte; empty for none.
    directory: [4096]u8,
    temporary: [4096]u8,
    /// The symbols library.
    symbols: [4096]u8,

    comptime {
        assert(@offsetOf(CrashRequest, "directory") == 32);
        assert(@sizeOf(CrashRequest) == 32 + 3 * 4096);
    }
};

pub const dump_frames_max = 32;

/// Where a thread is: pairs of an address and of how it was found (bits 0 to 31, as the symbols
/// library numbers it) with whether it is exact (bit 32).
pub const ThreadDump = extern struct {
    thread_id: u32,
    frame_count: u32,
    name_length: u32,
    _padding: u32 = 0,
    name: [16]u8,
    frames: [dump_frames_max * 2]u64,

    comptime {
        assert(@offsetOf(ThreadDump, "frames") == 32);
        assert(@sizeOf(ThreadDump) == 32 + dump_frames_max * 16);
    }
};

/// What a watchdog does when its time is over, as bits.
pub const WatchFlag = enum(u32) { repeat = 1, exit = 2 };

/// How a stage of a crash report is made to fail, for tests.
pub const Sabotage = enum(u32) { none = 0, fault = 1, endless = 2, abort = 3 };
