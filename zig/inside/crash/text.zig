//! A report for people: what happened in one line, then everything else, then a line to search for.

const std = @import("std");
const crash_frame = @import("../../frame.zig").crash;
const codes = @import("codes.zig");
const config = @import("config.zig");
const explain = @import("explain.zig");
const names = @import("names.zig");
const Out = @import("out.zig").Out;
const snapshot_module = @import("snapshot.zig");
const Named = snapshot_module.Named;
const Snapshot = snapshot_module.Snapshot;

/// "SIGSEGV (SEGV_MAPERR)".
fn kind(out: *Out, snapshot: *const Snapshot) void {
    if (!snapshot.has_signal) return out.text("watchdog");
    out.text(codes.signalName(snapshot.signal));
    out.text(" (");
    const code = codes.codeName(snapshot.signal, snapshot.info.code);
    if (code.len > 0) out.text(code) else out.signed(snapshot.info.code);
    out.byte(')');
}

/// Whether an address was accessed: for some exceptions it is that of the instruction.
fn isAccess(snapshot: *const Snapshot) bool {
    if (!snapshot.has_address) return false;
    if (snapshot.access != .unknown) return true;
    return snapshot.address != crash_frame.instructionPointer(&snapshot.registers);
}

fn doing(out: *Out, snapshot: *const Snapshot) void {
    if (snapshot.kind == .stack_overflow) out.text(" stack overflow,");
    if (!isAccess(snapshot)) return;
    out.text(switch (snapshot.access) {
        .read => " reading ",
        .write => " writing ",
        .execute => " jumping to ",
        .unknown => " accessing ",
    });
    out.hex(snapshot.address);
}

/// The first line, from registers alone: it comes out whatever happens next.
pub fn writeFirst(out: *Out, snapshot: *const Snapshot) void {
    begin(out, snapshot);
    out.text(", pc ");
    out.hex(crash_frame.instructionPointer(&snapshot.registers));
    out.text(", sp ");
    out.hex(crash_frame.stackPointer(&snapshot.registers));
    out.text(", thread ");
    out.decimal(snapshot.thread_id);
    out.byte('\n');
}

fn begin(out: *Out, snapshot: *const Snapshot) void {
    out.text("==");
    out.decimal(snapshot.process_id);
    out.text("==FAULTLINE: ");
    kind(out, snapshot);
    doing(out, snapshot);
}

/// "inner (libt.so)", "libt.so+0x1f0": short and without addresses.
fn place(out: *Out, named: *const Named) void {
    const module = if (named.module) |found| explain.baseName(found.path) else "";
    if (named.symbol.len > 0 and named.file.len > 0) {
        out.plain(named.symbol);
        out.text(" at ");
        out.plain(explain.baseName(named.file));
        line(out, named.line);
    } else if (named.symbol.len > 0) {
        out.plain(named.symbol);
        out.text(" (");
        out.plain(module);
        out.byte(')');
    } else if (module.len > 0) {
        out.plain(module);
        out.byte('+');
        out.hex(named.offset);
    } else out.hex(named.frame.address);
}

fn line(out: *Out, number: u32) void {
    if (number == 0) return;
    out.byte(':');
    out.decimal(number);
}

pub fn writeHead(out: *Out, snapshot: *const Snapshot) void {
    begin(out, snapshot);
    if (snapshot.named_count > 0) {
        out.text(" in ");
        place(out, &snapshot.named[0]);
    }
    out.byte('\n');
}

/// All between the first line and the end.
pub fn writeBody(out: *Out, snapshot: *const Snapshot) void {
    details(out, snapshot);
    out.text("\nNative frames\n");
    frames(out, snapshot.backtrace());
    registers(out, snapshot);
    crumbs(out, snapshot);
    others(out, snapshot);
    files(out, snapshot);
    out.text("\nSUMMARY: FAULTLINE: ");
    if (snapshot.kind == .stack_overflow) out.text("stack overflow ");
    kind(out, snapshot);
    if (snapshot.named_count > 0) {
        out.text(" in ");
        place(out, &snapshot.named[0]);
    }
    out.byte('\n');
}

fn label(out: *Out, text: []const u8) void {
    out.text("  ");
    out.text(text);
    for (text.len..12) |_| out.byte(' ');
}

fn details(out: *Out, snapshot: *const Snapshot) void {
    label(out, if (isAccess(snapshot)) "address" else "why");
    if (isAccess(snapshot)) {
        out.hex(snapshot.address);
        out.text(", ");
    }
    explain.write(out, snapshot);
    out.byte('\n');
    label(out, "instruction");
    const shown = snapshot.instruction[0..@min(snapshot.instruction_length, 8)];
    if (shown.len > 0) {
        out.hexBytes(shown, " ");
        out.text(" at ");
    }
    out.hex(crash_frame.instructionPointer(&snapshot.registers));
    if (shown.len == 0) out.text(", which cannot be read");
    out.byte('\n');
    if (snapshot.call) |call| {
        label(out, "call");
        out.plain(call.symbolText());
        out.text("() of ");
        out.plain(call.libraryText());
        out.byte('\n');
    }
    label(out, "thread");
    out.decimal(snapshot.thread_id);
    if (snapshot.thread_name_length > 0) {
        out.byte(' ');
        out.plain(snapshot.threadName());
    }
    out.text(" of process ");
    out.decimal(snapshot.process_id);
    out.byte('\n');
}

fn frames(out: *Out, list: []const Named) void {
    if (list.len == 0) out.text("  not known\n");
    for (list, 0..) |*named, index| {
        out.text("  #");
        out.decimal(index);
        out.text(if (index < 10 and list.len > 10) "  " else " ");
        out.address(named.frame.address, 12);
        out.byte(' ');
        if (named.module) |module| {
            if (named.symbol.len > 0) {
                out.plain(named.symbol);
                if (named.file.len > 0) {
                    out.byte(' ');
                    out.plain(named.file);
                    line(out, named.line);
                    if (named.line != 0) line(out, named.column);
                } else {
                    out.byte('+');
                    out.hex(named.offset);
                }
                out.text(" (");
                out.plain(explain.baseName(module.path));
                out.byte(')');
            } else place(out, named);
        } else out.text("code of no file");
        if (named.inlined) out.text(" [inlined]");
        switch (named.frame.trust) {
            .frame_pointer => out.text(" [frame pointer]"),
            .scan => out.text(" [scan]"),
            .context, .cfi => {},
        }
        out.byte('\n');
    }
}

fn registers(out: *Out, snapshot: *const Snapshot) void {
    out.text("\nRegisters");
    inline for (crash_frame.shown, 0..) |name, index| {
        out.text(if (index % 3 == 0) "\n  " else "  ");
        out.text(name);
        for (name.len..7) |_| out.byte(' ');
        out.address(@field(snapshot.registers, name), 16);
    }
    out.byte('\n');
}

fn crumbs(out: *Out, snapshot: *const Snapshot) void {
    if (snapshot.crumb_count == 0) return;
    out.text("\nGuarded calls, the newest first\n");
    for (snapshot.crumbs[0..snapshot.crumb_count]) |index| {
        const name = names.get(index) orelse continue;
        out.text("  ");
        out.plain(name.symbolText());
        out.text("() of ");
        out.plain(explain.baseName(name.libraryText()));
        out.byte('\n');
    }
}

fn others(out: *Out, snapshot: *const Snapshot) void {
    if (snapshot.siblings_skipped.len > 0) {
        out.text("\nOther threads are missing: ");
        out.text(snapshot.siblings_skipped);
        out.byte('\n');
    }
    for (snapshot.others()) |*sibling| {
        out.text("\nThread ");
        out.decimal(sibling.id);
        out.byte(' ');
        out.plain(sibling.nameText());
        out.byte('\n');
        frames(out, sibling.named[0..sibling.named_count]);
    }
}

/// What the files hold, in one line for people.
pub fn writeHolds(out: *Out, snapshot: *const Snapshot) void {
    out.text("registers, names and addresses of code, the list of mappings");
    if (config.config.formats.minidump) {
        out.text(if (config.config.redact)
            ", and up to 32 KiB of stack, blank but for words that point into code or a stack"
        else
            ", and up to 32 KiB of stack, which may hold data of the program");
    }
    out.text("; no environment, no heap");
    _ = snapshot;
}

fn files(out: *Out, snapshot: *const Snapshot) void {
    const known = &config.config;
    for (snapshot.failed()) |failure| {
        out.text("\nThe stage \"");
        out.text(failure.stage);
        out.text(if (failure.expired) "\" took too long" else "\" crashed itself");
    }
    if (snapshot.failure_count > 0) out.byte('\n');
    if (known.directory < 0 or snapshot.reason == .watchdog) return;
    out.text("\nFiles\n  ");
    out.plain(known.directoryName());
    out.byte('/');
    out.text(snapshot.idText());
    out.text(".{");
    var separator: []const u8 = "";
    inline for (.{ .{ "text", "txt" }, .{ "json", "json" }, .{ "minidump", "dmp" } }) |pair| {
        if (@field(known.formats, pair[0])) {
            out.texts(&.{ separator, pair[1] });
            separator = ",";
        }
    }
    out.text("}\n  They hold ");
    writeHolds(out, snapshot);
    out.text(".\n");
}
