//! Writes `lib/abi.ts`: struct layouts and enums from `abi.zig`, register names from the signal
//! frames, symbol signatures from the exported functions themselves, so that none can be forgotten.
//! Run by `zig build abi`; the tests regenerate it and fail on a difference.

const std = @import("std");
const abi = @import("abi.zig");
const frames = @import("frame.zig");
const roots = .{ @import("root.zig"), @import("root_hooks.zig"), @import("root_crash.zig") };
const trampoline = @import("trampoline.zig").machine;

fn line(comptime format: []const u8, comptime arguments: anytype) []const u8 {
    return std.fmt.comptimePrint(format ++ "\n", arguments);
}

fn fieldType(comptime Field: type) []const u8 {
    return switch (@typeInfo(Field)) {
        .int => @typeName(Field),
        .@"enum" => |info| @typeName(info.tag_type),
        .@"struct" => |info| if (info.backing_integer) |Backing|
            @typeName(Backing)
        else
            @compileError("nested struct in the C ABI: " ++ @typeName(Field)),
        .array => "bytes",
        else => @compileError("not allowed in the C ABI: " ++ @typeName(Field)),
    };
}

/// What differs between architectures, by the name that `process.arch` has for each. The generated
/// file holds all of them, whichever it was generated for.
const machines = .{ .{ "x64", frames.x86_64 }, .{ "arm64", frames.aarch64 } };

/// The members of a layout: its length, and each field.
fn layout(comptime T: type, comptime indent: []const u8) []const u8 {
    var text: []const u8 = line("{s}byteLength: {d},", .{ indent, @sizeOf(T) });
    const info = @typeInfo(T).@"struct";
    for (info.field_names, info.field_types) |field, Field| {
        const kind = if (@typeInfo(Field) == .@"struct" and
            @typeInfo(Field).@"struct".layout == .@"extern") "struct" else fieldType(Field);
        text = text ++ line("{s}{s}: {{ offset: {d}, byteLength: {d}, type: \"{s}\" }},", .{
            indent, field, @offsetOf(T, field), @sizeOf(Field), kind,
        });
    }
    return text;
}

const layouts = source: {
    @setEvalBranchQuota(1_000_000);
    var text: []const u8 = "/** Layout of `abi.Exception` by architecture, in bytes. */\n" ++
        "export const exceptionLayouts = {\n";
    for (machines) |entry| {
        const name, const machine = entry;
        text = text ++ line("  {s}: {{", .{name}) ++
            layout(abi.ExceptionOf(machine.context_size), "    ") ++ "  },\n";
    }
    text = text ++ "} as const;\n\n";
    for (abi.structs) |entry| {
        const name, const T = entry;
        text = text ++ line("/** Layout of `{s}`, in bytes. */", .{@typeName(T)}) ++
            line("export const {s} = {{", .{name}) ++ layout(T, "  ") ++ "} as const;\n\n";
    }
    for (abi.enums) |entry| {
        const name, const T = entry;
        text = text ++ line("/** Values of `{s}`. */", .{@typeName(T)}) ++
            line("export const {s} = {{", .{name});
        const info = @typeInfo(T).@"enum";
        for (info.field_names, info.field_values) |field, value| {
            text = text ++ line("  {s}: {d},", .{ field, value });
        }
        text = text ++ "} as const;\n\n";
    }
    break :source text;
};

const flags = source: {
    var text: []const u8 = "/** Bits of an exception's flags. */\n" ++
        "export const exceptionFlags = {\n";
    const info = @typeInfo(abi.ExceptionFlags).@"struct";
    for (info.field_names, info.field_types, 0..) |field, Field, index| {
        if (Field != bool) continue;
        text = text ++ line("  {s}: {d},", .{ field, 1 << index });
    }
    break :source text ++ "} as const;\n\n";
};

const registers = source: {
    @setEvalBranchQuota(20_000);
    var text: []const u8 =
        "/** Offsets of the registers in the machine context, by architecture. */\n" ++
        "export const machineRegisters = {\n";
    for (machines) |entry| {
        const name, const machine = entry;
        text = text ++ line("  {s}: {{", .{name});
        for (@typeInfo(machine.Registers).@"struct".field_names) |field| {
            const offset = machine.registers_offset + @offsetOf(machine.Registers, field);
            text = text ++ line("    {s}: {d},", .{ field, offset });
        }
        text = text ++ "  },\n";
    }
    text = text ++ "} as const;\n\n/** The machine names of the portable register names. */\n" ++
        "export const portableRegisters = {\n";
    for (machines) |entry| {
        const name, const machine = entry;
        text = text ++ line("  {s}: {{", .{name});
        for (machine.portable) |pair| {
            text = text ++ line("    {s}: \"{s}\",", .{ pair[0], pair[1] });
        }
        text = text ++ "  },\n";
    }
    break :source text ++ "} as const;\n\n";
};

/// The signatures are read from the exported functions themselves.
const symbols = source: {
    @setEvalBranchQuota(300_000);
    var text: []const u8 = "/** Signatures of the exported functions. */\n" ++
        "export const symbols = {\n";
    for (roots) |root| {
        for (@typeInfo(root).@"struct".decl_names) |name| {
            if (!std.mem.startsWith(u8, name, "fl_")) continue;
            const Function = @TypeOf(@field(root, name));
            text = text ++ "  " ++ name ++ ": " ++ signature(Function) ++ ",\n";
        }
    }
    break :source text ++ "} as const;\n\n";
};

fn signature(comptime Function: type) []const u8 {
    const function = @typeInfo(Function).@"fn";
    var text: []const u8 = "{ parameters: [";
    for (function.param_types, 0..) |Parameter, index| {
        text = text ++ (if (index == 0) "" else ", ") ++ "\"" ++ cType(Parameter.?) ++ "\"";
    }
    return text ++ "], result: \"" ++ cType(function.return_type.?) ++ "\" }";
}

fn cType(comptime T: type) []const u8 {
    return switch (T) {
        void, i32, u32, i64, u64, f64 => @typeName(T),
        else => switch (@typeInfo(T)) {
            .pointer => "buffer",
            // Anything else (bool, usize, a struct by value) differs between the runtimes' FFI.
            else => @compileError("not allowed in the C ABI: " ++ @typeName(T)),
        },
    };
}

const typescript = layouts ++ flags ++ registers ++ symbols ++
    line("/** Thunks are exported as fl_t0, fl_t1 ... */\nexport const thunksMax = {d};", .{
        trampoline.slots_max,
    });

/// Over everything above: a change that was not regenerated fails when the library loads, not when
/// a field reads as garbage.
pub const hash: u64 = source: {
    @setEvalBranchQuota(1_000_000);
    break :source std.hash.Fnv1a_64.hash(typescript);
};

pub fn main(init: std.process.Init) !void {
    var buffer: [4096]u8 = undefined;
    var out = std.Io.File.stdout().writer(init.io, &buffer);
    try out.interface.writeAll("// Generated from zig/abi.zig by `zig build abi`. Do not edit.\n");
    try out.interface.writeByte('\n');
    try out.interface.writeAll(typescript);
    try out.interface.writeAll("\n/** Over all of the above. */\n");
    try out.interface.print("export const abiHash = 0x{x}n;\n", .{hash});
    try out.interface.writeAll("\n/** Of the package that all of this belongs to. */\n");
    try out.interface.print("export const version = \"{f}\";\n", .{abi.version});
    try out.interface.flush();
}
