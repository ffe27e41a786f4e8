//! The process's mappings and the files that its code comes from, read when it crashes.

const std = @import("std");
const maps = @import("../maps.zig");
const sys = @import("../../sys.zig").machine;
const trampoline = @import("../../trampoline.zig").machine;
const elf = @import("elf.zig");

pub const mappings_max = 6000;
pub const modules_max = 400;
pub const text_max = 1024 * 1024;
pub const no_module = std.math.maxInt(u16);

pub const Mapping = struct {
    start: u64,
    end: u64,
    offset: u64,
    protection: u32,
    module: u16,
    path: []const u8,

    pub fn contains(mapping: *const Mapping, address: u64) bool {
        return address >= mapping.start and address < mapping.end;
    }
    pub fn has(mapping: *const Mapping, protection: u32) bool {
        return mapping.protection & protection == protection;
    }
    /// Whether it is memory that only this program writes: no file, no device.
    pub fn isAnonymous(mapping: *const Mapping) bool {
        return mapping.path.len == 0 or mapping.path[0] == '[';
    }
};

pub const Module = struct {
    path: []const u8,
    /// The device and inode, as text: the same file has the same.
    file: []const u8,
    image: elf.Image,
    end: u64,
    has_code: bool,
};

/// Where an address lies in a module.
pub const Place = struct {
    module: *const Module,
    /// In the file's own numbering.
    address: u64,
};

pub const Map = struct {
    text: [text_max]u8,
    text_length: usize,
    mappings: [mappings_max]Mapping,
    mapping_count: usize,
    modules: [modules_max]Module,
    module_count: usize,

    pub fn all(map: *const Map) []const Mapping {
        return map.mappings[0..map.mapping_count];
    }

    pub fn files(map: *const Map) []const Module {
        return map.modules[0..map.module_count];
    }

    pub fn listing(map: *const Map) []const u8 {
        return map.text[0..map.text_length];
    }

    /// Reads everything anew. What does not fit is left out: the highest addresses.
    pub fn read(map: *Map) void {
        map.text_length = 0;
        map.mapping_count = 0;
        map.module_count = 0;
        const descriptor = sys.openRead("/proc/self/maps") orelse return;
        defer sys.close(descriptor);
        while (map.text_length < map.text.len) {
            const count = sys.read(descriptor, map.text[map.text_length..]) orelse break;
            if (count == 0) break;
            map.text_length += count;
        }
        map.parse();
    }

    fn parse(map: *Map) void {
        var lines = std.mem.tokenizeScalar(u8, map.listing(), '\n');
        while (lines.next()) |line| {
            const found = maps.parse(line) orelse continue;
            if (map.mapping_count == map.mappings.len) return;
            map.mappings[map.mapping_count] = .{
                .start = found.start,
                .end = found.end,
                .offset = found.offset,
                .protection = found.protection,
                .module = map.moduleOf(&found),
                .path = found.path,
            };
            map.mapping_count += 1;
        }
    }

    /// The module of a mapping: one that is known, or a new one where a file begins.
    fn moduleOf(map: *Map, found: *const maps.Mapping) u16 {
        const is_vdso = std.mem.eql(u8, found.path, "[vdso]");
        if (!is_vdso and (found.path.len == 0 or found.path[0] != '/')) return no_module;
        if (std.mem.startsWith(u8, found.path, "/dev/")) return no_module;
        var index = map.module_count;
        while (index > 0) {
            index -= 1;
            const module = &map.modules[index];
            if (!std.mem.eql(u8, module.file, found.file)) continue;
            if (!std.mem.eql(u8, module.path, found.path)) continue;
            // Another copy of the file may begin elsewhere.
            if (found.offset == 0 and found.start != module.image.base and
                !map.continues(found, module)) break;
            if (map.continues(found, module)) module.end = found.end;
            module.has_code = module.has_code or found.executable();
            return @intCast(index);
        }
        return map.begin(found);
    }

    fn continues(map: *const Map, found: *const maps.Mapping, module: *const Module) bool {
        if (map.mapping_count == 0) return false;
        const last = &map.mappings[map.mapping_count - 1];
        return last.end <= found.start and last.module != no_module and
            &map.modules[last.module] == module;
    }

    fn begin(map: *Map, found: *const maps.Mapping) u16 {
        if (map.module_count == map.modules.len) return no_module;
        const readable = found.protection & sys.protection_read != 0;
        if (found.offset != 0 or !readable) return no_module;
        const image = elf.Image.read(found.start) orelse return no_module;
        map.modules[map.module_count] = .{
            .path = found.path,
            .file = found.file,
            .image = image,
            .end = found.end,
            .has_code = found.executable(),
        };
        map.module_count += 1;
        return @intCast(map.module_count - 1);
    }

    /// The mapping that holds `address`. They are in the order of their addresses.
    pub noinline fn find(map: *const Map, address: u64) ?*const Mapping {
        const index = map.indexAfter(address);
        if (index == map.mapping_count) return null;
        const mapping = &map.mappings[index];
        return if (address >= mapping.start) mapping else null;
    }

    /// Index of the first mapping that ends behind `address`.
    pub noinline fn indexAfter(map: *const Map, address: u64) usize {
        var low: usize = 0;
        var high: usize = map.mapping_count;
        while (low < high) {
            const middle = low + (high - low) / 2;
            if (map.mappings[middle].end <= address) low = middle + 1 else high = middle;
        }
        return low;
    }

    pub noinline fn isExecutable(map: *const Map, address: u64) bool {
        const mapping = map.find(address) orelse return false;
        return mapping.has(sys.protection_execute);
    }

    pub noinline fn place(map: *const Map, address: u64) ?Place {
        const mapping = map.find(address) orelse return null;
        if (mapping.module == no_module) return null;
        const module = &map.modules[mapping.module];
        const own = module.image.addressOf(address - mapping.start +% mapping.offset) orelse
            return null;
        return .{ .module = module, .address = own };
    }

    /// A word of ordinary memory; null when there is none. Devices are not touched.
    pub noinline fn load(map: *const Map, address: u64) ?u64 {
        const mapping = map.find(address) orelse return null;
        if (!mapping.has(sys.protection_read) or std.mem.startsWith(u8, mapping.path, "/dev/")) {
            return null;
        }
        return trampoline.probeLoad(address);
    }
};
