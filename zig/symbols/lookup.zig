//! Everything that is known about an address, as one answer.

const std = @import("std");
const debug = @import("debug.zig");
const Details = @import("details.zig").Details;
const interface = @import("interface.zig");
const modules = @import("modules.zig");

/// Writes an answer piece by piece; `full` once something did not fit.
const Answer = struct {
    into: []u8,
    used: usize = 0,
    full: bool = false,

    fn write(answer: *Answer, bytes: []const u8) void {
        if (bytes.len > answer.into.len - answer.used) {
            answer.full = true;
            return;
        }
        @memcpy(answer.into[answer.used..][0..bytes.len], bytes);
        answer.used += bytes.len;
    }

    fn writeFunction(answer: *Answer, function: *const debug.Found, bias: u64) void {
        answer.write(std.mem.asBytes(&interface.Function{
            .start = if (function.start == 0) 0 else bias +% function.start,
            .line = function.line,
            .column = function.column,
            .name_length = @intCast(function.name.len),
            .file_length = @intCast(function.file.len),
        }));
        answer.write(function.name);
        answer.write(function.file);
    }
};

/// Length of the answer; null when `address` lies in no file's code, or when there is no room.
pub fn lookup(address: u64, with_functions: bool, into: []u8) ?usize {
    const range = modules.find(address) orelse return null;
    const module = range.module orelse return null;
    var found: interface.Found = .{
        .size = 0,
        .function_count = 0,
        .module_base = range.start -% range.offset,
        .symbol_address = 0,
        .path_length = @intCast(module.path.len),
    };
    var functions: []const debug.Found = &.{};
    var buffer: [debug.inlined_max]debug.Found = undefined;
    var bias: u64 = 0;
    if (modules.place(address)) |place| {
        bias = address -% place.address;
        found.module_base = bias +% place.image.lowest();
        if (with_functions) functions = describe(&place, &found.symbol_address, &buffer);
        if (found.symbol_address != 0) found.symbol_address +%= bias;
    }
    found.function_count = @intCast(functions.len);
    var answer: Answer = .{ .into = into };
    answer.write(std.mem.asBytes(&found));
    answer.write(module.path);
    for (functions) |*function| answer.writeFunction(function, bias);
    if (answer.full) return null;
    found.size = @intCast(answer.used);
    @memcpy(into[0..@sizeOf(interface.Found)], std.mem.asBytes(&found));
    return answer.used;
}

/// Debug information first; the symbol table has the names that it lacks.
fn describe(
    place: *const modules.Place,
    symbol: *u64,
    buffer: *[debug.inlined_max]debug.Found,
) []const debug.Found {
    const module = place.module;
    if (module.details == null) {
        module.details = Details.read(modules.arena(), place.image, module.path);
    }
    const details = &module.details.?;
    const name = details.names.find(place.address);
    if (name) |known| symbol.* = known.start;
    const count = if (details.debug) |*known| known.lookup(place.address, buffer) catch 0 else 0;
    if (count == 0) {
        const known = name orelse return &.{};
        buffer[0] = .{ .name = known.text, .start = known.start };
        return buffer[0..1];
    }
    const outermost = &buffer[count - 1];
    if (outermost.name.len == 0) {
        if (name) |known| outermost.name = known.text;
    }
    if (name) |known| {
        if (outermost.start == 0) outermost.start = known.start;
    }
    if (symbol.* == 0) symbol.* = outermost.start;
    return buffer[0..count];
}
