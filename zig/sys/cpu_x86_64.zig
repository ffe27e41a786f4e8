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
