//! The runtime's own machine code, noted at attach. A fault in there is the runtime's, even when a
//! guarded call is open below it: unwinding would skip its frames.

pub const Range = struct { start: u64, end: u64 };
pub var ranges: [8]Range = @splat(.{ .start = 0, .end = 0 });

pub fn contains(address: u64) bool {
    for (&ranges) |range| {
        if (address >= range.start and address < range.end) return true;
    }
    return false;
}
