//! Accesses to memory on arm64 that change nothing and fault where a copy would.

const trampoline = @import("../trampoline.zig").machine;

pub inline fn read(address: u64) void {
    asm volatile ("ldrb wzr, [%[address]]"
        :
        : [address] "r" (address),
        : .{ .memory = true });
}

/// A write that changes nothing, atomic so that no other thread's write is lost. What reads before
/// it writes is reported as a read where that faults: there `byte`, which is to be written anyway,
/// makes it a write.
pub inline fn write(address: u64, byte: u8) void {
    if (!trampoline.probePages(address, address)) {
        asm volatile ("strb %[byte:w], [%[address]]"
            :
            : [address] "r" (address),
              [byte] "r" (byte),
            : .{ .memory = true });
    }
    asm volatile (
        \\1:
        \\ ldxrb w9, [%[address]]
        \\ stxrb w10, w9, [%[address]]
        \\ cbnz w10, 1b
        :
        : [address] "r" (address),
        : .{ .x9 = true, .x10 = true, .memory = true });
}
