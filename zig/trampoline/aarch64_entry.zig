//! Where the kernel enters on arm64, the way back, and the few instructions that may fault inside
//! the handler.

comptime {
    asm (
        \\.text
        // Where the kernel enters.
        \\.p2align 4
        \\.globl fl_handler
        \\.hidden fl_handler
        \\.type fl_handler, %function
        \\fl_handler:
        \\  .cfi_startproc
        \\  hint #34
        \\  mov x3, sp
        \\  b fl_handle_signal
        \\  .cfi_endproc
        \\.size fl_handler, . - fl_handler
        //
        // The return from a handler. Unwinders know it by these very bytes.
        \\  nop
        \\.globl fl_restorer
        \\.hidden fl_restorer
        \\.type fl_restorer, %function
        \\fl_restorer:
        \\  mov x8, #139
        \\  svc #0
        \\.size fl_restorer, . - fl_restorer
        //
        // Reads that may fault inside the handler; it resumes them at their end.
        // u64 fl_probe_copy(to, from, length): bytes that could not be copied. Vectors first; where
        // one reaches into memory that is not there, its bytes one by one up to the last that is.
        \\.p2align 4
        \\.globl fl_probe_copy, fl_probe_copy_vector, fl_probe_copy_bytes
        \\.hidden fl_probe_copy, fl_probe_copy_vector, fl_probe_copy_bytes
        \\.globl fl_probe_copy_byte, fl_probe_copy_end
        \\.hidden fl_probe_copy_byte, fl_probe_copy_end
        \\.type fl_probe_copy, %function
        \\fl_probe_copy:
        \\  .cfi_startproc
        \\1:
        \\  cmp x2, #16
        \\  b.lo fl_probe_copy_bytes
        \\fl_probe_copy_vector:
        \\  ldr q0, [x1]
        \\  str q0, [x0], #16
        \\  add x1, x1, #16
        \\  sub x2, x2, #16
        \\  b 1b
        \\fl_probe_copy_bytes:
        \\  cbz x2, fl_probe_copy_end
        \\fl_probe_copy_byte:
        \\  ldrb w9, [x1]
        \\  strb w9, [x0], #1
        \\  add x1, x1, #1
        \\  sub x2, x2, #1
        \\  b fl_probe_copy_bytes
        \\fl_probe_copy_end:
        \\  mov x0, x2
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_copy, . - fl_probe_copy
        // u64 fl_probe_load(from, *to): 0 when the word at `from` was stored to `to`.
        \\.globl fl_probe_load, fl_probe_load_fault, fl_probe_load_end
        \\.hidden fl_probe_load, fl_probe_load_fault, fl_probe_load_end
        \\.type fl_probe_load, %function
        \\fl_probe_load:
        \\  .cfi_startproc
        \\  mov x2, x0
        \\  mov x0, #1
        \\fl_probe_load_fault:
        \\  ldr x9, [x2]
        \\  mov x0, #0
        \\  str x9, [x1]
        \\fl_probe_load_end:
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_load, . - fl_probe_load
        // u64 fl_probe_pages(first, last): 1 when a byte of every page from `first` to `last` can
        // be read, by the smallest pages that there are. No byte outside these is touched.
        \\.p2align 4
        \\.globl fl_probe_pages, fl_probe_pages_fault, fl_probe_pages_end
        \\.hidden fl_probe_pages, fl_probe_pages_fault, fl_probe_pages_end
        \\.type fl_probe_pages, %function
        \\fl_probe_pages:
        \\  .cfi_startproc
        \\  mov x2, x0
        \\  mov x0, #0
        \\fl_probe_pages_fault:
        \\  ldrb wzr, [x2]
        \\  orr x2, x2, #4095
        \\  adds x2, x2, #1
        \\  b.cs 1f
        \\  cmp x2, x1
        \\  b.ls fl_probe_pages_fault
        \\1:
        \\  mov x0, #1
        \\fl_probe_pages_end:
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_pages, . - fl_probe_pages
    );
}
