//! Finds out which allocator, loader or lock functions were running when an exception happened.
//! Known functions go by name; their places are looked up once, before the first guarded call,
//! since looking up takes a lock that an exception may leave taken.

const std = @import("std");
const abi = @import("../abi.zig");
const frames = @import("../frame.zig");
const exports = @import("exports.zig");
const known = @import("../inside/suspects.zig");
const host = @import("host.zig");
const unwind = @import("unwind.zig");
const assert = std.debug.assert;

/// Static functions (`_int_malloc`) have no names in a stripped library, and need none: whoever is
/// in one came by an exported function, which is on the stack.
const names = [_][:0]const u8{
    // Allocators.
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "cfree",
    "malloc_trim",
    "malloc_usable_size",
    "malloc_info",
    "mallinfo",
    "mallinfo2",
    "mallopt",
    "malloc_stats",
    "_Znwm",
    "_Znam",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvm",
    "_ZdaPvm",
    // The loader.
    "dlopen",
    "dlmopen",
    "dlclose",
    "dlsym",
    "dlvsym",
    "dladdr",
    "dladdr1",
    "dlinfo",
    "dlerror",
    "dl_iterate_phdr",
    // Locks, and what runs while one is held.
    "pthread_mutex_lock",
    "pthread_mutex_trylock",
    "pthread_mutex_timedlock",
    "pthread_mutex_clocklock",
    "pthread_mutex_unlock",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_wrlock",
    "pthread_rwlock_tryrdlock",
    "pthread_rwlock_trywrlock",
    "pthread_rwlock_timedrdlock",
    "pthread_rwlock_timedwrlock",
    "pthread_rwlock_unlock",
    "pthread_spin_lock",
    "pthread_spin_trylock",
    "pthread_cond_wait",
    "pthread_cond_timedwait",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
    "pthread_barrier_wait",
    "pthread_once",
    "mtx_lock",
    "mtx_trylock",
    "mtx_unlock",
    "cnd_wait",
    "call_once",
    "sem_wait",
    "sem_post",
    "fork",
    "exit",
    "setenv",
    "putenv",
    "unsetenv",
    "setlocale",
    // Streams are locked while they are worked on.
    // puts and fputs measure their text first, and are not likely to fault after that.
    "flockfile",
    "ftrylockfile",
    "funlockfile",
    "fopen",
    "fclose",
    "fflush",
    "fread",
    "fwrite",
    "fputc",
    "putc",
    "putchar",
    "fgets",
    "fgetc",
    "getc",
    "getchar",
    "getdelim",
    "getline",
    "ungetc",
    "printf",
    "fprintf",
    "vprintf",
    "vfprintf",
    "scanf",
    "fscanf",
    "vfscanf",
    "perror",
    "setvbuf",
    "fseek",
    "ftell",
    "rewind",
};

/// How many of the names are allocators: those that come first.
const allocators = 24;

comptime {
    assert(std.mem.eql(u8, names[allocators], "dlopen"));
}

/// All of the loader's own code: its functions have no names, and run to load or bind something.
const loader = "the dynamic loader";

var name_of: [known.ranges_max][:0]const u8 = undefined;

/// Looks all of them up. Called once.
pub fn prepare() void {
    assert(known.count == 0);
    host.prepareFrames();
    var count: usize = 0;
    const libc = if (host.loaded("libc.so.6")) |handle| exports.Exports.of(handle) else null;
    for (names, 0..) |function, index| {
        const own = if (libc) |library| library.find(function) else null;
        if (own) |range| {
            count = insert(count, .{ .start = range.start, .end = range.end }, function);
        }
        // The program may have an allocator of its own, which libraries then use as well.
        if (index >= allocators) continue;
        const address = host.address(function) orelse continue;
        if (own != null and own.?.start == address) continue;
        const start, const size = host.extent(address) orelse continue;
        count = insert(count, .{ .start = start, .end = start + size }, function);
    }
    if (host.codeAround("__tls_get_addr")) |code| {
        count = insert(count, .{ .start = code[0], .end = code[1] }, loader);
    }
    @atomicStore(usize, &known.count, count, .release);
}

/// Keeps the ranges sorted; the first name of a function stays.
fn insert(count: usize, range: known.Range, name_: [:0]const u8) usize {
    var index: usize = 0;
    while (index < count and known.ranges[index].start < range.start) index += 1;
    if (index < count and known.ranges[index].start < range.end) return count;
    if (index > 0 and known.ranges[index - 1].end > range.start) return count;
    if (count == known.ranges_max) return count;
    std.mem.copyBackwards(
        known.Range,
        known.ranges[index + 1 .. count + 1],
        known.ranges[index..count],
    );
    std.mem.copyBackwards(
        [:0]const u8,
        name_of[index + 1 .. count + 1],
        name_of[index..count],
    );
    known.ranges[index] = range;
    name_of[index] = name_;
    return count + 1;
}

/// Names found, each once.
const Found = struct {
    into: []u8,
    used: usize = 0,
    seen: [known.ranges_max]bool = @splat(false),

    fn add(found: *Found, address: u64) void {
        const index = known.find(address) orelse return;
        if (found.seen[index]) return;
        found.seen[index] = true;
        const text = name_of[index];
        if (found.into.len - found.used < text.len + 1) return;
        @memcpy(found.into[found.used..][0..text.len], text);
        found.into[found.used + text.len] = 0;
        found.used += text.len + 1;
    }
};

const steps_max = 256;

/// Writes the names of the functions that were running; the bytes used.
///
/// Where the functions say how to leave them, exactly those that were running count. Where they do
/// not, every word that looks like a return address into one of them does: a false alarm costs an
/// opened library, silence a heap.
pub fn name(exception: *const abi.Exception, into: []u8) usize {
    var found: Found = .{ .into = into };
    const tail = @intFromPtr(exception) + @sizeOf(abi.Exception) + exception.extended_length;
    const callers: [*]const u64 = @ptrFromInt(tail);
    const stack_start: [*]const u8 = @ptrFromInt(tail + @as(u64, exception.frame_count) * 8);
    const stack: unwind.Stack = .{
        .address = exception.stack_address,
        .bytes = stack_start[0..exception.stack_length],
    };
    var registers = initial(exception);
    found.add(exception.instruction_pointer);
    var inside: u64 = exception.instruction_pointer;
    if (exception.access == .execute) bad_call: {
        // A call or jump through a bad pointer: nothing says how to leave what is not code, but the
        // return address is the last that was pushed.
        const address = returned(&registers, &stack) orelse break :bad_call;
        registers[unwind.instruction_pointer] = address;
        inside = address -| 1;
        found.add(inside);
    }
    for (0..steps_max) |_| {
        registers = unwind.step(&registers, inside, &stack) orelse break;
        if (registers[unwind.stack_pointer].? >= exception.recovery_point) return found.used;
        const address = registers[unwind.instruction_pointer] orelse break;
        if (address == 0) break;
        inside = address - 1; // A call may be its function's last instruction.
        found.add(inside);
    }
    const reached = registers[unwind.stack_pointer] orelse exception.stack_pointer;
    scan(&found, &stack, reached, exception.recovery_point);
    for (callers[0..exception.frame_count]) |address| found.add(address -| 1);
    return found.used;
}

/// Undoes a call that has just happened: where it returns to.
fn returned(registers: *unwind.Registers, stack: *const unwind.Stack) ?u64 {
    const dwarf = frames.machine.dwarf;
    if (dwarf.return_column != dwarf.instruction_pointer) {
        return frames.machine.codeAddress(registers[dwarf.return_column].?);
    }
    const pushed = registers[dwarf.stack_pointer].?;
    registers[dwarf.stack_pointer] = pushed + 8;
    return stack.load(pushed);
}

fn initial(exception: *const abi.Exception) unwind.Registers {
    const frame: *const frames.Frame = @ptrCast(@alignCast(&exception.context));
    var registers: unwind.Registers = undefined;
    for (frame.dwarfRegisters(), &registers) |value, *register| register.* = value;
    return registers;
}

fn scan(found: *Found, stack: *const unwind.Stack, from: u64, end: u64) void {
    var address = std.mem.alignForward(u64, @max(from, stack.address), 8);
    while (address < end) : (address += 8) {
        const word = frames.machine.codeAddress(stack.load(address) orelse break);
        if (word < 8 or known.find(word -| 8) == null) continue;
        if (followsCall(word)) found.add(word - 1);
    }
}

/// Whether the bytes before an address in a known function can be a call.
fn followsCall(address: u64) bool {
    const length = frames.machine.call_length_max;
    return frames.machine.endsInCall(@ptrFromInt(address - length));
}
