//! What the CPU has, as CPUID tells on x86-64 (Intel SDM volume 2, CPUID), and what the kernel
//! makes of it.

const linux = @import("std").os.linux;

pub inline fn pageSize() u64 {
    return 4096;
}

/// Whether this thread's returns are checked against a shadow stack: arch_prctl's
/// ARCH_SHSTK_STATUS (Linux arch/x86/include/uapi/asm/prctl.h).
pub fn shadowStackEnabled() bool {
    const arch_shstk_status = 0x5005;
    var features: u64 = 0;
    const result = linux.syscall2(.arch_prctl, arch_shstk_status, @intFromPtr(&features));
    return linux.errno(result) == .SUCCESS and features & 1 != 0;
}

/// Whether the kernel has protection keys switched on: leaf 7, ECX bit 4 (OSPKE).
pub fn hasProtectionKeys() bool {
    if (cpuid(0, 0).eax < 7) return false;
    return cpuid(7, 0).ecx & (1 << 4) != 0;
}

/// Where the protection-key rights lie in the standard form of XSAVE: leaf 0xd, subleaf 9, EBX. 0
/// without them.
pub fn pkruOffset() u32 {
    return if (hasProtectionKeys()) cpuid(0xd, 9).ebx else 0;
}

/// RDPKRU. Only where `hasProtectionKeys`.
pub fn protectionKeyRights() u32 {
    return asm volatile (".byte 0x0f, 0x01, 0xee"
        : [rights] "={eax}" (-> u32),
        : [zero] "{ecx}" (@as(u32, 0)),
        : .{ .edx = true });
}

/// What a minidump says about the processor: level, revision, and words that differ between
/// architectures.
pub const Processor = struct { level: u16, revision: u16, words: [6]u32 };

/// Family; model and stepping; the vendor's name, leaf 1's EAX and EDX, and AMD's leaf 0x8000_0001
/// EDX, as Breakpad's minidump_format.h (`MDCPUInformation.x86_cpu_info`) has them.
pub fn identify() Processor {
    const vendor = cpuid(0, 0);
    const version = cpuid(1, 0);
    const extended_max = cpuid(0x8000_0000, 0).eax;
    const extended = if (extended_max > 0x8000_0000) cpuid(0x8000_0001, 0).edx else 0;
    const signature = version.eax;
    const base_family = signature >> 8 & 0xf;
    const base_model = signature >> 4 & 0xf;
    const has_extended_model = base_family == 6 or base_family == 15;
    const family = if (base_family == 15) base_family + (signature >> 20 & 0xff) else base_family;
    const model = if (has_extended_model) base_model + (signature >> 12 & 0xf0) else base_model;
    return .{
        .level = @intCast(family),
        .revision = @intCast(model << 8 | (signature & 0xf)),
        .words = .{ vendor.ebx, vendor.edx, vendor.ecx, signature, version.edx, extended },
    };
}

const Leaf = struct { eax: u32, ebx: u32, ecx: u32, edx: u32 };

fn cpuid(leaf: u32, subleaf: u32) Leaf {
    var eax: u32 = undefined;
    var ebx: u32 = undefined;
    var ecx: u32 = undefined;
    var edx: u32 = undefined;
    asm volatile ("cpuid"
        : [eax] "={eax}" (eax),
          [ebx] "={ebx}" (ebx),
          [ecx] "={ecx}" (ecx),
          [edx] "={edx}" (edx),
        : [leaf] "{eax}" (leaf),
          [subleaf] "{ecx}" (subleaf),
    );
    return .{ .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx };
}
