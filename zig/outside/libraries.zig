//! Opens a user's library, for runtimes that cannot give a symbol's address themselves.

const std = @import("std");
const host = @import("host.zig");

/// The handle, or 0 with the loader's words in `message`, terminated and cut to fit.
pub fn open(path: [*:0]const u8, message: []u8) u64 {
    const function = host.dlopen orelse return fail(message, "this process has no dlopen");
    const handle = function(path, host.rtld_now) orelse {
        const error_text = if (host.dlerror) |text| text() else null;
        return fail(message, if (error_text) |text| std.mem.span(text) else "no reason given");
    };
    return @intFromPtr(handle);
}

fn fail(message: []u8, reason: []const u8) u64 {
    if (message.len == 0) return 0;
    const length = @min(reason.len, message.len - 1);
    @memcpy(message[0..length], reason[0..length]);
    message[length] = 0;
    return 0;
}

/// The address of a symbol, or 0.
pub fn symbol(handle: u64, name: [*:0]const u8) u64 {
    const function = host.dlsym orelse return 0;
    return @intFromPtr(function(@ptrFromInt(handle), name));
}

pub fn close(handle: u64) i32 {
    const function = host.function(fn (u64) callconv(.c) i32, "dlclose") orelse return -1;
    return function(handle);
}
