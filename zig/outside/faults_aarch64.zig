//! Instructions of arm64 that fault.

const words: [4]u64 align(16) = @splat(1);

/// No address that a process can have: bit 55 chooses its half of the address space, and bits 48 to
/// 54 agree with it. The bits above are ignored.
pub const non_canonical = 0x0055_0000_0000_0000;

pub fn load(address: u64) void {
    _ = asm volatile ("ldr %[result], [%[address]]"
        : [result] "=r" (-> u64),
        : [address] "r" (address),
        : .{ .memory = true });
}

pub fn store(address: u64) void {
    asm volatile ("str %[address], [%[address]]"
        :
        : [address] "r" (address),
        : .{ .memory = true });
}

pub fn jump(address: u64) void {
    asm volatile ("blr %[address]"
        :
        : [address] "r" (address),
        : .{ .x30 = true, .memory = true });
}

/// Whether a division by zero faults: on arm64 it gives 0.
pub fn divide() bool {
    return false;
}

/// A register of the kernel's. It is none that the kernel reads for a process.
pub fn privileged() void {
    _ = asm volatile ("mrs %[result], sctlr_el1"
        : [result] "=r" (-> u64),
    );
}

pub fn illegal() void {
    asm volatile ("udf #0");
}

pub fn breakpoint() void {
    asm volatile ("brk #0");
}

/// Ordinary accesses may be misaligned, exclusive ones may not: on no CPU across 16 bytes.
pub fn misaligned() void {
    _ = asm volatile ("ldxr %[result], [%[address]]"
        : [result] "=r" (-> u64),
        : [address] "r" (@intFromPtr(&words) + 12),
        : .{ .memory = true });
}
