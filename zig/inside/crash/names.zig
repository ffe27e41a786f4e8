//! The guarded functions by name: what a thread called when it crashed, and before that. Names are
//! written outside the handler and never change.

const std = @import("std");
const trampoline = @import("../../trampoline.zig").machine;

pub const names_max = 4096;
pub const library_max = 176;
pub const symbol_max = 76;

pub const Name = extern struct {
    library_length: u16 = 0,
    symbol_length: u16 = 0,
    library: [library_max]u8 = @splat(0),
    symbol: [symbol_max]u8 = @splat(0),

    pub fn libraryText(name: *const Name) []const u8 {
        return name.library[0..@min(name.library_length, library_max)];
    }
    pub fn symbolText(name: *const Name) []const u8 {
        return name.symbol[0..@min(name.symbol_length, symbol_max)];
    }
};

var table: [names_max]Name = @splat(.{});
var used: u32 = 0;
/// By slot: the index of its name and one, 0 without.
var slots: [trampoline.slots_max]u32 = @splat(0);

/// Adds a name: its index. The oldest names stay when there is no room. Outside the handler, under
/// its lock.
pub fn add(library: []const u8, symbol: []const u8) ?u32 {
    if (used == names_max) return null;
    const name = &table[used];
    // Of a path the end says more.
    const kept = library[library.len -| library_max..];
    const short = symbol[0..@min(symbol.len, symbol_max)];
    @memcpy(name.library[0..kept.len], kept);
    @memcpy(name.symbol[0..short.len], short);
    name.library_length = @intCast(kept.len);
    name.symbol_length = @intCast(short.len);
    @atomicStore(u32, &used, used + 1, .release);
    return used - 1;
}

pub fn setSlot(slot: u32, index: u32) void {
    @atomicStore(u32, &slots[slot], index + 1, .release);
}

pub fn get(index: u32) ?*const Name {
    return if (index < @atomicLoad(u32, &used, .acquire)) &table[index] else null;
}

pub fn ofSlot(slot: u32) ?*const Name {
    if (slot >= slots.len) return null;
    const index = @atomicLoad(u32, &slots[slot], .acquire);
    return if (index == 0) null else get(index - 1);
}

/// The names that a thread's wrappers note, one ring per thread, by thread pointer.
pub const ring_length = 16;
/// `ring_length` indices, and where the newest is.
pub const Ring = [ring_length + 1]u32;
const rings_max = 256;
const Entry = struct { key: u64 = 0, ring: ?*const Ring = null };
var rings: [rings_max]Entry = @splat(.{});

/// Notes the running thread's ring, or that it has none. Under the lock outside the handler.
pub fn setRing(key: u64, ring: ?*const Ring) void {
    var free: ?*Entry = null;
    for (&rings) |*entry| {
        if (entry.key == key) {
            entry.ring = ring;
            if (ring == null) @atomicStore(u64, &entry.key, 0, .release);
            return;
        }
        if (entry.key == 0 and free == null) free = entry;
    }
    const entry = free orelse return;
    if (ring == null) return;
    entry.ring = ring;
    @atomicStore(u64, &entry.key, key, .release);
}

/// Reads the running thread's ring, the newest first: how many. What it holds are indices, and one.
pub fn readRing(key: u64, into: *[ring_length]u32) usize {
    const ring = for (&rings) |*entry| {
        if (@atomicLoad(u64, &entry.key, .acquire) == key) break entry.ring;
    } else null;
    var copy: Ring = undefined;
    const bytes = std.mem.asBytes(&copy);
    if (trampoline.probeCopy(bytes, @intFromPtr(ring orelse return 0)) != bytes.len) return 0;
    var count: usize = 0;
    for (0..ring_length) |age| {
        const at = (copy[ring_length] +% ring_length -% age) % ring_length;
        if (copy[at] == 0) break;
        into[count] = copy[at] - 1;
        count += 1;
    }
    return count;
}

test "a ring is read from its newest entry on" {
    var ring: Ring = @splat(0);
    for (0..18) |call| {
        const at = (ring[ring_length] + 1) % ring_length;
        ring[at] = @intCast(call + 1);
        ring[ring_length] = @intCast(at);
    }
    setRing(4096, &ring);
    defer setRing(4096, null);
    var read: [ring_length]u32 = undefined;
    try std.testing.expectEqual(ring_length, readRing(4096, &read));
    try std.testing.expectEqual(17, read[0]);
    try std.testing.expectEqual(2, read[15]);
    try std.testing.expectEqual(0, readRing(8192, &read));
}
