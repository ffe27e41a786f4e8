//! A report for programs: one object on one line, as test/crash_report.schema.json describes it.

const std = @import("std");
const crash_frame = @import("../../frame.zig").crash;
const frame_machine = @import("../../frame.zig").machine;
const sys = @import("../../sys.zig").machine;
const codes = @import("codes.zig");
const config = @import("config.zig");
const explain = @import("explain.zig");
const names = @import("names.zig");
const Out = @import("out.zig").Out;
const snapshot_module = @import("snapshot.zig");
const text = @import("text.zig");
const Named = snapshot_module.Named;
const Snapshot = snapshot_module.Snapshot;

pub fn write(out: *Out, snapshot: *const Snapshot) void {
    out.text("{\"format\":\"faultline.crash\",\"version\":1,\"id\":");
    out.quoted(snapshot.idText());
    out.text(",\"time\":\"");
    writeTime(out, snapshot.time);
    out.text("\",\"reason\":");
    out.quoted(snapshot.reason.name());
    out.text(",\"signature\":");
    signature(out, snapshot);
    out.text(",\"exception\":");
    exception(out, snapshot);
    out.text(",\"backtrace\":");
    frames(out, snapshot.backtrace());
    threads(out, snapshot);
    crumbs(out, snapshot);
    modules(out, snapshot);
    mappings(out, snapshot);
    out.text(",\"runtime\":");
    const program = config.config.programName();
    if (program.len > 0) out.quoted(program) else out.text("null");
    stages(out, snapshot);
    out.text(",\"holds\":\"");
    text.writeHolds(out, snapshot);
    out.text("\"}\n");
}

/// "2026-11-25T15:00:00.123Z", from nanoseconds since 1970.
pub fn writeTime(out: *Out, nanoseconds: u64) void {
    const date = dateOf(nanoseconds);
    out.digits(date.year, 10, 4);
    for ([_]u64{ date.month, date.day }) |part| {
        out.byte('-');
        out.digits(part, 10, 2);
    }
    for ([_]u64{ date.hour, date.minute, date.second }, "T::") |part, separator| {
        out.byte(separator);
        out.digits(part, 10, 2);
    }
    out.byte('.');
    out.digits(nanoseconds / 1_000_000 % 1000, 10, 3);
    out.byte('Z');
}

pub const Date = struct { year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64 };

/// By H. Hinnant's algorithm "civil from days".
pub fn dateOf(nanoseconds: u64) Date {
    const seconds = nanoseconds / 1_000_000_000;
    const days = seconds / 86_400 + 719_468;
    const era = days / 146_097;
    const day_of_era = days % 146_097;
    const year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    const day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const shifted = (5 * day_of_year + 2) / 153;
    const month = if (shifted < 10) shifted + 3 else shifted - 9;
    return .{
        .year = year_of_era + era * 400 + @intFromBool(month <= 2),
        .month = month,
        .day = day_of_year - (153 * shifted + 2) / 5 + 1,
        .hour = seconds / 3600 % 24,
        .minute = seconds / 60 % 60,
        .second = seconds % 60,
    };
}

const signature_frames = 5;

/// Nothing in it differs between runs and machines: as `lib/signature.ts` makes it of an exception
/// that was caught.
fn signature(out: *Out, snapshot: *const Snapshot) void {
    var buffer: [2048]u8 = undefined;
    var plain: Out = .{ .bytes = &buffer };
    plain.text(snapshot.kind.name());
    var count: usize = 0;
    for (snapshot.backtrace()) |*named| {
        const module = named.module orelse continue;
        if (named.inlined) continue;
        // How a library is called differs from run to run, and so does what a scan finds.
        const is_runtime = std.mem.eql(u8, module.path, config.config.programName());
        const own = @intFromPtr(&signature);
        const is_thunk = own >= module.image.base and own < module.end;
        if (count > 0 and (is_runtime or is_thunk or named.frame.trust == .scan)) break;
        const deleted = " (deleted)";
        const whole = module.path;
        const gone = std.mem.endsWith(u8, whole, deleted);
        const path = if (gone) whole[0 .. whole.len - deleted.len] else whole;
        plain.texts(&.{ " ", explain.baseName(path), "!" });
        if (named.symbol.len > 0) plain.text(named.symbol) else plain.hex(named.offset);
        count += 1;
        if (count == signature_frames) break;
    }
    out.quoted(plain.written());
}

noinline fn hex(out: *Out, value: u64) void {
    out.byte('"');
    out.hex(value);
    out.byte('"');
}

noinline fn hexField(out: *Out, name: []const u8, value: ?u64) void {
    out.texts(&.{ ",\"", name, "\":" });
    if (value) |known| hex(out, known) else out.text("null");
}

noinline fn numberField(out: *Out, name: []const u8, value: i64) void {
    out.texts(&.{ ",\"", name, "\":" });
    out.signed(value);
}

/// 0 stands for what is not known.
noinline fn knownField(out: *Out, name: []const u8, value: u32) void {
    if (value != 0) return numberField(out, name, value);
    out.texts(&.{ ",\"", name, "\":null" });
}

fn exception(out: *Out, snapshot: *const Snapshot) void {
    const is_signal = snapshot.has_signal;
    const signal = if (is_signal) snapshot.signal else 0;
    const code = if (is_signal) snapshot.info.code else 0;
    out.text("{\"type\":");
    out.quoted(snapshot.kind.name());
    numberField(out, "zxType", codes.zxType(snapshot.kind, signal, code));
    out.text(",\"signal\":");
    if (snapshot.reason == .crash) out.quoted(codes.signalName(signal)) else out.text("null");
    numberField(out, "signalNumber", signal);
    out.text(",\"code\":\"");
    const code_name = codes.codeName(signal, code);
    if (code_name.len > 0) out.text(code_name) else out.signed(code);
    out.byte('"');
    numberField(out, "codeNumber", code);
    hexField(out, "address", if (snapshot.has_address) snapshot.address else null);
    out.text(switch (snapshot.access) {
        .unknown => ",\"access\":null",
        .read => ",\"access\":\"read\"",
        .write => ",\"access\":\"write\"",
        .execute => ",\"access\":\"execute\"",
    });
    var buffer: [6000]u8 = undefined;
    var explanation: Out = .{ .bytes = &buffer };
    explain.write(&explanation, snapshot);
    out.text(",\"explanation\":");
    out.quoted(explanation.written());
    instruction(out, snapshot);
    hexField(out, "instructionPointer", crash_frame.instructionPointer(&snapshot.registers));
    hexField(out, "stackPointer", crash_frame.stackPointer(&snapshot.registers));
    registers(out, &snapshot.registers);
    numberField(out, "processId", snapshot.process_id);
    numberField(out, "threadId", snapshot.thread_id);
    out.text(",\"call\":");
    if (snapshot.call) |call| callNames(out, call) else out.text("null");
    details(out, snapshot);
}

fn instruction(out: *Out, snapshot: *const Snapshot) void {
    if (snapshot.instruction_length == 0) return out.text(",\"instruction\":null");
    out.text(",\"instruction\":{\"bytes\":\"");
    out.hexBytes(snapshot.instruction[0..snapshot.instruction_length], "");
    out.text("\",\"text\":null}");
}

fn registers(out: *Out, values: *const crash_frame.Registers) void {
    out.text(",\"registers\":{");
    inline for (frame_machine.portable, 0..) |pair, index| {
        out.text((if (index == 0) "\"" else ",\"") ++ pair[0] ++ "\":");
        hex(out, @field(values, pair[1]));
    }
    inline for (@typeInfo(crash_frame.Registers).@"struct".field_names) |name| {
        out.text(",\"" ++ name ++ "\":");
        hex(out, @field(values, name));
    }
    out.byte('}');
}

fn callNames(out: *Out, call: *const names.Name) void {
    out.text("{\"library\":");
    out.quoted(call.libraryText());
    out.text(",\"symbol\":");
    out.quoted(call.symbolText());
    out.byte('}');
}

/// What only some codes have, and the kernel's own bytes.
fn details(out: *Out, snapshot: *const Snapshot) void {
    const list = snapshot.backtrace();
    const start: ?u64 = if (list.len > 0 and list[0].symbol.len > 0)
        list[0].frame.address -% list[0].offset
    else
        null;
    hexField(out, "symbolAddress", start);
    const is_bus = snapshot.has_signal and snapshot.signal == sys.sigbus;
    const is_segv = snapshot.has_signal and snapshot.signal == sys.sigsegv;
    const code = snapshot.info.code;
    if (is_bus and (code == sys.bus_mceerr_ar or code == sys.bus_mceerr_ao)) {
        numberField(out, "addressLsb", snapshot.info.payload.failure.bits);
    } else out.text(",\"addressLsb\":null");
    const payload = &snapshot.info.payload.bytes;
    if (is_segv and code == 3) {
        out.text(",\"bounds\":{\"lower\":");
        hex(out, std.mem.readInt(u64, payload[16..24], .little));
        hexField(out, "upper", std.mem.readInt(u64, payload[24..32], .little));
        out.byte('}');
    } else out.text(",\"bounds\":null");
    if (is_segv and code == 4) {
        numberField(out, "protectionKey", std.mem.readInt(u32, payload[16..20], .little));
    } else out.text(",\"protectionKey\":null");
    const is_policy = snapshot.has_signal and snapshot.signal == sys.sigsys and code == 1;
    const bad_system_call = 18; // ZX_EXCP_POLICY_CODE_BAD_SYSCALL
    numberField(out, "synthCode", if (is_policy) bad_system_call else 0);
    hexField(out, "synthData", if (is_policy) std.mem.readInt(u32, payload[8..12], .little) else 0);
    out.text(",\"safety\":\"unknown\",\"suspects\":[],\"siginfo\":\"");
    if (snapshot.has_signal) out.base64(std.mem.asBytes(&snapshot.info));
    out.text("\",\"context\":\"");
    if (snapshot.has_signal) out.base64(std.mem.asBytes(&snapshot.frame));
    out.text("\",\"hooksSkipped\":null}");
}

noinline fn frames(out: *Out, list: []const Named) void {
    out.byte('[');
    for (list, 0..) |*named, index| {
        out.text(if (index == 0) "{\"address\":" else ",{\"address\":");
        hex(out, named.frame.address);
        out.text(",\"module\":");
        if (named.module) |module| out.quoted(module.path) else out.text("null");
        out.text(",\"symbol\":");
        if (named.symbol.len > 0) out.quoted(named.symbol) else out.text("null");
        hexField(out, "offset", named.offset);
        out.text(",\"file\":");
        if (named.file.len > 0) out.quoted(named.file) else out.text("null");
        knownField(out, "line", named.line);
        knownField(out, "column", named.column);
        out.text(if (named.inlined) ",\"inlined\":true" else ",\"inlined\":false");
        out.text(",\"trust\":");
        out.quoted(named.frame.trust.name());
        out.byte('}');
    }
    out.byte(']');
}

fn threads(out: *Out, snapshot: *const Snapshot) void {
    out.text(",\"threads\":[");
    for (snapshot.others(), 0..) |*sibling, index| {
        out.text(if (index == 0) "{\"threadId\":" else ",{\"threadId\":");
        out.decimal(sibling.id);
        out.text(",\"name\":");
        out.quoted(sibling.nameText());
        const known = &sibling.registers;
        hexField(out, "instructionPointer", crash_frame.instructionPointer(known));
        hexField(out, "stackPointer", crash_frame.stackPointer(known));
        out.text(",\"backtrace\":");
        frames(out, sibling.named[0..sibling.named_count]);
        out.byte('}');
    }
    out.text("],\"threadsSkipped\":");
    if (snapshot.siblings_skipped.len > 0) {
        out.quoted(snapshot.siblings_skipped);
    } else out.text("null");
}

fn crumbs(out: *Out, snapshot: *const Snapshot) void {
    out.text(",\"breadcrumbs\":[");
    var separator: []const u8 = "";
    for (snapshot.crumbs[0..snapshot.crumb_count]) |index| {
        const name = names.get(index) orelse continue;
        out.text(separator);
        callNames(out, name);
        separator = ",";
    }
    out.byte(']');
}

fn modules(out: *Out, snapshot: *const Snapshot) void {
    out.text(",\"modules\":[");
    var separator: []const u8 = "";
    for (snapshot.map.files()) |*module| {
        if (!module.has_code or module.path[0] != '/') continue;
        out.texts(&.{ separator, "{\"path\":" });
        out.quoted(module.path);
        hexField(out, "base", module.image.base);
        hexField(out, "byteLength", module.end - module.image.base);
        out.text(",\"buildId\":");
        if (module.image.build_id_length > 0) {
            out.byte('"');
            out.hexBytes(module.image.buildId(), "");
            out.byte('"');
        } else out.text("null");
        out.byte('}');
        separator = ",";
    }
    out.byte(']');
}

/// The mappings next to what the report mentions.
fn mappings(out: *Out, snapshot: *const Snapshot) void {
    out.text(",\"mappings\":[");
    var separator: []const u8 = "";
    for (snapshot.map.all(), 0..) |*mapping, index| {
        if (!isMentioned(snapshot, index)) continue;
        out.texts(&.{ separator, "{\"start\":" });
        hex(out, mapping.start);
        hexField(out, "end", mapping.end);
        out.text(",\"protection\":\"");
        out.text(&explain.protectionText(mapping.protection));
        out.byte('"');
        hexField(out, "offset", mapping.offset);
        out.text(",\"path\":");
        if (mapping.path.len > 0) out.quoted(mapping.path) else out.text("null");
        out.byte('}');
        separator = ",";
    }
    out.byte(']');
}

fn isMentioned(snapshot: *const Snapshot, index: usize) bool {
    if (snapshot.has_address and near(snapshot, index, snapshot.address)) return true;
    if (near(snapshot, index, crash_frame.stackPointer(&snapshot.registers))) return true;
    const words: *const [@sizeOf(crash_frame.Registers) / 8]u64 = @ptrCast(&snapshot.registers);
    for (words) |word| if (snapshot.map.mappings[index].contains(word)) return true;
    return false;
}

/// Whether a mapping holds an address or is the next one on either side of it.
fn near(snapshot: *const Snapshot, index: usize, address: u64) bool {
    const at = snapshot.map.indexAfter(address);
    return index + 1 >= at and index <= at + 1;
}

fn stages(out: *Out, snapshot: *const Snapshot) void {
    out.text(",\"stages\":[");
    for (snapshot.failed(), 0..) |failure, index| {
        out.text(if (index == 0) "{\"stage\":" else ",{\"stage\":");
        out.quoted(failure.stage);
        out.text(",\"reason\":");
        out.quoted(if (failure.expired) "deadline" else "fault");
        out.byte('}');
    }
    out.byte(']');
}

test "dates are those of the calendar" {
    const expectEqual = std.testing.expectEqual;
    const second = 1_000_000_000;
    try expectEqual(Date{
        .year = 2024,
        .month = 2,
        .day = 29,
        .hour = 23,
        .minute = 59,
        .second = 59,
    }, dateOf(1_709_251_199 * second));
    try expectEqual(1970, dateOf(0).year);
    var buffer: [32]u8 = undefined;
    var out: Out = .{ .bytes = &buffer };
    writeTime(&out, 1_709_251_200 * second + 7_000_000);
    try std.testing.expectEqualStrings("2024-03-01T00:00:00.007Z", out.written());
}
