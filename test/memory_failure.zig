//! Lets the kernel mark a page of memory as broken, touches it, and prints the signals that come.
//! Run as root in a virtual machine: the page stays out of use until the kernel restarts.
//!
//! Prints a line for each SIGBUS, and exits with 0 if the touch gave what Linux documents in
//! sigaction(2): BUS_MCEERR_AR, the address of the byte, and the number of bits of the lost range.

const std = @import("std");
const linux = std.os.linux;

const page_size = 4096;
/// The byte that is touched: neither at the beginning of the page nor aligned.
const touched_offset = 0x123;
/// `MADV_HWPOISON` of include/uapi/asm-generic/mman-common.h.
const madv_hwpoison = 100;
/// `BUS_MCEERR_AR` of include/uapi/asm-generic/siginfo.h.
const bus_mceerr_ar = 4;

const protection: linux.PROT = .{ .READ = true, .WRITE = true };

/// What a SIGBUS said. `si_addr_lsb` follows `si_addr` in `struct siginfo`.
const Seen = struct { count: u32 = 0, code: i32 = 0, address: u64 = 0, address_lsb: u16 = 0 };

var seen: Seen = .{};
var page: u64 = 0;
/// Whether the handler is to put a sound page in the place of the broken one, so that the touch
/// that is repeated when it returns succeeds.
var mend = false;

fn handle(_: linux.SIG, info: *const linux.siginfo_t, _: ?*anyopaque) callconv(.c) void {
    const bytes: [*]const u8 = @ptrCast(info);
    seen = .{
        .count = seen.count + 1,
        .code = std.mem.readInt(i32, bytes[8..12], .little),
        .address = std.mem.readInt(u64, bytes[16..24], .little),
        .address_lsb = std.mem.readInt(u16, bytes[24..26], .little),
    };
    if (!mend) return;
    const flags: linux.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true, .FIXED = true };
    _ = linux.mmap(@ptrFromInt(page), page_size, protection, flags, -1, 0);
}

fn print(comptime format: []const u8, arguments: anytype) void {
    var buffer: [200]u8 = undefined;
    const text = std.fmt.bufPrint(&buffer, format, arguments) catch return;
    _ = linux.write(1, text.ptr, text.len);
}

fn printSeen(what: []const u8) void {
    print("{s}: {d} SIGBUS, code {d}, address page+0x{x}, lsb {d}\n", .{
        what,
        seen.count,
        seen.code,
        seen.address -% page,
        seen.address_lsb,
    });
}

pub fn main() u8 {
    const action: linux.Sigaction = .{
        .handler = .{ .sigaction = handle },
        .mask = linux.sigemptyset(),
        .flags = linux.SA.SIGINFO,
    };
    _ = linux.sigaction(.BUS, &action, null);
    const flags: linux.MAP = .{ .TYPE = .PRIVATE, .ANONYMOUS = true };
    page = linux.mmap(null, page_size, protection, flags, -1, 0);
    if (linux.errno(page) != .SUCCESS) return 2;
    const touched: *volatile u8 = @ptrFromInt(page + touched_offset);
    touched.* = 1;

    const result = linux.madvise(@ptrFromInt(page), page_size, madv_hwpoison);
    if (linux.errno(result) != .SUCCESS) {
        print("madvise: {t}\n", .{linux.errno(result)});
        return 3;
    }
    printSeen("while the page was marked");

    seen = .{};
    mend = true;
    const value = touched.*;
    printSeen("when it was touched");
    const right = seen.count == 1 and seen.code == bus_mceerr_ar and
        seen.address == page + touched_offset and seen.address_lsb == 12 and value == 0;
    return if (right) 0 else 1;
}
