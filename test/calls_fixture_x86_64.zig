//! The functions of calls_fixture.zig that are assembly, on x86-64.

comptime {
    asm (
        \\.text
        \\.macro CX_FUNCTION name
        \\.globl \name
        \\.type \name, @function
        \\\name:
        \\.endm
        // u64 cx_load(u64 address)
        \\CX_FUNCTION cx_load
        \\  movq (%rdi), %rax
        \\  ret
        // i32 cx_back_control(u32 mxcsr, u32 x87, i32 (*function)(i32), u32 into[2]): sets both
        // control words, calls back with 7, notes both control words, uses the x87 unit, and puts
        // the defaults back.
        \\CX_FUNCTION cx_back_control
        \\  pushq %rbx
        \\  pushq %r12
        \\  subq $8, %rsp
        \\  movq %rcx, %rbx
        \\  movl %edi, (%rsp)
        \\  ldmxcsr (%rsp)
        \\  movw %si, (%rsp)
        \\  fldcw (%rsp)
        \\  movl $7, %edi
        \\  callq *%rdx
        \\  movl %eax, %r12d
        \\  stmxcsr (%rsp)
        \\  movl (%rsp), %eax
        \\  andl $0xffc0, %eax
        \\  movl %eax, (%rbx)
        \\  fnstcw (%rsp)
        \\  movzwl (%rsp), %eax
        \\  movl %eax, 4(%rbx)
        \\  fld1
        \\  fstp %st(0)
        \\  fnclex
        \\  movl $0x1f80, (%rsp)
        \\  ldmxcsr (%rsp)
        \\  movw $0x37f, (%rsp)
        \\  fldcw (%rsp)
        \\  movl %r12d, %eax
        \\  addq $8, %rsp
        \\  popq %r12
        \\  popq %rbx
        \\  ret
        // i32 cx_native_invalid(i32): leaves the sticky flag "invalid" in the x87 status word, as
        // JavaScript engines do, and gives its argument.
        \\CX_FUNCTION cx_native_invalid
        \\  fldz
        \\  fldz
        \\  fdivp
        \\  fstp %st(0)
        \\  movl %edi, %eax
        \\  ret
        // f64 cx_fltdiv(f64, f64): division with the exception "divide by zero" unmasked
        \\CX_FUNCTION cx_fltdiv
        \\  stmxcsr -8(%rsp)
        \\  andl $~0x200, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  divsd %xmm1, %xmm0
        \\  stmxcsr -8(%rsp)
        \\  orl $0x200, -8(%rsp)
        \\  ldmxcsr -8(%rsp)
        \\  ret
        // void cx_x87_div(u16 control): x87 division by zero under a control word
        \\CX_FUNCTION cx_x87_div
        \\  movw %di, -8(%rsp)
        \\  fldcw -8(%rsp)
        \\  fld1
        \\  fldz
        \\  fdivrp
        \\  fwait
        \\  ret
        // void cx_fault_with_upper_halves(u64 address): sets the upper halves of the vectors first
        \\CX_FUNCTION cx_fault_with_upper_halves
        \\  vpcmpeqd %ymm0, %ymm0, %ymm0
        \\  vpcmpeqd %ymm7, %ymm7, %ymm7
        \\  vpcmpeqd %ymm15, %ymm15, %ymm15
        \\  movq (%rdi), %rax
        \\  ret
        // u64 cx_upper_halves(): not 0 when an upper half of a vector is in use
        \\CX_FUNCTION cx_upper_halves
        \\  vextractf128 $1, %ymm0, %xmm0
        \\  vextractf128 $1, %ymm7, %xmm1
        \\  vextractf128 $1, %ymm15, %xmm2
        \\  vpor %xmm1, %xmm0, %xmm0
        \\  vpor %xmm2, %xmm0, %xmm0
        \\  vpextrq $0, %xmm0, %rax
        \\  vpextrq $1, %xmm0, %rcx
        \\  orq %rcx, %rax
        \\  vzeroupper
        \\  ret
    );
}
