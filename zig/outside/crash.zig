//! Installs the crash reporter: opens what it will need, gives it memory, and arms it.

const std = @import("std");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const report = @import("../sys.zig").report;
const crash_frame = @import("../frame.zig").crash;
const trampoline = @import("../trampoline.zig").machine;
const chain = @import("../inside/chain.zig");
const config_module = @import("../inside/crash/config.zig");
const ending = @import("../inside/crash/ending.zig");
const lines = @import("../inside/crash/lines.zig");
const names = @import("../inside/crash/names.zig");
const reporter = @import("../inside/crash/reporter.zig");
const signals = @import("../inside/signals.zig");
const install_module = @import("install.zig");
const libraries = @import("libraries.zig");
const lock = @import("lock.zig");

const config = &config_module.config;
var prepared = false;

/// Arms the reporter, in place of one that is armed already.
pub fn install(request: *const abi.CrashRequest) abi.Status {
    const status = install_module.install(signals.mask_all);
    if (status != .ok) return status;
    lock.acquire();
    defer lock.release();
    disarm();
    if (!prepare()) return .no_memory;
    config.formats = @bitCast(request.formats);
    config.reports_max = request.reports_max;
    config.bytes_max = request.bytes_max;
    config.deadline_ms = request.deadline_ms;
    config.redact = request.redact != 0;
    if (!openAll(request)) return .system_call_failed;
    openSymbols(textOf(&request.symbols));
    config.on_demand = 0;
    if (request.on_demand != 0 and !takeSignal(request.on_demand)) return .system_call_failed;
    config_module.setActive(true);
    return .ok;
}

pub fn uninstall() void {
    lock.acquire();
    defer lock.release();
    disarm();
}

fn disarm() void {
    if (!config_module.active()) return;
    config_module.setActive(false);
    if (config.on_demand != 0) {
        var now: sys.Action = .{};
        const known = sys.sigaction(config.on_demand, null, &now);
        if (known and now.handler == chain.ourAction().handler) {
            _ = sys.sigaction(config.on_demand, &ending.previous_on_demand, null);
        }
    }
    for ([_]*i32{ &config.directory, &config.temporary, &config.stderr }) |descriptor| {
        if (descriptor.* >= 0) sys.close(@intCast(descriptor.*));
        descriptor.* = -1;
    }
}

/// Makes reports possible without a crash reporter: for dumps.
pub fn prepareFor(symbols: [:0]const u8) abi.Status {
    const status = install_module.install(signals.mask_default);
    if (status != .ok) return status;
    lock.acquire();
    defer lock.release();
    if (!prepare()) return .no_memory;
    openSymbols(symbols);
    return .ok;
}

/// Where all threads are: how many, or a negative status.
pub fn dumpThreads(into: []abi.ThreadDump) i32 {
    const status = prepareFor("");
    if (status != .ok) return @backingInt(status);
    const registers = crash_frame.here();
    const count = reporter.dump(&registers, into) orelse
        return @backingInt(abi.Status.not_supported);
    return @intCast(count);
}

/// Once per process: memory, and what stays true.
fn prepare() bool {
    if (prepared) return true;
    const access = sys.protection_read | sys.protection_write;
    const space = sys.map(@sizeOf(reporter.Workspace), access) orelse return false;
    const shared = report.mapShared(@sizeOf(lines.Lines)) orelse return false;
    reporter.setWorkspace(@ptrFromInt(space), @ptrFromInt(shared));
    noteEnvironment();
    noteProgram();
    noteSystem();
    prepared = true;
    return true;
}

fn openAll(request: *const abi.CrashRequest) bool {
    const directory = textOf(&request.directory);
    if (directory.len > 0) {
        const opened = report.openDirectory(report.working_directory, directory) orelse
            return false;
        config.directory = @intCast(opened);
        @memcpy(config.directory_name[0..directory.len], directory);
        config.directory_length = @intCast(directory.len);
    }
    const temporary = textOf(&request.temporary);
    if (temporary.len > 0) {
        if (report.openDirectory(report.working_directory, temporary)) |opened| {
            config.temporary = @intCast(opened);
        }
    }
    if (request.stderr != 0) {
        if (report.duplicate(2)) |copy| config.stderr = @intCast(copy);
    }
    return true;
}

/// Without it, names come from dynamic symbol tables alone.
fn openSymbols(path: [:0]const u8) void {
    if (config.symbols_lookup != 0 or path.len == 0) return;
    var message: [256]u8 = undefined;
    const handle = libraries.open(path, &message);
    if (handle == 0) return;
    config.symbols_refresh = libraries.symbol(handle, "fl_sym_refresh");
    config.symbols_lookup = libraries.symbol(handle, "fl_sym_lookup");
}

fn textOf(path: *const [4096]u8) [:0]const u8 {
    const end = std.mem.indexOfScalar(u8, path, 0) orelse return "";
    return path[0..end :0];
}

fn takeSignal(signal: u32) bool {
    if (!sys.sigaction(signal, null, &ending.previous_on_demand)) return false;
    config.on_demand = signal;
    return sys.sigaction(signal, &chain.ourAction(), null);
}

/// Where the kernel put the environment: at the end of the main thread's stack (proc_pid_stat(5),
/// fields 28 and 51).
fn noteEnvironment() void {
    var buffer: [2048]u8 = undefined;
    const descriptor = sys.openRead("/proc/self/stat") orelse return;
    defer sys.close(descriptor);
    const length = sys.read(descriptor, &buffer) orelse return;
    const name_end = std.mem.lastIndexOfScalar(u8, buffer[0..length], ')') orelse return;
    var fields = std.mem.tokenizeAny(u8, buffer[name_end + 1 .. length], " \n");
    var number: usize = 3;
    while (fields.next()) |field| : (number += 1) {
        const value = std.fmt.parseInt(u64, field, 10) catch 0;
        if (number == 28) config.environment_start = value;
        if (number == 51) config.environment_end = value;
    }
}

fn noteProgram() void {
    config.program_length = report.readLink("/proc/self/exe", &config.program);
}

fn noteSystem() void {
    config.system_length = report.systemName(&config.system);
    config.processors = report.processorCount();
    const processor = sys.identifyProcessor();
    config.processor_level = processor.level;
    config.processor_revision = processor.revision;
    config.processor_words = processor.words;
}

/// Notes the running thread's ring of names.
pub fn setRing(ring: ?*const names.Ring) void {
    lock.acquire();
    defer lock.release();
    names.setRing(trampoline.threadPointer(), ring);
}

/// Adds a name for guarded functions; null when there is no room for more.
pub fn addName(library: []const u8, symbol: []const u8) ?u32 {
    lock.acquire();
    defer lock.release();
    return names.add(library, symbol);
}
