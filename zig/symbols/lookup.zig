//! Everything that is known about an address, as one answer.

const std = @import("std");
const interface = @import("interface.zig");
const modules = @import("modules.zig");
const Names = @import("names.zig").Names;

/// Names, lines and files of functions at an address, innermost first.
pub const Function = struct {
    name: []const u8 = "",
    file: []const u8 = "",
    start: u64 = 0,
    line: u32 = 0,
    column: u32 = 0,
};

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
};

/// Length of the answer; null when `address` lies in no file's code, or when there is no room.
pub fn lookup(address: u64, into: []u8) ?usize {
    const range = modules.find(address) orelse return null;
    const module = range.module orelse return null;
    var found: interface.Found = .{
        .size = 0,
        .function_count = 0,
        .module_base = range.start -% range.offset,
        .symbol_address = 0,
        .path_length = @intCast(module.path.len),
    };
    var functions: []const Function = &.{};
    var alone: [1]Function = undefined;
    if (modules.place(address)) |place| {
        const bias = address -% place.address;
        found.module_base = bias +% place.image.lowest();
        if (nameOf(module, place.address)) |name| {
            found.symbol_address = bias +% name.start;
            alone[0] = .{ .name = name.text, .start = found.symbol_address };
            functions = &alone;
        }
    }
    found.function_count = @intCast(functions.len);
    var answer: Answer = .{ .into = into };
    answer.write(std.mem.asBytes(&found));
    answer.write(module.path);
    for (functions) |function| writeFunction(&answer, &function);
    if (answer.full) return null;
    found.size = @intCast(answer.used);
    @memcpy(into[0..@sizeOf(interface.Found)], std.mem.asBytes(&found));
    return answer.used;
}

fn writeFunction(answer: *Answer, function: *const Function) void {
    answer.write(std.mem.asBytes(&interface.Function{
        .start = function.start,
        .line = function.line,
        .column = function.column,
        .name_length = @intCast(function.name.len),
        .file_length = @intCast(function.file.len),
    }));
    answer.write(function.name);
    answer.write(function.file);
}

const Name = @import("names.zig").Name;

fn nameOf(module: *modules.Module, address: u64) ?Name {
    if (module.names == null) module.names = readNames(module);
    return module.names.?.find(address);
}

fn readNames(module: *modules.Module) Names {
    const image = &module.image.?;
    const arena = modules.arena();
    const full = Names.read(arena, image, false) catch Names.none;
    if (full.functions.len > 0) return full;
    return Names.read(arena, image, true) catch Names.none;
}
