//! A report for debuggers: a minidump as Breakpad, Crashpad and their readers know it.
//!
//! Layouts: Breakpad's minidump_format.h (`MDRawHeader`, `MDRawDirectory`, `MDRawThread`,
//! `MDRawModule`, `MDRawExceptionStream`, `MDRawSystemInfo`, `MDMemoryDescriptor`) and its Linux
//! streams. All little-endian and packed.

const std = @import("std");
const crash_frame = @import("../../frame.zig").crash;
const sys = @import("../../sys.zig");
const config = @import("config.zig");
const snapshot_module = @import("snapshot.zig");
const Snapshot = snapshot_module.Snapshot;
const assert = std.debug.assert;

const Location = extern struct { size: u32 = 0, at: u32 = 0 };
const Directory = extern struct { kind: u32, location: Location };
const Header = extern struct {
    signature: u32 = 0x504d_444d, // "MDMP"
    version: u32 = 0xa793,
    stream_count: u32,
    directory: u32,
    checksum: u32 = 0,
    time: u32,
    flags: u64 align(4) = 0,
};
const Memory = extern struct { address: u64 align(4), location: Location };
const Thread = extern struct {
    id: u32,
    suspend_count: u32 = 0,
    priority_class: u32 = 0,
    priority: u32 = 0,
    teb: u64 align(4) = 0,
    stack: Memory,
    context: Location,
};
const Module = extern struct {
    base: u64 align(4),
    size: u32,
    checksum: u32 = 0,
    time: u32 = 0,
    name: u32,
    version: [13]u32 = @splat(0),
    debug: Location,
    misc: Location = .{},
    _reserved: [2]u64 align(4) = @splat(0),
};
const Exception = extern struct {
    thread: u32,
    _padding: u32 = 0,
    code: u32,
    flags: u32,
    record: u64 align(4) = 0,
    address: u64 align(4),
    parameter_count: u32 = 0,
    _parameters_padding: u32 = 0,
    parameters: [15]u64 align(4) = @splat(0),
    context: Location,
};
const SystemInfo = extern struct {
    architecture: u16,
    level: u16 = 0,
    revision: u16 = 0,
    processors: u8 = 0,
    product: u8 = 0,
    major: u32 = 0,
    minor: u32 = 0,
    build: u32 = 0,
    platform: u32 = 0x8201, // Linux
    service_pack: u32,
    suite: u16 = 0,
    _reserved: u16 = 0,
    cpu: [6]u32 = @splat(0),
};
const ThreadName = extern struct { id: u32, name: u64 align(4) };
const MiscInfo = extern struct {
    size: u32 = @sizeOf(MiscInfo),
    flags: u32 = 1, // The process id is valid.
    process: u32,
    _times: [3]u32 = @splat(0),
};

comptime {
    assert(@sizeOf(Header) == 32);
    assert(@sizeOf(Directory) == 12);
    assert(@sizeOf(Thread) == 48);
    assert(@sizeOf(Module) == 108);
    assert(@sizeOf(Exception) == 168);
    assert(@sizeOf(SystemInfo) == 56);
    assert(@sizeOf(Memory) == 16);
    assert(@sizeOf(ThreadName) == 12);
    assert(@sizeOf(MiscInfo) == 24);
}

const Stream = enum(u32) {
    threads = 3,
    modules = 4,
    memory = 5,
    exception = 6,
    system = 7,
    misc = 15,
    thread_names = 24,
    linux_status = 0x4767_0004,
    linux_auxv = 0x4767_0008,
    linux_maps = 0x4767_0009,
};
const streams_max = 12;
/// Stacks of all threads, and the code.
const memories_max = snapshot_module.siblings_max + 2;
const code_view_elf = 0x4270_454c; // "LEpB": the build id follows.

/// Writes into a buffer of a fixed size; what does not fit is left out.
const Builder = struct {
    bytes: []u8,
    used: u32 = 0,
    directory: [streams_max]Directory = undefined,
    directory_count: usize = 0,
    memories: [memories_max]Memory = undefined,
    memory_count: usize = 0,

    /// Zeroed room for `count` values; null when there is none.
    fn reserve(builder: *Builder, comptime T: type, count: usize) ?u32 {
        const start = std.mem.alignForward(u32, builder.used, 8);
        const length = @sizeOf(T) * count;
        if (start > builder.bytes.len or length > builder.bytes.len - start) return null;
        @memset(builder.bytes[builder.used..][0 .. start - builder.used + length], 0);
        builder.used = start + @as(u32, @intCast(length));
        return start;
    }

    fn put(builder: *Builder, at: u32, value: anytype) void {
        const bytes = std.mem.asBytes(&value);
        @memcpy(builder.bytes[at..][0..bytes.len], bytes);
    }

    fn append(builder: *Builder, value: anytype) ?Location {
        const at = builder.reserve(@TypeOf(value), 1) orelse return null;
        builder.put(at, value);
        return .{ .at = at, .size = @sizeOf(@TypeOf(value)) };
    }

    noinline fn appendBytes(builder: *Builder, bytes: []const u8) ?Location {
        const at = builder.reserve(u8, bytes.len) orelse return null;
        @memcpy(builder.bytes[at..][0..bytes.len], bytes);
        return .{ .at = at, .size = @intCast(bytes.len) };
    }

    /// A length in bytes, UTF-16, a zero.
    noinline fn appendText(builder: *Builder, text: []const u8) ?u32 {
        const at = builder.reserve(u16, text.len + 3) orelse return null;
        var words: usize = 0;
        var rest = text;
        while (rest.len > 0) {
            const length = std.unicode.utf8ByteSequenceLength(rest[0]) catch 1;
            const whole = rest[0..@min(length, rest.len)];
            const point: u21 = std.unicode.utf8Decode(whole) catch 0xfffd;
            rest = rest[whole.len..];
            if (point >= 0x1_0000) {
                const shifted = point - 0x1_0000;
                const high: u16 = @intCast(0xd800 + (shifted >> 10));
                const low: u16 = @intCast(0xdc00 + (shifted & 0x3ff));
                builder.put(@intCast(at + 4 + words * 2), [2]u16{ high, low });
                words += 2;
            } else {
                builder.put(@intCast(at + 4 + words * 2), @as(u16, @intCast(point)));
                words += 1;
            }
        }
        builder.put(at, @as(u32, @intCast(words * 2)));
        return at;
    }

    noinline fn stream(builder: *Builder, kind: Stream, location: Location) void {
        if (builder.directory_count == streams_max) return;
        builder.directory[builder.directory_count] = .{
            .kind = @backingInt(kind),
            .location = location,
        };
        builder.directory_count += 1;
    }

    fn memory(builder: *Builder, address: u64, location: Location) void {
        if (location.size == 0 or builder.memory_count == memories_max) return;
        builder.memories[builder.memory_count] = .{ .address = address, .location = location };
        builder.memory_count += 1;
    }

    /// Copies a file of /proc as far as it fits into `limit` bytes.
    noinline fn file(builder: *Builder, kind: Stream, path: [*:0]const u8, limit: usize) void {
        const at = builder.reserve(u8, 0) orelse return;
        const descriptor = sys.machine.openRead(path) orelse return;
        defer sys.machine.close(descriptor);
        const room = builder.bytes[at..][0..@min(limit, builder.bytes.len - at)];
        var length: usize = 0;
        while (length < room.len) {
            const count = sys.machine.read(descriptor, room[length..]) orelse break;
            if (count == 0) break;
            length += count;
        }
        builder.used = at + @as(u32, @intCast(length));
        builder.stream(kind, .{ .at = at, .size = @intCast(length) });
    }
};

/// What of the room the stacks may have at least.
const stacks_min = 16 * 1024;

/// Writes the dump; its length, 0 when not even its head fits.
pub fn write(snapshot: *const Snapshot, bytes: []u8) usize {
    var builder: Builder = .{ .bytes = bytes };
    _ = builder.reserve(Header, 1) orelse return 0;
    const directory_at = builder.reserve(Directory, streams_max) orelse return 0;
    const memory_at = builder.reserve(u32, 1 + memories_max * 4) orelse return 0;
    system(&builder);
    const context = builder.append(contextOf(snapshot)) orelse return 0;
    exception(&builder, snapshot, context);
    if (builder.append(MiscInfo{ .process = snapshot.process_id })) |at| builder.stream(.misc, at);
    modules(&builder, snapshot);
    threads(&builder, snapshot, context);
    threadNames(&builder, snapshot);
    if (builder.appendBytes(snapshot.code[0..snapshot.code_read])) |code| {
        builder.memory(snapshot.code_address, code);
    }
    builder.file(.linux_auxv, "/proc/self/auxv", 1024);
    builder.file(.linux_status, "/proc/self/status", 4096);
    const listing = snapshot.map.listing();
    const room = bytes.len - builder.used;
    if (builder.appendBytes(listing[0..@min(listing.len, room)])) |maps| {
        builder.stream(.linux_maps, maps);
    }
    // The list of memory has its place since the beginning; how long it is stands now.
    builder.put(memory_at, @as(u32, @intCast(builder.memory_count)));
    for (builder.memories[0..builder.memory_count], 0..) |entry, index| {
        builder.put(@intCast(memory_at + 4 + index * @sizeOf(Memory)), entry);
    }
    builder.stream(.memory, .{
        .at = memory_at,
        .size = @intCast(4 + builder.memory_count * @sizeOf(Memory)),
    });
    for (builder.directory[0..builder.directory_count], 0..) |entry, index| {
        builder.put(@intCast(directory_at + index * @sizeOf(Directory)), entry);
    }
    builder.put(0, Header{
        .stream_count = @intCast(builder.directory_count),
        .directory = directory_at,
        .time = @truncate(snapshot.time / 1_000_000_000),
    });
    return builder.used;
}

fn contextOf(snapshot: *const Snapshot) crash_frame.Context {
    return crash_frame.context(
        &snapshot.registers,
        snapshot.legacy[0..snapshot.legacy_length],
    );
}

fn system(builder: *Builder) void {
    const known = &config.config;
    const text = builder.appendText(known.systemName()) orelse return;
    const version = versionOf(known.systemName());
    const info: SystemInfo = .{
        .architecture = crash_frame.minidump_architecture,
        .level = known.processor_level,
        .revision = known.processor_revision,
        .processors = @intCast(@min(known.processors, std.math.maxInt(u8))),
        .major = version[0],
        .minor = version[1],
        .build = version[2],
        .service_pack = text,
        .cpu = known.processor_words,
    };
    if (builder.append(info)) |at| builder.stream(.system, at);
}

/// The first three numbers of a release: 6, 18 and 44 of "Linux 6.18.44-arch1-1 ...".
fn versionOf(name: []const u8) [3]u32 {
    var version: [3]u32 = @splat(0);
    var at = (std.mem.indexOfScalar(u8, name, ' ') orelse return version) + 1;
    for (&version) |*number| {
        while (at < name.len and std.ascii.isDigit(name[at])) : (at += 1) {
            number.* = number.* *| 10 +| (name[at] - '0');
        }
        if (at >= name.len or name[at] != '.') break;
        at += 1;
    }
    return version;
}

test "versionOf reads up to three numbers" {
    const expectEqual = std.testing.expectEqual;
    try expectEqual([3]u32{ 6, 18, 44 }, versionOf("Linux 6.18.44-arch1-1 #1 SMP x86_64"));
    try expectEqual([3]u32{ 6, 0, 0 }, versionOf("Linux 6-rc1 #1"));
    try expectEqual([3]u32{ 5, 10, 0 }, versionOf("Linux 5.10+ #1"));
    try expectEqual([3]u32{ 0, 0, 0 }, versionOf("Linux"));
}

/// What readers take for the code of a dump that no exception caused.
const dump_requested = 0xffff_ffff;

fn exception(builder: *Builder, snapshot: *const Snapshot, context: Location) void {
    const happened = snapshot.reason == .crash;
    const value: Exception = .{
        .thread = snapshot.thread_id,
        .code = if (happened) snapshot.signal else dump_requested,
        .flags = if (happened) @bitCast(snapshot.info.code) else 0,
        .address = if (snapshot.has_address)
            snapshot.address
        else if (happened and snapshot.info.code == sys.machine.si_kernel)
            0
        else
            crash_frame.instructionPointer(&snapshot.registers),
        .context = context,
    };
    if (builder.append(value)) |at| builder.stream(.exception, at);
}

fn modules(builder: *Builder, snapshot: *const Snapshot) void {
    const files = snapshot.map.files();
    const list = builder.reserve(u8, 4 + files.len * @sizeOf(Module)) orelse return;
    var count: u32 = 0;
    for (files) |*module| {
        if (!module.has_code) continue;
        const path = if (module.path[0] == '/') module.path else "linux-gate.so";
        const name = builder.appendText(path) orelse break;
        const id = module.image.buildId();
        const debug_at = builder.reserve(u8, 4 + id.len) orelse break;
        builder.put(debug_at, @as(u32, code_view_elf));
        @memcpy(builder.bytes[debug_at + 4 ..][0..id.len], id);
        builder.put(list + 4 + count * @sizeOf(Module), Module{
            .base = module.image.base,
            .size = std.math.cast(u32, module.end - module.image.base) orelse std.math.maxInt(u32),
            .name = name,
            .debug = .{ .at = debug_at, .size = @intCast(4 + id.len) },
        });
        count += 1;
    }
    builder.put(list, count);
    builder.stream(.modules, .{ .at = list, .size = 4 + count * @sizeOf(Module) });
}

/// How much of each stack fits: the innermost parts.
fn shareOf(builder: *const Builder, snapshot: *const Snapshot, length: usize) usize {
    const listing = @min(snapshot.map.listing().len, 64 * 1024);
    const contexts = snapshot.sibling_count * (@sizeOf(crash_frame.Context) + 128);
    const rest = builder.bytes.len - builder.used;
    const room = @max(rest -| (listing + contexts + 8192), @min(rest / 2, stacks_min));
    var total = snapshot.stack_length;
    for (snapshot.others()) |*sibling| total += sibling.stack_length;
    if (total <= room or total == 0) return length;
    return length * room / total & ~@as(usize, 15);
}

fn threads(builder: *Builder, snapshot: *const Snapshot, context: Location) void {
    const others = snapshot.others();
    const list = builder.reserve(u8, 4 + (1 + others.len) * @sizeOf(Thread)) orelse return;
    var share = shareOf(builder, snapshot, snapshot.stack_length);
    var shares: [snapshot_module.siblings_max]usize = undefined;
    for (others, 0..) |*sibling, index| {
        shares[index] = shareOf(builder, snapshot, sibling.stack_length);
    }
    const own = stack(builder, snapshot.stack_address, snapshot.stack[0..share]);
    builder.put(list + 4, Thread{ .id = snapshot.thread_id, .stack = own, .context = context });
    var count: u32 = 1;
    for (others, 0..) |*sibling, index| {
        if (!sibling.known) continue;
        const state = builder.append(crash_frame.context(&sibling.registers, &.{})) orelse break;
        share = shares[index];
        const bytes = stack(builder, sibling.stack_address, sibling.stack[0..share]);
        builder.put(list + 4 + count * @sizeOf(Thread), Thread{
            .id = sibling.id,
            .stack = bytes,
            .context = state,
        });
        count += 1;
    }
    builder.put(list, count);
    builder.stream(.threads, .{ .at = list, .size = 4 + count * @sizeOf(Thread) });
}

fn stack(builder: *Builder, address: u64, bytes: []const u8) Memory {
    const location = builder.appendBytes(bytes) orelse Location{};
    builder.memory(address, location);
    return .{ .address = address, .location = location };
}

fn threadNames(builder: *Builder, snapshot: *const Snapshot) void {
    const others = snapshot.others();
    const list = builder.reserve(u8, 4 + (1 + others.len) * @sizeOf(ThreadName)) orelse return;
    var count: u32 = 0;
    if (snapshot.thread_name_length > 0) {
        const own = builder.appendText(snapshot.threadName()) orelse return;
        builder.put(list + 4, ThreadName{ .id = snapshot.thread_id, .name = own });
        count += 1;
    }
    for (others) |*sibling| {
        const name = builder.appendText(sibling.nameText()) orelse break;
        builder.put(list + 4 + count * @sizeOf(ThreadName), ThreadName{
            .id = sibling.id,
            .name = name,
        });
        count += 1;
    }
    builder.put(list, count);
    builder.stream(.thread_names, .{ .at = list, .size = 4 + count * @sizeOf(ThreadName) });
}
