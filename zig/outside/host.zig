//! The few functions of the host's libc that are needed outside the handler. Only dlopen, dlsym and
//! dlerror are undefined symbols of the library, and weak: under any libc, or none, it loads.

const std = @import("std");
const maps = @import("../inside/maps.zig");
const sys = @import("../sys.zig").machine;

pub const dlopen = @extern(
    ?*const fn (?[*:0]const u8, i32) callconv(.c) ?*anyopaque,
    .{ .name = "dlopen", .linkage = .weak },
);
pub const dlsym = @extern(
    ?*const fn (?*anyopaque, [*:0]const u8) callconv(.c) ?*anyopaque,
    .{ .name = "dlsym", .linkage = .weak },
);
pub const dlerror = @extern(
    ?*const fn () callconv(.c) ?[*:0]const u8,
    .{ .name = "dlerror", .linkage = .weak },
);

pub const rtld_now = 2;
const rtld_noload = 4;
const rtld_nodelete = 0x1000;

/// `Dl_info`.
const SymbolInfo = extern struct {
    file: ?[*:0]const u8 = null,
    base: u64 = 0,
    symbol: ?[*:0]const u8 = null,
    address: u64 = 0,
};

/// Keeps this library loaded for the life of the process. The handlers and the thread-end
/// destructor stay behind when a runtime closes it, as Deno does when the last thread that opened
/// it ends.
pub fn pin() void {
    const open = dlopen orelse return;
    const locate = function(
        fn (*const anyopaque, *SymbolInfo) callconv(.c) i32,
        "dladdr",
    ) orelse return;
    var info: SymbolInfo = .{};
    if (locate(&pin, &info) == 0) return;
    _ = open(info.file orelse return, rtld_now | rtld_noload | rtld_nodelete);
}

/// A function of the host by name, or null when the host has none.
pub fn function(comptime Function: type, name: [*:0]const u8) ?*const Function {
    const lookup = dlsym orelse return null;
    return @ptrCast(@alignCast(lookup(null, name) orelse return null));
}

/// glibc's and musl's pthread_attr_t fit in 64 bytes; only these functions look inside.
const Attributes = extern struct { words: [8]u64 = @splat(0) };

pub const StackBounds = struct { low: u64 = 0, high: u64 = 0, guard: u64 = 0 };

/// The running thread's stack, as its pthread library knows it. All zero when it does not.
pub fn stackBounds() StackBounds {
    const self = function(fn () callconv(.c) u64, "pthread_self") orelse return .{};
    const get = function(
        fn (u64, *Attributes) callconv(.c) i32,
        "pthread_getattr_np",
    ) orelse return .{};
    const stack = function(
        fn (*const Attributes, *u64, *u64) callconv(.c) i32,
        "pthread_attr_getstack",
    ) orelse return .{};
    const guard = function(
        fn (*const Attributes, *u64) callconv(.c) i32,
        "pthread_attr_getguardsize",
    ) orelse return .{};
    const destroy = function(
        fn (*Attributes) callconv(.c) i32,
        "pthread_attr_destroy",
    ) orelse return .{};

    var attributes: Attributes = .{};
    if (get(self(), &attributes) != 0) return .{};
    defer _ = destroy(&attributes);
    var base: u64 = 0;
    var length: u64 = 0;
    var guard_length: u64 = 0;
    if (stack(&attributes, &base, &length) != 0) return .{};
    if (guard(&attributes, &guard_length) != 0) return .{};
    const bounds: StackBounds = .{ .low = base, .high = base + length, .guard = guard_length };
    return if (sys.threadId() == sys.processId()) mainStack(bounds) else bounds;
}

/// RLIMIT_STACK of include/uapi/asm-generic/resource.h.
const rlimit_stack = 3;

/// The main thread's stack with the room that it may still grow into, which glibc counts and musl
/// does not.
fn mainStack(known: StackBounds) StackBounds {
    const Limit = extern struct { current: u64 = 0, maximum: u64 = 0 };
    const limitOf = function(fn (i32, *Limit) callconv(.c) i32, "getrlimit") orelse return known;
    var limit: Limit = .{};
    if (limitOf(rlimit_stack, &limit) != 0) return known;
    // What lies above `high` are the arguments and the environment: a quarter at most (execve(2)).
    if (known.high - known.low >= limit.current - limit.current / 4) return known;
    var reader = maps.Reader.open() orelse return known;
    defer reader.close();
    var below: u64 = 0;
    while (reader.next()) |mapping| : (below = mapping.end) {
        if (known.high > mapping.end) continue;
        var bounds = known;
        bounds.low = @min(known.low, @max(below, mapping.end -| limit.current));
        return bounds;
    }
    return known;
}

/// `struct dl_phdr_info` up to what is read.
pub const LoadedObject = extern struct {
    base: u64,
    name: ?[*:0]const u8,
    headers: [*]const std.elf.Elf64.Phdr,
    header_count: u16,
};

/// Calls `visit` for the main program, which loaders report first.
pub fn visitProgram(visit: *const fn (*const LoadedObject) void) void {
    const iterate = function(
        fn (
            *const fn (*const LoadedObject, u64, ?*anyopaque) callconv(.c) i32,
            ?*anyopaque,
        ) callconv(.c) i32,
        "dl_iterate_phdr",
    ) orelse return;
    const Once = struct {
        fn call(object: *const LoadedObject, _: u64, data: ?*anyopaque) callconv(.c) i32 {
            const wanted: *const fn (*const LoadedObject) void = @ptrCast(@alignCast(data.?));
            wanted(object);
            return 1; // Stop: the others are libraries.
        }
    };
    _ = iterate(Once.call, @ptrCast(@constCast(visit)));
}

/// `struct dl_find_object` of glibc 2.35 and later.
const FoundObject = extern struct {
    flags: u64 = 0,
    start: u64 = 0,
    end: u64 = 0,
    link_map: u64 = 0,
    frame_header: u64 = 0,
    _reserved: [7]u64 = @splat(0),
};

const FindObject = fn (u64, *FoundObject) callconv(.c) i32;
var find_object: ?*const FindObject = null;

/// Looks the function up that `frameHeader` needs: looking up takes the loader's lock.
pub fn prepareFrames() void {
    find_object = function(FindObject, "_dl_find_object");
}

/// Address of the .eh_frame_hdr of whatever is loaded at `code`. By the one function that takes
/// no lock: an exception may have left the loader's taken.
pub fn frameHeader(code: u64) ?u64 {
    const find = find_object orelse return null;
    var found: FoundObject = .{};
    if (find(code, &found) != 0 or found.frame_header == 0) return null;
    return found.frame_header;
}

/// Where the program itself would find a function.
pub fn address(name: [*:0]const u8) ?u64 {
    const lookup = dlsym orelse return null;
    return @intFromPtr(lookup(null, name) orelse return null);
}

/// Start and size of the exported function at `place`. Slow: it goes through all symbols.
pub fn extent(place: u64) ?struct { u64, u64 } {
    const locate = function(
        fn (u64, *SymbolInfo, *?*const std.elf.Elf64.Sym, i32) callconv(.c) i32,
        "dladdr1",
    ) orelse return null;
    var info: SymbolInfo = .{};
    var symbol: ?*const std.elf.Elf64.Sym = null;
    const with_symbol = 1; // RTLD_DL_SYMENT
    if (locate(place, &info, &symbol, with_symbol) == 0) return null;
    const size = (symbol orelse return null).size;
    return if (size == 0 or info.address != place) null else .{ place, size };
}

/// A library that is loaded already.
pub fn loaded(name: [*:0]const u8) ?*anyopaque {
    const open = dlopen orelse return null;
    return open(name, rtld_now | rtld_noload);
}

/// The code of the object that holds a function: its file's name and the range of its pages.
pub fn codeAround(name: [*:0]const u8) ?struct { u64, u64 } {
    const locate = function(
        fn (*const anyopaque, *SymbolInfo) callconv(.c) i32,
        "dladdr",
    ) orelse return null;
    const place = address(name) orelse return null;
    var info: SymbolInfo = .{};
    if (locate(@ptrFromInt(place), &info) == 0 or info.base == 0) return null;
    const header: *const std.elf.Elf64.Ehdr = @ptrFromInt(info.base);
    const programs: [*]const std.elf.Elf64.Phdr = @ptrFromInt(info.base + header.phoff);
    for (programs[0..header.phnum]) |*program| {
        if (program.type != .LOAD or !program.flags.X) continue;
        return .{ info.base + program.vaddr, info.base + program.vaddr + program.memsz };
    }
    return null;
}
