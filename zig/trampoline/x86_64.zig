//! The code between JavaScript and a guarded function on x86-64 (System V ABI): thunks, the body
//! they share, and the landing pad of a recovery. The handler's entry is in x86_64_entry.zig.
//!
//! A recovery frame, as the body builds it; `guard` in thread-local storage points at its start:
//!
//!     +0   guard of the enclosing guarded call, or 0
//!     +8   address of the slot
//!     +16  MXCSR (4 bytes), x87 control word (2 bytes)
//!     +24  r15  +32 r14  +40 r13  +48 r12  +56 rbx  +64 rbp
//!     +72  return address into JavaScript's side
//!
//! Below it, at -8, lies the return address of the guarded function: always `fl_return`. A function
//! that wrote past the end of its frame destroyed that first, so the handler checks it.
//!
//! Argument registers stay untouched on the way in. r11 and rax are free in this ABI: r11 carries
//! the slot, al the number of vector registers that a variadic function may find arguments in.

const barrier = @import("x86_64_barrier.zig");
const common = @import("common.zig");
const dispatch = @import("x86_64_dispatch.zig");
const entry = @import("x86_64_entry.zig");
const stack = @import("x86_64_stack.zig");
const stage = @import("x86_64_stage.zig");

pub const Slot = common.Slot;
pub const ThreadLocal = common.ThreadLocal;
pub const RecoveryFrame = @import("x86_64_frame.zig").RecoveryFrame;

/// The start of both bodies: the recovery frame but for its guard, and the TLS offset in rbx. A
/// jump to 3 follows where the offset has to be resolved at each call.
pub const enter =
    \\  pushq %rbp
    \\  .cfi_def_cfa_offset 16
    \\  .cfi_offset %rbp, -16
    \\  pushq %rbx
    \\  .cfi_def_cfa_offset 24
    \\  .cfi_offset %rbx, -24
    \\  pushq %r12
    \\  .cfi_def_cfa_offset 32
    \\  .cfi_offset %r12, -32
    \\  pushq %r13
    \\  .cfi_def_cfa_offset 40
    \\  .cfi_offset %r13, -40
    \\  pushq %r14
    \\  .cfi_def_cfa_offset 48
    \\  .cfi_offset %r14, -48
    \\  pushq %r15
    \\  .cfi_def_cfa_offset 56
    \\  .cfi_offset %r15, -56
    \\  movq fl_tls_offset(%rip), %rbx
    \\  subq $24, %rsp
    \\  .cfi_def_cfa_offset 80
    \\  stmxcsr 16(%rsp)
    \\  fnstcw 20(%rsp)
    \\  movq %r11, 8(%rsp)
    \\  testq %rbx, %rbx
    \\  jz 3f
;

/// Argument registers and r11 to 184 bytes at rsp, and back.
const save_arguments =
    \\  movups %xmm0, (%rsp)
    \\  movups %xmm1, 16(%rsp)
    \\  movups %xmm2, 32(%rsp)
    \\  movups %xmm3, 48(%rsp)
    \\  movups %xmm4, 64(%rsp)
    \\  movups %xmm5, 80(%rsp)
    \\  movups %xmm6, 96(%rsp)
    \\  movups %xmm7, 112(%rsp)
    \\  movq %rdi, 128(%rsp)
    \\  movq %rsi, 136(%rsp)
    \\  movq %rdx, 144(%rsp)
    \\  movq %rcx, 152(%rsp)
    \\  movq %r8, 160(%rsp)
    \\  movq %r9, 168(%rsp)
    \\  movq %r11, 176(%rsp)
;

const restore_arguments =
    \\  movups (%rsp), %xmm0
    \\  movups 16(%rsp), %xmm1
    \\  movups 32(%rsp), %xmm2
    \\  movups 48(%rsp), %xmm3
    \\  movups 64(%rsp), %xmm4
    \\  movups 80(%rsp), %xmm5
    \\  movups 96(%rsp), %xmm6
    \\  movups 112(%rsp), %xmm7
    \\  movq 128(%rsp), %rdi
    \\  movq 136(%rsp), %rsi
    \\  movq 144(%rsp), %rdx
    \\  movq 152(%rsp), %rcx
    \\  movq 160(%rsp), %r8
    \\  movq 168(%rsp), %r9
    \\  movq 176(%rsp), %r11
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
        \\.type fl_t\i, @function
        \\fl_t\i:
        \\  leaq fl_slots + 32 * \i(%rip), %r11
        \\  jmp fl_body
        \\.size fl_t\i, . - fl_t\i
        \\.p2align 4, 0xcc
        \\.endm
        \\.p2align 6, 0xcc
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
        \\.p2align 6, 0xcc
        \\.globl fl_body, fl_call, fl_return
        \\.hidden fl_body, fl_call, fl_return
        \\.type fl_body, @function
        \\fl_body:
        \\  .cfi_startproc
    ++ "\n" ++ enter ++ "\n" ++
        // The enclosing guard stays in a register across the call, which the callee keeps: read
        // back from the stack it would make each call wait for the stores of the one before.
        \\1:
        \\  movq %fs:(%rbx), %r12
        \\  movq %r12, (%rsp)
        \\  movq %rsp, %fs:(%rbx)
        \\  movl $8, %eax
        \\fl_call:
        \\  callq *(%r11)
        \\fl_return:
        \\  movq %r12, %fs:(%rbx)
        \\  movq %fs:8(%rbx), %rcx
        \\  testq %rcx, %rcx
        \\  jz 2f
        \\  movq %rax, 8(%rcx)
        \\  movsd %xmm0, 16(%rcx)
        \\2:
        \\  movq 48(%rsp), %r12
        \\  movq 56(%rsp), %rbx
        \\  addq $72, %rsp
        \\  .cfi_remember_state
        \\  .cfi_def_cfa_offset 8
        \\  .cfi_restore %rbp
        \\  .cfi_restore %rbx
        \\  .cfi_restore %r12
        \\  .cfi_restore %r13
        \\  .cfi_restore %r14
        \\  .cfi_restore %r15
        \\  ret
        \\  .cfi_restore_state
        \\3:
        \\  call fl_offset_keeping_arguments
        \\  movq %rax, %rbx
        \\  jmp 1b
        \\  .cfi_endproc
        \\.size fl_body, . - fl_body
    );
}

comptime {
    asm (
        \\.text
        // A recovery arrives here with rsp at the recovery frame, our TLS offset in rbx, MXCSR as
        // the frame has it, and the direction flag clear.
        \\.p2align 4, 0xcc
        \\.globl fl_landing
        \\.hidden fl_landing
        \\.type fl_landing, @function
        \\fl_landing:
        \\  .cfi_startproc
        \\  .cfi_def_cfa %rsp, 80
        \\  .cfi_offset %rbp, -16
        \\  .cfi_offset %rbx, -24
        \\  .cfi_offset %r12, -32
        \\  .cfi_offset %r13, -40
        \\  .cfi_offset %r14, -48
        \\  .cfi_offset %r15, -56
        \\  movq (%rsp), %rax
        \\  movq %rax, %fs:(%rbx)
        // The x87 is in its initial state. Control words are loaded only where they differ: each
        // load costs as much as the rest of the landing.
        \\  cmpw $0x37f, 20(%rsp)
        \\  jne 2f
        \\1:
        \\  movq 24(%rsp), %r15
        \\  movq 32(%rsp), %r14
        \\  movq 40(%rsp), %r13
        \\  movq 48(%rsp), %r12
        \\  movq 56(%rsp), %rbx
        \\  movq 64(%rsp), %rbp
        \\  addq $72, %rsp
        \\  .cfi_def_cfa_offset 8
        \\  xorl %eax, %eax
        \\  pxor %xmm0, %xmm0
        \\  ret
        \\2:
        \\  fldcw 20(%rsp)
        \\  jmp 1b
        \\  .cfi_endproc
        \\.size fl_landing, . - fl_landing
        //
        // Entry of a closed slot: the body called it, so rbx holds the TLS offset.
        \\.globl fl_closed
        \\.hidden fl_closed
        \\.type fl_closed, @function
        \\fl_closed:
        \\  .cfi_startproc
        \\  movq %fs:8(%rbx), %rcx
        \\  testq %rcx, %rcx
        \\  jz 1f
        \\  movl $2, 4(%rcx)
        \\1:
        \\  xorl %eax, %eax
        \\  pxor %xmm0, %xmm0
        \\  ret
        \\  .cfi_endproc
        \\.size fl_closed, . - fl_closed
        //
        // Entry of a slot whose handlers are not installed: installs them, then calls the target
        // with every argument register as it was.
        \\.globl fl_arm
        \\.hidden fl_arm
        \\.type fl_arm, @function
        \\fl_arm:
        \\  .cfi_startproc
        \\  subq $200, %rsp
        \\  .cfi_def_cfa_offset 208
    ++ "\n" ++ save_arguments ++ "\n" ++
        \\  movq %r11, %rdi
        \\  call fl_arm_slot
    ++ "\n" ++ restore_arguments ++ "\n" ++
        \\  addq $200, %rsp
        \\  .cfi_def_cfa_offset 8
        \\  movl $8, %eax
        \\  jmpq *8(%r11)
        \\  .cfi_endproc
        \\.size fl_arm, . - fl_arm
    );
}

comptime {
    asm (
        \\.text
        // Where the loader gave us dynamic TLS: the offset in rax, all argument registers and r11
        // kept. The resolver keeps general registers, but a first touch on a thread, or the first
        // after another library was loaded, allocates and loses vectors. Called with rsp 16-byte
        // aligned.
        \\.globl fl_offset_keeping_arguments
        \\.hidden fl_offset_keeping_arguments
        \\.type fl_offset_keeping_arguments, @function
        \\fl_offset_keeping_arguments:
        \\  .cfi_startproc
        \\  subq $184, %rsp
        \\  .cfi_def_cfa_offset 192
    ++ "\n" ++ save_arguments ++ "\n" ++
        \\  leaq fl_thread_local@tlsdesc(%rip), %rax
        \\  call *fl_thread_local@tlscall(%rax)
    ++ "\n" ++ restore_arguments ++ "\n" ++
        \\  addq $184, %rsp
        \\  .cfi_def_cfa_offset 8
        \\  ret
        \\  .cfi_endproc
        \\.size fl_offset_keeping_arguments, . - fl_offset_keeping_arguments
        //
        // The TLS offset of this thread, by the loader's resolver. May allocate: never in a
        // handler.
        \\.globl fl_resolve_offset
        \\.hidden fl_resolve_offset
        \\.type fl_resolve_offset, @function
        \\fl_resolve_offset:
        \\  .cfi_startproc
        \\  pushq %rbp
        \\  .cfi_def_cfa_offset 16
        \\  leaq fl_thread_local@tlsdesc(%rip), %rax
        \\  call *fl_thread_local@tlscall(%rax)
        \\  popq %rbp
        \\  .cfi_def_cfa_offset 8
        \\  ret
        \\  .cfi_endproc
        \\.size fl_resolve_offset, . - fl_resolve_offset
        // The argument word of the TLS descriptor: the offset itself when the block is static.
        \\.globl fl_descriptor_argument
        \\.hidden fl_descriptor_argument
        \\.type fl_descriptor_argument, @function
        \\fl_descriptor_argument:
        \\  .cfi_startproc
        \\  leaq fl_thread_local@tlsdesc(%rip), %rax
        \\  movq 8(%rax), %rax
        \\  ret
        \\  .cfi_endproc
        \\.size fl_descriptor_argument, . - fl_descriptor_argument
    );
}

extern fn fl_call() callconv(.c) void;
extern fn fl_return() callconv(.c) void;

/// Whether `ip` is the instruction that calls a guarded function. It faults itself, with nothing
/// pushed, when the function's address is not canonical.
pub fn isCallSite(ip: u64) bool {
    return ip == @intFromPtr(&fl_call) or ip == stack.callSite();
}

/// The word that lies below a recovery frame while its call runs, and how far below. `slot` is the
/// frame's.
pub fn returnAddress(slot: *const Slot, by_registers: bool) struct { distance: u64, value: u64 } {
    if (by_registers) return .{ .distance = 8, .value = @intFromPtr(&fl_return) };
    return .{ .distance = @as(u64, slot.stack_bytes) + 8, .value = stack.stackReturnAddress() };
}

/// Whether `ip` is where a guarded function comes back to, or where it calls a barrier: single
/// steps that a hook asked for end there.
pub fn leavesGuarded(ip: u64) bool {
    if (ip == @intFromPtr(&fl_return) or ip == stack.stackReturnAddress()) return true;
    return common.isBarrier(ip);
}

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
pub const dispatch_context = dispatch.context_offset;
pub const callDeeper = dispatch.callDeeper;
pub const dispatchEntry = dispatch.dispatchEntry;
pub const runStage = stage.runStage;
pub const abandonStage = stage.abandonStage;

/// fs:0 on x86-64 holds the thread's own thread pointer, under glibc and musl.
pub inline fn threadPointer() u64 {
    return asm volatile ("movq %%fs:0, %[result]"
        : [result] "=r" (-> u64),
    );
}

comptime {
    // Their assembly belongs to the library, though nothing of theirs is named elsewhere.
    _ = barrier;
    _ = entry;
}
