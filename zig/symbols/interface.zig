//! The C ABI of the symbols library. `lib/symbols.ts` has the same numbers by hand: these are few,
//! and a generated file for them would have to be part of `lib/abi.ts`, whose hash would then tie
//! the two libraries together. Any change here raises `version`, which is compared at load.

const std = @import("std");
const assert = std.debug.assert;

pub const version: u32 = 1;

pub const Trust = enum(u32) { context = 0, cfi = 1, frame_pointer = 2, scan = 3 };

/// One frame: an address, and how it was found.
pub const Entry = extern struct {
    address: u64,
    trust: Trust,
    /// 1 when the address is that of an instruction that did not complete; else it follows a call.
    exact: u32,

    comptime {
        assert(@sizeOf(Entry) == 16);
        assert(@offsetOf(Entry, "trust") == 8);
    }
};

/// What `fl_sym_lookup` writes first; then the module's path, then `function_count` functions.
pub const Found = extern struct {
    /// Bytes in use, this head and everything behind it.
    size: u32,
    function_count: u32,
    /// Where the module's lowest address is mapped.
    module_base: u64,
    /// Start of the symbol that holds the address; 0 when none does.
    symbol_address: u64,
    path_length: u32,
    _padding: u32 = 0,

    comptime {
        assert(@sizeOf(Found) == 32);
        assert(@offsetOf(Found, "symbol_address") == 16);
    }
};

/// One function at the address, innermost first; its name and file follow it. All but the last are
/// inlined into the one behind.
pub const Function = extern struct {
    /// Where its code begins; 0 when that is not known.
    start: u64,
    /// 0 when not known.
    line: u32,
    column: u32,
    name_length: u32,
    file_length: u32,

    comptime {
        assert(@sizeOf(Function) == 24);
        assert(@offsetOf(Function, "name_length") == 16);
    }
};
