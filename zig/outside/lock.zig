//! A lock for the code outside the handler. It is held for a few system calls at most.

const sys = @import("../sys.zig").machine;

var held: bool = false;

pub fn acquire() void {
    while (@cmpxchgWeak(bool, &held, false, true, .acquire, .monotonic) != null) sys.yield();
}

pub fn release() void {
    @atomicStore(bool, &held, false, .release);
}
