//! What `installCrashReporter` sets and the handler reads. Written outside the handler, before
//! `active`.

const frame = @import("../../frame.zig");

pub const path_max = 4096;
pub const Path = [path_max:0]u8;

pub const Formats = packed struct(u32) {
    text: bool = false,
    json: bool = false,
    minidump: bool = false,
    _reserved: u29 = 0,
};

pub const Config = struct {
    /// Descriptors opened early: a process that crashes may not be able to open any. -1 without.
    directory: i32 = -1,
    temporary: i32 = -1,
    /// Another descriptor for standard error, whatever becomes of number 2. -1 without.
    stderr: i32 = -1,
    formats: Formats = .{},
    reports_max: u32 = 0,
    bytes_max: u32 = 1024 * 1024,
    deadline_ms: u32 = 5000,
    redact: bool = false,
    /// The signal that asks for a report without an end; 0 for none.
    on_demand: u32 = 0,
    /// Where the main thread's stack holds the environment: never copied. 0 when unknown.
    environment_start: u64 = 0,
    environment_end: u64 = 0,
    /// Functions of the symbols library (zig/symbols.zig); 0 without.
    symbols_refresh: u64 = 0,
    symbols_lookup: u64 = 0,
    /// How the directory is called in messages.
    directory_name: [path_max]u8 = undefined,
    directory_length: u32 = 0,
    program: [path_max]u8 = undefined,
    program_length: u32 = 0,
    /// "Linux", the kernel's release and version, the machine.
    system: [400]u8 = undefined,
    system_length: u32 = 0,
    /// Those that the process may run on; 0 when unknown.
    processors: u32 = 0,
    /// As `sys.identifyProcessor` has them.
    processor_level: u16 = 0,
    processor_revision: u16 = 0,
    processor_words: [6]u32 = @splat(0),

    pub fn directoryName(known: *const Config) []const u8 {
        return known.directory_name[0..known.directory_length];
    }
    pub fn systemName(known: *const Config) []const u8 {
        return known.system[0..known.system_length];
    }
    pub fn programName(known: *const Config) []const u8 {
        return known.program[0..known.program_length];
    }
};

pub var config: Config = .{};
var installed: bool = false;

pub inline fn active() bool {
    // Known when it is compiled where there are no reports: what they need is left out then.
    if (comptime !frame.has_crash_reports) return false;
    return @atomicLoad(bool, &installed, .acquire);
}

pub fn setActive(on: bool) void {
    @atomicStore(bool, &installed, on, .release);
}
