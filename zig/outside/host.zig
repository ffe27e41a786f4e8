//! The few functions of the host's libc that are needed outside the handler. Only dlopen, dlsym and
//! dlerror are undefined symbols of the library, and weak: under any libc, or none, it loads.

const std = @import("std");

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
    return .{ .low = base, .high = base + length, .guard = guard_length };
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
