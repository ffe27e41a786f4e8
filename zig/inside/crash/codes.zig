//! Names and types of signals and their codes, as `lib/signal_table.ts` has them for JavaScript.
//!
//! Numbers: Linux include/uapi/asm-generic/siginfo.h. Types and ZX_EXCP_* values are Faultline's
//! own mapping to Zircon's exceptions.

const std = @import("std");
const sys = @import("../../sys.zig").machine;

pub fn signalName(signal: u32) []const u8 {
    return switch (signal) {
        sys.sigsegv => "SIGSEGV",
        sys.sigbus => "SIGBUS",
        sys.sigfpe => "SIGFPE",
        sys.sigill => "SIGILL",
        sys.sigtrap => "SIGTRAP",
        sys.sigabrt => "SIGABRT",
        sys.sigsys => "SIGSYS",
        10 => "SIGUSR1",
        12 => "SIGUSR2",
        else => "a signal",
    };
}

const segv = [_][]const u8{
    "SEGV_MAPERR",  "SEGV_ACCERR",  "SEGV_BNDERR",  "SEGV_PKUERR",  "SEGV_ACCADI",
    "SEGV_ADIDERR", "SEGV_ADIPERR", "SEGV_MTEAERR", "SEGV_MTESERR", "SEGV_CPERR",
};
const bus = [_][]const u8{
    "BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR", "BUS_MCEERR_AR", "BUS_MCEERR_AO",
};
const fpe = [_][]const u8{
    "FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV",   "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES",
    "FPE_FLTINV", "FPE_FLTSUB", "",             "",           "",           "",
    "",           "FPE_FLTUNK", "FPE_CONDTRAP",
};
const ill = [_][]const u8{
    "ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR",   "ILL_ILLTRP",  "ILL_PRVOPC",   "ILL_PRVREG",
    "ILL_COPROC", "ILL_BADSTK", "ILL_BADIADDR", "__ILL_BREAK", "__ILL_BNDMOD",
};
const trap = [_][]const u8{
    "TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT", "TRAP_UNK", "TRAP_PERF",
};
const policy = [_][]const u8{ "SYS_SECCOMP", "SYS_USER_DISPATCH" };

/// The code's name; empty where the tables lack it.
pub fn codeName(signal: u32, code: i32) []const u8 {
    const general: []const u8 = switch (code) {
        0x80 => "SI_KERNEL",
        0 => "SI_USER",
        -1 => "SI_QUEUE",
        -2 => "SI_TIMER",
        -3 => "SI_MESGQ",
        -4 => "SI_ASYNCIO",
        -5 => "SI_SIGIO",
        -6 => "SI_TKILL",
        -7 => "SI_DETHREAD",
        -60 => "SI_ASYNCNL",
        else => "",
    };
    if (general.len > 0 or code <= 0) return general;
    const names: []const []const u8 = switch (signal) {
        sys.sigsegv => &segv,
        sys.sigbus => &bus,
        sys.sigfpe => &fpe,
        sys.sigill => &ill,
        sys.sigtrap => &trap,
        sys.sigsys => &policy,
        else => &.{},
    };
    const index: usize = @intCast(code - 1);
    return if (index < names.len) names[index] else "";
}

pub const Type = enum {
    access_violation,
    stack_overflow,
    general_protection,
    bus_error,
    misaligned_access,
    machine_check,
    illegal_instruction,
    arithmetic,
    breakpoint,
    watchpoint,
    single_step,
    abort,
    policy,
    user,

    pub fn name(kind: Type) []const u8 {
        return switch (kind) {
            .access_violation => "access-violation",
            .stack_overflow => "stack-overflow",
            .general_protection => "general-protection",
            .bus_error => "bus-error",
            .misaligned_access => "misaligned-access",
            .machine_check => "machine-check",
            .illegal_instruction => "illegal-instruction",
            .arithmetic => "arithmetic",
            .breakpoint => "breakpoint",
            .watchpoint => "watchpoint",
            .single_step => "single-step",
            .abort => "abort",
            .policy => "policy",
            .user => "user",
        };
    }
};

/// The type by signal and code; who knows the stack tells overflows apart.
pub fn typeOf(signal: u32, code: i32) Type {
    const protection = code == sys.si_kernel;
    return switch (signal) {
        sys.sigsegv => if (protection) .general_protection else .access_violation,
        sys.sigbus => if (protection) .general_protection else switch (code) {
            sys.bus_adraln => .misaligned_access,
            sys.bus_mceerr_ar, sys.bus_mceerr_ao => .machine_check,
            else => .bus_error,
        },
        sys.sigfpe => .arithmetic,
        sys.sigill => .illegal_instruction,
        sys.sigtrap => switch (code) {
            2, 3, 5 => .single_step,
            4, 6 => .watchpoint,
            else => .breakpoint,
        },
        sys.sigabrt => .abort,
        sys.sigsys => .policy,
        else => .user,
    };
}

/// The ZX_EXCP_* value.
pub fn zxType(kind: Type, signal: u32, code: i32) u32 {
    const general = 0x008;
    return switch (kind) {
        .access_violation, .bus_error => if (isPageFault(signal, code)) 0x108 else general,
        .stack_overflow => 0x108,
        .misaligned_access => 0x508,
        .illegal_instruction => 0x208,
        .breakpoint => 0x308,
        .watchpoint, .single_step => 0x408,
        .policy => 0x8208,
        .user => 0x8309,
        .general_protection, .machine_check, .arithmetic, .abort => general,
    };
}

fn isPageFault(signal: u32, code: i32) bool {
    return switch (signal) {
        sys.sigsegv => code >= 1 and code <= 4,
        sys.sigbus => code == 2 or code == 3,
        else => false,
    };
}

test "names and types agree with the table in TypeScript" {
    const expectEqualStrings = std.testing.expectEqualStrings;
    try expectEqualStrings("SEGV_CPERR", codeName(sys.sigsegv, 10));
    try expectEqualStrings("FPE_CONDTRAP", codeName(sys.sigfpe, 15));
    try expectEqualStrings("", codeName(sys.sigfpe, 9));
    try expectEqualStrings("", codeName(sys.sigsegv, 99));
    try expectEqualStrings("SI_TKILL", codeName(sys.sigabrt, -6));
    try std.testing.expectEqual(0x008, zxType(.access_violation, sys.sigsegv, 10));
    try std.testing.expectEqual(Type.watchpoint, typeOf(sys.sigtrap, 4));
}
