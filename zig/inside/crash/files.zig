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

const ids_max = 512;
const id_max = 96;
const Id = struct {
    bytes: [id_max]u8,
    length: usize,

    fn text(id: *const Id) []const u8 {
        return id.bytes[0..id.length];
    }
};

/// The reports of a directory, by their ids, which begin with the time.
pub const Listing = struct {
    ids: [ids_max]Id,
    count: usize,
    entries: [16 * 1024]u8,

    fn note(listing: *Listing, id: []const u8) void {
        for (listing.ids[0..listing.count]) |*known| {
            if (std.mem.eql(u8, known.text(), id)) return;
        }
        if (listing.count == ids_max or id.len > id_max) return;
        const place = &listing.ids[listing.count];
        @memcpy(place.bytes[0..id.len], id);
        place.length = id.len;
        listing.count += 1;
    }

    fn takeOldest(listing: *Listing) Id {
        var oldest: usize = 0;
        for (listing.ids[1..listing.count], 1..) |*id, index| {
            if (std.mem.lessThan(u8, id.text(), listing.ids[oldest].text())) oldest = index;
        }
        const id = listing.ids[oldest];
        listing.count -= 1;
        listing.ids[oldest] = listing.ids[listing.count];
        return id;
    }
};

/// Whether a name is that of a report's file: "20261125T151200-1-1-0.json". Gives its id.
fn reportId(name: []const u8) ?[]const u8 {
    const dot = std.mem.indexOfScalar(u8, name, '.') orelse return null;
    const id = name[0..dot];
    if (id.len < 16 or id[8] != 'T' or id[15] != '-') return null;
    for (id[0..15], 0..) |one, index| if (index != 8 and !std.ascii.isDigit(one)) return null;
    return id;
}

/// Removes the oldest reports until `limit` are left; 0 is no limit.
pub fn trim(listing: *Listing, limit: u32) void {
    const known = &config.config;
    if (limit == 0 or known.directory < 0) return;
    listing.count = 0;
    eachName(listing, {}, struct {
        fn visit(list: *Listing, _: void, name: [:0]const u8) void {
            if (reportId(name)) |id| list.note(id);
        }
    }.visit);
    while (listing.count > limit) {
        const oldest = listing.takeOldest();
        eachName(listing, &oldest, struct {
            fn visit(_: *Listing, id: *const Id, name: [:0]const u8) void {
                const own = reportId(name) orelse return;
                if (!std.mem.eql(u8, own, id.text())) return;
                report.remove(config.config.directory, name);
            }
        }.visit);
    }
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
    try std.testing.expectEqualStrings(id, reportId(id ++ ".json").?);
    for ([_][]const u8{ "notes.txt", "20261125.json", id, "2026x125T151200-1.txt" }) |name| {
        try std.testing.expectEqual(null, reportId(name));
    }
}
