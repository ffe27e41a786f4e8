//! Where the kernel enters on x86-64, the way back, and the few instructions that may fault inside
//! the handler.

comptime {
    asm (
        \\.text
        // Where the kernel enters. It clears DF and TF but leaves AC set, and then the first
        // misaligned access of compiled code would fault again (defect X9 of hw-exception).
        \\.p2align 4, 0xcc
        \\.globl fl_handler
        \\.hidden fl_handler
        \\.type fl_handler, @function
        \\fl_handler:
        \\  .cfi_startproc
        \\  movq %rsp, %rcx
        \\  pushfq
        \\  .cfi_adjust_cfa_offset 8
        \\  popq %rax
        \\  .cfi_adjust_cfa_offset -8
        \\  testl $0x40000, %eax
        \\  jnz 1f
        \\  jmp fl_handle_signal
        \\1:
        \\  andl $~0x40000, %eax
        \\  pushq %rax
        \\  .cfi_adjust_cfa_offset 8
        \\  popfq
        \\  .cfi_adjust_cfa_offset -8
        \\  jmp fl_handle_signal
        \\  .cfi_endproc
        \\.size fl_handler, . - fl_handler
        //
        // The return from a handler. Unwinders know it by these very bytes.
        \\  nop
        \\.globl fl_restorer
        \\.hidden fl_restorer
        \\.type fl_restorer, @function
        \\fl_restorer:
        \\  movq $15, %rax
        \\  syscall
        \\.size fl_restorer, . - fl_restorer
        //
        // Reads that may fault inside the handler; it resumes them at their end.
        // u64 fl_probe_copy(to, from, length): bytes that could not be copied. Vectors first; where
        // one reaches into memory that is not there, its bytes one by one up to the last that is.
        \\.p2align 4, 0xcc
        \\.globl fl_probe_copy, fl_probe_copy_vector, fl_probe_copy_bytes
        \\.hidden fl_probe_copy, fl_probe_copy_vector, fl_probe_copy_bytes
        \\.globl fl_probe_copy_byte, fl_probe_copy_end
        \\.hidden fl_probe_copy_byte, fl_probe_copy_end
        \\.type fl_probe_copy, @function
        \\fl_probe_copy:
        \\  .cfi_startproc
        \\1:
        \\  cmpq $16, %rdx
        \\  jb fl_probe_copy_bytes
        \\fl_probe_copy_vector:
        \\  movups (%rsi), %xmm0
        \\  movups %xmm0, (%rdi)
        \\  addq $16, %rsi
        \\  addq $16, %rdi
        \\  subq $16, %rdx
        \\  jmp 1b
        \\fl_probe_copy_bytes:
        \\  testq %rdx, %rdx
        \\  jz fl_probe_copy_end
        \\fl_probe_copy_byte:
        \\  movb (%rsi), %al
        \\  movb %al, (%rdi)
        \\  incq %rsi
        \\  incq %rdi
        \\  decq %rdx
        \\  jmp fl_probe_copy_bytes
        \\fl_probe_copy_end:
        \\  movq %rdx, %rax
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_copy, . - fl_probe_copy
        // u64 fl_probe_load(from, *to): 0 when the word at `from` was stored to `to`.
        \\.globl fl_probe_load, fl_probe_load_fault, fl_probe_load_end
        \\.hidden fl_probe_load, fl_probe_load_fault, fl_probe_load_end
        \\.type fl_probe_load, @function
        \\fl_probe_load:
        \\  .cfi_startproc
        \\  movl $1, %eax
        \\fl_probe_load_fault:
        \\  movq (%rdi), %rdx
        \\  xorl %eax, %eax
        \\  movq %rdx, (%rsi)
        \\fl_probe_load_end:
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_load, . - fl_probe_load
        // u64 fl_probe_pages(first, last): 1 when a byte of every page from `first` to `last` can
        // be read. No byte outside these is touched.
        \\.p2align 4, 0xcc
        \\.globl fl_probe_pages, fl_probe_pages_fault, fl_probe_pages_end
        \\.hidden fl_probe_pages, fl_probe_pages_fault, fl_probe_pages_end
        \\.type fl_probe_pages, @function
        \\fl_probe_pages:
        \\  .cfi_startproc
        \\  xorl %eax, %eax
        \\fl_probe_pages_fault:
        \\  testb $0, (%rdi)
        \\  orq $4095, %rdi
        \\  addq $1, %rdi
        \\  jc 1f
        \\  cmpq %rsi, %rdi
        \\  jbe fl_probe_pages_fault
        \\1:
        \\  movl $1, %eax
        \\fl_probe_pages_end:
        \\  ret
        \\  .cfi_endproc
        \\.size fl_probe_pages, . - fl_probe_pages
    );
}
