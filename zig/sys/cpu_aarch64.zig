//! What the CPU has and the kernel makes of it, on arm64.
//!
//! Numbers: Linux include/uapi/linux/prctl.h, include/uapi/linux/auxvec.h and
//! arch/arm64/include/uapi/asm/hwcap.h.

const std = @import("std");
const linux = std.os.linux;

var page_size: u64 = 0;

pub fn pageSize() u64 {
    const known = @atomicLoad(u64, &page_size, .monotonic);
    if (known != 0) return known;
    const found = findPageSize();
    @atomicStore(u64, &page_size, found, .monotonic);
    return found;
}

/// Asks with a system call that has no effect, and that is refused as invalid where the address is
/// not a multiple of the page size: mprotect of no bytes. An emulator may refuse it for another
/// reason, but only after that one.
fn findPageSize() u64 {
    for ([_]u64{ 4096, 16384 }) |candidate| {
        if (linux.errno(linux.syscall3(.mprotect, candidate, 0, 0)) != .INVAL) return candidate;
    }
    return 65536;
}

/// Whether permission overlays are in use: the kernel runs handlers under other rights, and
/// rt_sigreturn puts the thread's back.
pub fn hasProtectionKeys() bool {
    const hwcap2_poe: u64 = 1 << 63;
    return auxiliary(at_hwcap2) & hwcap2_poe != 0;
}

/// The rights have a record of their own in the frame, which a recovery keeps.
pub fn protectionKeyRights() u32 {
    return 0;
}

/// XSAVE is not here: the rights have a record of their own in the frame.
pub fn pkruOffset() u32 {
    return 0;
}

/// Whether this thread's returns are checked against a guarded control stack.
pub fn shadowStackEnabled() bool {
    const pr_get_shadow_stack_status = 74;
    var status: u64 = 0;
    const operation = pr_get_shadow_stack_status;
    const result = linux.syscall5(.prctl, operation, @intFromPtr(&status), 0, 0, 0);
    return linux.errno(result) == .SUCCESS and status & 1 != 0;
}

/// What a minidump says about the processor: level, revision, and words that differ between
/// architectures.
pub const Processor = struct { level: u16, revision: u16, words: [6]u32 };

/// Version 8 of the architecture; variant and revision; MIDR_EL1 and AT_HWCAP, as Breakpad's
/// minidump_format.h (`MDCPUInformation.arm_cpu_info`) has them. The kernel answers reads of
/// MIDR_EL1 where it says so.
pub fn identify() Processor {
    const hwcap_cpuid: u64 = 1 << 11;
    const hwcap = auxiliary(at_hwcap);
    var midr: u64 = 0;
    if (hwcap & hwcap_cpuid != 0) midr = asm volatile ("mrs %[result], midr_el1"
        : [result] "=r" (-> u64),
    );
    return .{
        .level = 8,
        .revision = @truncate((midr >> 20 & 0xf) << 8 | (midr & 0xf)),
        .words = .{ @truncate(midr), @truncate(hwcap), 0, 0, 0, 0 },
    };
}

const at_hwcap = 16;
const at_hwcap2 = 26;

/// A value that the kernel gave the process at its start; 0 when it cannot be read.
fn auxiliary(wanted: u64) u64 {
    const at_working_directory: usize = @bitCast(@as(i64, -100));
    const close_on_exec = 0o2000000;
    const path: [*:0]const u8 = "/proc/self/auxv";
    const opened = linux.syscall4(
        .openat,
        at_working_directory,
        @intFromPtr(path),
        close_on_exec,
        0,
    );
    if (linux.errno(opened) != .SUCCESS) return 0;
    defer _ = linux.syscall1(.close, opened);
    var entries: [64][2]u64 = undefined;
    const length = linux.syscall3(.read, opened, @intFromPtr(&entries), @sizeOf(@TypeOf(entries)));
    if (linux.errno(length) != .SUCCESS) return 0;
    return for (entries[0 .. length / 16]) |entry| {
        if (entry[0] == wanted) break entry[1];
    } else 0;
}
