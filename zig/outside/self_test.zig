//! Makes each kind of exception on demand, so that a machine and a runtime can be asked whether
//! recovery works there. The faults are real: an instruction that faults, or a call that raises.

const builtin = @import("builtin");
const abi = @import("../abi.zig");
const sys = @import("../sys.zig").machine;
const faults = switch (builtin.cpu.arch) {
    .x86_64 => @import("faults_x86_64.zig"),
    .aarch64 => @import("faults_aarch64.zig"),
    else => @compileError("no faults for this architecture yet"),
};

const value: u64 = 1;

/// Returns 0 when nothing faulted, which for any kind but `none` means that the fault was mended.
pub fn run(kind: abi.SelfTest) abi.Status {
    switch (kind) {
        .none => {},
        .null_read => faults.load(0x10),
        .null_write => faults.store(0x10),
        .read_only_write => faults.store(@intFromPtr(&value)),
        .jump_to_null => faults.jump(0),
        .non_canonical_read => faults.load(faults.non_canonical),
        .privileged_instruction => faults.privileged(),
        .past_end_of_file => return pastEndOfFile(),
        .integer_division => if (!faults.divide()) return .not_supported,
        .illegal_instruction => faults.illegal(),
        .breakpoint => faults.breakpoint(),
        .stack_overflow => overflow(0),
        .abort => sys.raise(sys.sigabrt),
        .misaligned_access => faults.misaligned(),
    }
    return .ok;
}

/// No stack is meant to be larger; where one has no limit, the test gives up here.
const overflow_max = 256 * 1024 * 1024;
const overflow_frame = 2048;

/// Recurses until the stack ends, touching every page on the way.
noinline fn overflow(depth: u32) void {
    if (depth > overflow_max / overflow_frame) return;
    var page: [overflow_frame]u8 = undefined;
    // Somewhere in the frame, so that all of it is needed; after the call, so that it stays a call.
    const somewhere: *volatile u8 = &page[depth % overflow_frame];
    somewhere.* = 1;
    overflow(depth + 1);
    somewhere.* = 2;
}

/// An empty file's first page, mapped once: there is nothing behind it. Kept, because a recovery
/// skips whatever would unmap it.
var empty_file_page: u64 = 0;

fn pastEndOfFile() abi.Status {
    if (empty_file_page == 0) {
        const descriptor = sys.memfd("faultline self-test") orelse return .system_call_failed;
        empty_file_page = sys.mapFile(descriptor, sys.pageSize()) orelse 0;
        sys.close(descriptor);
    }
    if (empty_file_page == 0) return .no_memory;
    faults.load(empty_file_page);
    return .ok;
}
