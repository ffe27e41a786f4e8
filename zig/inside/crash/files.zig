//! Puts a report's files where they belong: whole or not at all, and no more of them than wanted.

const std = @import("std");
const report = @import("../../sys.zig").report;
const sys = @import("../../sys.zig").machine;
const config = @import("config.zig");
const Out = @import("out.zig").Out;

const name_max = 160;
const Name = [name_max:0]u8;

fn nameOf(into: *Name, parts: []const []const u8) ?[*:0]const u8 {
    var out: Out = .{ .bytes = into };
    out.texts(parts);
    if (out.cut) return null;
    into[out.used] = 0;
    return into;
}

pub const Place = enum { directory, working_directory, temporary_directory, nowhere };

/// Writes a file under another name first: who watches the directory sees it whole. Where the
/// directory does not take it, the working directory or the one for temporary files may.
pub fn write(id: []const u8, ending: []const u8, bytes: []const u8) Place {
    const known = &config.config;
    if (known.directory >= 0 and writeTo(known.directory, id, ending, bytes)) return .directory;
    if (writeTo(report.working_directory, id, ending, bytes)) return .working_directory;
    if (known.temporary >= 0 and writeTo(known.temporary, id, ending, bytes)) {
        return .temporary_directory;
    }
    return .nowhere;
}

fn writeTo(directory: i32, id: []const u8, ending: []const u8, bytes: []const u8) bool {
    var hidden: Name = undefined;
    var final: Name = undefined;
    const from = nameOf(&hidden, &.{ ".", id, ".", ending, ".part" }) orelse return false;
    const to = nameOf(&final, &.{ id, ".", ending }) orelse return false;
    const descriptor = report.createFile(directory, from) orelse return false;
    const written = report.writeAll(descriptor, bytes);
    sys.close(descriptor);
    if (written and report.rename(directory, from, to)) return true;
    report.remove(directory, from);
    return false;
}

/// More reports than these cannot be asked for.
pub const reports_max = 1000;
const id_max = 96;
const Id = struct {
    bytes: [id_max]u8,
    length: usize,

    fn text(id: *const Id) []const u8 {
        return id.bytes[0..id.length];
    }
};

/// The newest reports of a directory, by their ids, which begin with the time.
pub const Listing = struct {
    limit: usize,
    ids: [reports_max]Id,
    count: usize,
    /// There are older ones than these.
    full: bool,
    entries: [16 * 1024]u8,

    fn clear(listing: *Listing, limit: u32) void {
        listing.limit = @min(limit, reports_max);
        listing.count = 0;
        listing.full = false;
    }

    fn note(listing: *Listing, id: []const u8) void {
        for (listing.ids[0..listing.count]) |*known| {
            if (std.mem.eql(u8, known.text(), id)) return;
        }
        var place = listing.count;
        if (place == listing.limit) {
            listing.full = true;
            place = listing.oldest();
            if (std.mem.lessThan(u8, id, listing.ids[place].text())) return;
        } else listing.count += 1;
        @memcpy(listing.ids[place].bytes[0..id.len], id);
        listing.ids[place].length = id.len;
    }

    fn oldest(listing: *const Listing) usize {
        var found: usize = 0;
        for (listing.ids[1..listing.count], 1..) |*id, index| {
            if (std.mem.lessThan(u8, id.text(), listing.ids[found].text())) found = index;
        }
        return found;
    }
};

/// The id of a report that a name is a file of: "20261125T151200-1-1-0.json". Whether it was sent
/// makes no difference. The mark that says so is no part: senders count the marks, also of reports
/// that are gone, and remove them in time.
fn reportId(name: []const u8) ?[]const u8 {
    const dot = std.mem.indexOfScalar(u8, name, '.') orelse return null;
    const id = name[0..dot];
    if (id.len < 16 or id.len > id_max or id[8] != 'T' or id[15] != '-') return null;
    for (id[0..15], 0..) |one, index| if (index != 8 and !std.ascii.isDigit(one)) return null;
    for ([_][]const u8{ ".json", ".dmp", ".txt" }) |ending| {
        if (std.mem.eql(u8, name[dot..], ending)) return id;
    }
    return null;
}

/// Removes the oldest reports until `limit` are left; 0 is no limit.
pub fn trim(listing: *Listing, limit: u32) void {
    if (limit == 0 or config.config.directory < 0) return;
    listing.clear(limit);
    eachName(listing, {}, struct {
        fn visit(list: *Listing, _: void, name: [:0]const u8) void {
            if (reportId(name)) |id| list.note(id);
        }
    }.visit);
    if (!listing.full) return;
    const kept = listing.ids[listing.oldest()];
    eachName(listing, &kept, struct {
        fn visit(_: *Listing, first: *const Id, name: [:0]const u8) void {
            const id = reportId(name) orelse return;
            if (!std.mem.lessThan(u8, id, first.text())) return;
            report.remove(config.config.directory, name);
        }
    }.visit);
}

fn eachName(
    listing: *Listing,
    context: anytype,
    visit: *const fn (*Listing, @TypeOf(context), [:0]const u8) void,
) void {
    const descriptor = report.openDirectory(config.config.directory, ".") orelse return;
    defer sys.close(descriptor);
    const chunks_max = 4096;
    for (0..chunks_max) |_| {
        const length = report.readDirectory(descriptor, &listing.entries);
        if (length == 0) return;
        var entries: report.Entries = .{ .bytes = listing.entries[0..length] };
        while (entries.next()) |name| visit(listing, context, name);
    }
}

test "reportId knows names of reports and no others" {
    const id = "20261125T151200-12-13-0";
    for ([_][]const u8{ ".json", ".dmp", ".txt" }) |ending| {
        var name: [64]u8 = undefined;
        const file = try std.fmt.bufPrint(&name, "{s}{s}", .{ id, ending });
        try std.testing.expectEqualStrings(id, reportId(file).?);
    }
    const others = [_][]const u8{
        "notes.txt",   "20261125.json",    id, "2026x125T151200-1.txt",
        id ++ ".sent", id ++ ".sent.part",
    };
    for (others) |name| try std.testing.expectEqual(null, reportId(name));
}

test "Listing keeps the newest ids, each once, in whatever order they come" {
    var listing: Listing = undefined;
    listing.clear(2);
    const ids = [_][]const u8{ "3", "1", "3", "4", "2", "4", "1" };
    for (ids[0..1]) |id| listing.note(id);
    try std.testing.expect(!listing.full);
    for (ids[1..]) |id| listing.note(id);
    try std.testing.expect(listing.full);
    try std.testing.expectEqual(2, listing.count);
    try std.testing.expectEqualStrings("3", listing.ids[listing.oldest()].text());
}
