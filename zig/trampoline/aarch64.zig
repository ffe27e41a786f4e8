//! The code between JavaScript and a guarded function on arm64 (AAPCS64): thunks, the body they
//! share, and the landing pad of a recovery. The handler's entry is in aarch64_entry.zig.
//!
//! A recovery frame, as the body builds it; `guard` in thread-local storage points at its start:
//!
//!     +0   `fl_return`, where the guarded function returns to
//!     +8   guard of the enclosing guarded call, or 0
//!     +16  address of the slot
//!     +24  FPCR (4 bytes), FPSR (4 bytes)
//!     +32  x19 to x28
//!     +112 d8 to d15
//!     +176 x29
//!     +184 x30: return address into JavaScript's side
//!
//! A function keeps its return address at the low end of its own frame, where an overrun does not
//! reach it. So the first word of the recovery frame stands in for it: that is what a function that
//! wrote past the end of its frame destroyed first, and the handler checks it.
//!
//! Argument registers stay untouched on the way in, x8 for results in memory included. x16 carries
//! the slot, x17 and x9 to x15 are free in this ABI. x18 belongs to the platform: never touched.
//!
//! Whatever is reached by an indirect branch begins with `hint #34`, which is `bti c`: where the
//! processor checks branch targets it is a valid one, elsewhere it does nothing.

const barrier = @import("aarch64_barrier.zig");
const common = @import("common.zig");
const dispatch = @import("aarch64_dispatch.zig");
const entry = @import("aarch64_entry.zig");
const stack = @import("aarch64_stack.zig");
const stage = @import("aarch64_stage.zig");

pub const Slot = common.Slot;
pub const ThreadLocal = common.ThreadLocal;
pub const RecoveryFrame = @import("aarch64_frame.zig").RecoveryFrame;

/// The start of both bodies: the recovery frame but for its first two words, and the TLS offset in
/// x17. A jump to 3 follows where the offset has to be resolved at each call.
pub const enter =
    \\  sub sp, sp, #192
    \\  .cfi_def_cfa_offset 192
    \\  stp x19, x20, [sp, #32]
    \\  .cfi_offset x19, -160
    \\  .cfi_offset x20, -152
    \\  stp x21, x22, [sp, #48]
    \\  .cfi_offset x21, -144
    \\  .cfi_offset x22, -136
    \\  stp x23, x24, [sp, #64]
    \\  .cfi_offset x23, -128
    \\  .cfi_offset x24, -120
    \\  stp x25, x26, [sp, #80]
    \\  .cfi_offset x25, -112
    \\  .cfi_offset x26, -104
    \\  stp x27, x28, [sp, #96]
    \\  .cfi_offset x27, -96
    \\  .cfi_offset x28, -88
    \\  stp d8, d9, [sp, #112]
    \\  .cfi_offset d8, -80
    \\  .cfi_offset d9, -72
    \\  stp d10, d11, [sp, #128]
    \\  .cfi_offset d10, -64
    \\  .cfi_offset d11, -56
    \\  stp d12, d13, [sp, #144]
    \\  .cfi_offset d12, -48
    \\  .cfi_offset d13, -40
    \\  stp d14, d15, [sp, #160]
    \\  .cfi_offset d14, -32
    \\  .cfi_offset d15, -24
    \\  stp x29, x30, [sp, #176]
    \\  .cfi_offset x29, -16
    \\  .cfi_offset x30, -8
    \\  adrp x17, fl_tls_offset
    \\  ldr x17, [x17, :lo12:fl_tls_offset]
    \\  mrs x9, fpcr
    \\  mrs x10, fpsr
    \\  stp w9, w10, [sp, #24]
    \\  str x16, [sp, #16]
    \\  cbz x17, 3f
;

/// The end of a body, with the callee's results kept: gives back the frame, and what `enter` jumps
/// to where the thread's words have no offset yet, which goes on at the body's label 1.
pub const leave =
    \\  ldr x30, [sp, #184]
    \\  add sp, sp, #192
    \\  .cfi_remember_state
    \\  .cfi_def_cfa_offset 0
    \\  .cfi_restore x19
    \\  .cfi_restore x20
    \\  .cfi_restore x21
    \\  .cfi_restore x22
    \\  .cfi_restore x23
    \\  .cfi_restore x24
    \\  .cfi_restore x25
    \\  .cfi_restore x26
    \\  .cfi_restore x27
    \\  .cfi_restore x28
    \\  .cfi_restore x29
    \\  .cfi_restore x30
    \\  ret
    \\  .cfi_restore_state
    \\3:
    \\  bl fl_offset_keeping_arguments
    \\  b 1b
    \\  .cfi_endproc
;

/// The unwinder's view of a whole recovery frame at sp.
pub const describe_frame =
    \\  .cfi_def_cfa sp, 192
    \\  .cfi_offset x19, -160
    \\  .cfi_offset x20, -152
    \\  .cfi_offset x21, -144
    \\  .cfi_offset x22, -136
    \\  .cfi_offset x23, -128
    \\  .cfi_offset x24, -120
    \\  .cfi_offset x25, -112
    \\  .cfi_offset x26, -104
    \\  .cfi_offset x27, -96
    \\  .cfi_offset x28, -88
    \\  .cfi_offset d8, -80
    \\  .cfi_offset d9, -72
    \\  .cfi_offset d10, -64
    \\  .cfi_offset d11, -56
    \\  .cfi_offset d12, -48
    \\  .cfi_offset d13, -40
    \\  .cfi_offset d14, -32
    \\  .cfi_offset d15, -24
    \\  .cfi_offset x29, -16
    \\  .cfi_offset x30, -8
;

/// Argument registers, x16 and x30 to 224 bytes at sp, and back.
const save_arguments =
    \\  stp q0, q1, [sp]
    \\  stp q2, q3, [sp, #32]
    \\  stp q4, q5, [sp, #64]
    \\  stp q6, q7, [sp, #96]
    \\  stp x0, x1, [sp, #128]
    \\  stp x2, x3, [sp, #144]
    \\  stp x4, x5, [sp, #160]
    \\  stp x6, x7, [sp, #176]
    \\  stp x8, x16, [sp, #192]
    \\  str x30, [sp, #208]
;

const restore_arguments =
    \\  ldp q0, q1, [sp]
    \\  ldp q2, q3, [sp, #32]
    \\  ldp q4, q5, [sp, #64]
    \\  ldp q6, q7, [sp, #96]
    \\  ldp x0, x1, [sp, #128]
    \\  ldp x2, x3, [sp, #144]
    \\  ldp x4, x5, [sp, #160]
    \\  ldp x6, x7, [sp, #176]
    \\  ldp x8, x16, [sp, #192]
    \\  ldr x30, [sp, #208]
;

/// Offset of this thread's words in x0, by the loader's resolver. The linker knows this sequence by
/// its registers and may replace it. A resolver keeps every register but x0, x1 and x30.
const resolve =
    \\  adrp x0, :tlsdesc:fl_thread_local
    \\  ldr x1, [x0, :tlsdesc_lo12:fl_thread_local]
    \\  add x0, x0, :tlsdesc_lo12:fl_thread_local
    \\  .tlsdesccall fl_thread_local
    \\  blr x1
;

comptime {
    asm (
        \\.section .tbss,"awT",@nobits
        \\.p2align 4
        \\.hidden fl_thread_local
        \\.type fl_thread_local, @object
        \\.size fl_thread_local, 16
        \\fl_thread_local:
        \\  .zero 16
        \\
        \\.bss
        \\.p2align 6
        \\.globl fl_slots, fl_tls_offset
        \\.hidden fl_slots, fl_tls_offset
        \\fl_tls_offset:
        \\  .zero 8
        \\.p2align 6
        \\fl_slots:
        \\  .zero 32 * (1024 + 256)
        \\
        \\.text
        \\.altmacro
        \\.macro FL_THUNK i
        \\.globl fl_t\i
        \\.type fl_t\i, %function
        \\fl_t\i:
        \\  hint #34
        \\  adrp x16, fl_slots + 32 * \i
        \\  add x16, x16, :lo12:fl_slots + 32 * \i
        \\  b fl_body
        \\.size fl_t\i, . - fl_t\i
        \\.endm
        \\.p2align 6
        \\.globl fl_thunks
        \\.hidden fl_thunks
        \\fl_thunks:
        \\.cfi_startproc
        \\.set fl_n, 0
        \\.rept 1024
        \\FL_THUNK %fl_n
        \\.set fl_n, fl_n + 1
        \\.endr
        \\.cfi_endproc
        \\.noaltmacro
    );
}

comptime {
    asm (
        \\.text
        \\.p2align 6
        \\.globl fl_body, fl_return
        \\.hidden fl_body, fl_return
        \\.type fl_body, %function
        \\fl_body:
        \\  .cfi_startproc
    ++ "\n" ++ enter ++ "\n" ++
        // The enclosing guard and the address of the words stay in registers across the call, which
        // the callee keeps.
        \\1:
        \\  mrs x9, tpidr_el0
        \\  add x19, x9, x17
        \\  ldr x20, [x19]
        \\  adr x10, fl_return
        \\  stp x10, x20, [sp]
        \\  ldr x17, [x16]
        \\  mov x9, sp
        \\  str x9, [x19]
        \\  blr x17
        \\fl_return:
        \\  str x20, [x19]
        \\  ldr x9, [x19, #8]
        \\  cbz x9, 2f
        \\  str x0, [x9, #8]
        \\  str d0, [x9, #16]
        \\2:
        \\  ldp x19, x20, [sp, #32]
    ++ "\n" ++ leave ++ "\n" ++
        \\.size fl_body, . - fl_body
    );
}

comptime {
    asm (
        \\.text
        // A recovery arrives here with sp at the recovery frame and our TLS offset in x19.
        \\.p2align 4
        \\.globl fl_landing
        \\.hidden fl_landing
        \\.type fl_landing, %function
        \\fl_landing:
        \\  .cfi_startproc
    ++ "\n" ++ describe_frame ++ "\n" ++
        \\  hint #36
        \\  mrs x9, tpidr_el0
        \\  ldr x10, [sp, #8]
        \\  str x10, [x9, x19]
        // A write of FPCR may cost as much as the rest of the landing.
        \\  ldp w9, w10, [sp, #24]
        \\  mrs x11, fpcr
        \\  cmp x11, x9
        \\  b.eq 1f
        \\  msr fpcr, x9
        \\1:
        \\  msr fpsr, x10
        \\  ldp x19, x20, [sp, #32]
        \\  ldp x21, x22, [sp, #48]
        \\  ldp x23, x24, [sp, #64]
        \\  ldp x25, x26, [sp, #80]
        \\  ldp x27, x28, [sp, #96]
        \\  ldp d8, d9, [sp, #112]
        \\  ldp d10, d11, [sp, #128]
        \\  ldp d12, d13, [sp, #144]
        \\  ldp d14, d15, [sp, #160]
        \\  ldp x29, x30, [sp, #176]
        \\  add sp, sp, #192
        \\  .cfi_def_cfa_offset 0
        \\  mov x0, #0
        \\  movi d0, #0
        \\  ret
        \\  .cfi_endproc
        \\.size fl_landing, . - fl_landing
        //
        // Entry of a closed slot: the body called it, so x19 holds the address of our words.
        \\.globl fl_closed
        \\.hidden fl_closed
        \\.type fl_closed, %function
        \\fl_closed:
        \\  .cfi_startproc
        \\  hint #34
        \\  ldr x9, [x19, #8]
        \\  cbz x9, 1f
        \\  mov w10, #2
        \\  str w10, [x9, #4]
        \\1:
        \\  mov x0, #0
        \\  movi d0, #0
        \\  ret
        \\  .cfi_endproc
        \\.size fl_closed, . - fl_closed
        //
        // Entry of a slot whose handlers are not installed: installs them, then calls the target
        // with every argument register as it was.
        \\.globl fl_arm
        \\.hidden fl_arm
        \\.type fl_arm, %function
        \\fl_arm:
        \\  .cfi_startproc
        \\  hint #34
        \\  sub sp, sp, #224
        \\  .cfi_def_cfa_offset 224
    ++ "\n" ++ save_arguments ++ "\n" ++
        \\  .cfi_offset x30, -16
        \\  mov x0, x16
        \\  bl fl_arm_slot
    ++ "\n" ++ restore_arguments ++ "\n" ++
        \\  add sp, sp, #224
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x30
        \\  ldr x17, [x16, #8]
        \\  br x17
        \\  .cfi_endproc
        \\.size fl_arm, . - fl_arm
    );
}

comptime {
    asm (
        \\.text
        // Where the loader gave us dynamic TLS: the offset in x17, all argument registers and x16
        // kept, whatever the resolver does.
        \\.globl fl_offset_keeping_arguments
        \\.hidden fl_offset_keeping_arguments
        \\.type fl_offset_keeping_arguments, %function
        \\fl_offset_keeping_arguments:
        \\  .cfi_startproc
        \\  sub sp, sp, #224
        \\  .cfi_def_cfa_offset 224
    ++ "\n" ++ save_arguments ++ "\n" ++
        \\  .cfi_offset x30, -16
    ++ "\n" ++ resolve ++ "\n" ++
        \\  mov x17, x0
    ++ "\n" ++ restore_arguments ++ "\n" ++
        \\  add sp, sp, #224
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x30
        \\  ret
        \\  .cfi_endproc
        \\.size fl_offset_keeping_arguments, . - fl_offset_keeping_arguments
        //
        // The TLS offset of this thread, by the loader's resolver. May allocate: never in a
        // handler.
        \\.globl fl_resolve_offset
        \\.hidden fl_resolve_offset
        \\.type fl_resolve_offset, %function
        \\fl_resolve_offset:
        \\  .cfi_startproc
        \\  stp x29, x30, [sp, #-16]!
        \\  .cfi_def_cfa_offset 16
        \\  .cfi_offset x29, -16
        \\  .cfi_offset x30, -8
    ++ "\n" ++ resolve ++ "\n" ++
        \\  ldp x29, x30, [sp], #16
        \\  .cfi_def_cfa_offset 0
        \\  .cfi_restore x29
        \\  .cfi_restore x30
        \\  ret
        \\  .cfi_endproc
        \\.size fl_resolve_offset, . - fl_resolve_offset
        // The argument word of the TLS descriptor: the offset itself when the block is static.
        \\.globl fl_descriptor_argument
        \\.hidden fl_descriptor_argument
        \\.type fl_descriptor_argument, %function
        \\fl_descriptor_argument:
        \\  .cfi_startproc
        \\  adrp x0, :tlsdesc:fl_thread_local
        \\  add x0, x0, :tlsdesc_lo12:fl_thread_local
        \\  ldr x0, [x0, #8]
        \\  ret
        \\  .cfi_endproc
        \\.size fl_descriptor_argument, . - fl_descriptor_argument
    );
}

extern fn fl_return() callconv(.c) void;

/// No instruction that calls a guarded function faults itself: a call to where no code is arrives
/// there first.
pub fn isCallSite(_: u64) bool {
    return false;
}

/// The word of a recovery frame that an overrun reaches first, as how far below the frame it is.
pub fn returnAddress(_: *const Slot, by_registers: bool) struct { distance: u64, value: u64 } {
    const value = if (by_registers) @intFromPtr(&fl_return) else stack.stackReturnAddress();
    return .{ .distance = 0, .value = value };
}

/// Whether `ip` is where a guarded function comes back to, or where it calls a barrier.
pub fn leavesGuarded(ip: u64) bool {
    if (ip == @intFromPtr(&fl_return) or ip == stack.stackReturnAddress()) return true;
    return common.isBarrier(ip);
}

pub const callDeeper = dispatch.callDeeper;
pub const dispatch_context = dispatch.context_offset;
pub const dispatchEntry = dispatch.dispatchEntry;
pub const slots_max = common.slots_max;
pub const first_stack_slot = common.first_stack_slot;
pub const barriers_max = common.barriers_max;
pub const Barrier = common.Barrier;
pub const block_slot = common.block_slot;
pub const block_integers = common.block_integers;
pub const block_floats = common.block_floats;
pub const block_stack = common.block_stack;
pub const block_stack_bytes = common.block_stack_bytes;
pub const slot_table = &common.fl_slots;
pub const tls_offset = &common.fl_tls_offset;
pub const barrier_table = &common.fl_barrier_targets;
pub const thunkAddress = common.thunkAddress;
pub const slotIndex = common.slotIndex;
pub const barrierAddress = common.barrierAddress;
pub const returnZero = common.returnZero;
pub const landing = common.landing;
pub const closedEntry = common.closedEntry;
pub const armEntry = common.armEntry;
pub const resolveOffset = common.resolveOffset;
pub const descriptorArgument = common.descriptorArgument;
pub const handlerEntry = common.handlerEntry;
pub const restorer = common.restorer;
pub const callRegisters = common.callRegisters;
pub const jump = common.jump;
pub const probeCopy = common.probeCopy;
pub const probeLoad = common.probeLoad;
pub const probePages = common.probePages;
pub const fixup = common.fixup;
pub const runStage = stage.runStage;
pub const abandonStage = stage.abandonStage;

/// TPIDR_EL0 is the thread pointer under glibc and musl.
pub inline fn threadPointer() u64 {
    return asm volatile ("mrs %[result], tpidr_el0"
        : [result] "=r" (-> u64),
    );
}

comptime {
    // Their assembly belongs to the library, though nothing of theirs is named elsewhere.
    _ = barrier;
    _ = entry;
}
