/* Faults whose numbers the C headers name: each test asks for the number by name. */
#define _GNU_SOURCE
#include <signal.h>
#include <stddef.h>
#include <string.h>

#define FACT(name) {#name, name}
#define FIELD(name) {#name, offsetof(siginfo_t, name)}

static const struct {
  const char *name;
  long long value;
} facts[] = {
  FACT(SIGSEGV), FACT(SIGBUS), FACT(SIGFPE), FACT(SIGILL), FACT(SIGTRAP),
  FACT(SEGV_MAPERR), FACT(SEGV_ACCERR), FACT(BUS_ADRERR), FACT(FPE_INTDIV), FACT(FPE_FLTDIV),
  FACT(ILL_ILLOPN), FACT(TRAP_TRACE), FACT(SI_KERNEL), FACT(BUS_MCEERR_AR), FACT(BUS_MCEERR_AO),
  FIELD(si_signo), FIELD(si_errno), FIELD(si_code), FIELD(si_addr),
  FIELD(si_addr_lsb), FIELD(si_lower), FIELD(si_upper), FIELD(si_pkey), FIELD(si_syscall),
  FACT(SEGV_BNDERR), FACT(SEGV_PKUERR), FACT(SIGSYS), FACT(SYS_SECCOMP),
  {"sizeof", sizeof(siginfo_t)},
};

/* -1000 for a name that is not listed. */
long long hd_number(const char *name) {
  for (size_t at = 0; at < sizeof facts / sizeof *facts; at++) {
    if (strcmp(facts[at].name, name) == 0) return facts[at].value;
  }
  return -1000;
}

int hd_read(const volatile int *from) { return *from; }

void hd_write(volatile int *to, int value) { *to = value; }

#ifdef __x86_64__

int hd_divide(int a, int b) {
  int quotient;
  __asm__ volatile("cltd; idivl %2" : "=a"(quotient) : "a"(a), "r"(b) : "edx", "cc");
  return quotient;
}

/* Division by zero is unmasked: bit 9 of MXCSR. */
double hd_float_divide(double a, double b) {
  unsigned control, unmasked;
  __asm__ volatile("stmxcsr %0" : "=m"(control));
  unmasked = control & ~0x23fu;
  __asm__ volatile("ldmxcsr %1; divsd %2, %0" : "+x"(a) : "m"(unmasked), "x"(b));
  __asm__ volatile("ldmxcsr %0" : : "m"(control));
  return a;
}

void hd_ud2(void) { __asm__ volatile("ud2"); }

/* The trap comes after the instruction that follows popf. */
int hd_step(void) {
  __asm__ volatile(
    "lea -128(%%rsp), %%rsp; pushf; orl $0x100, (%%rsp); popf; nop; lea 128(%%rsp), %%rsp"
    : : : "cc", "memory");
  return 7;
}

unsigned long long hd_flags(void) {
  unsigned long long flags;
  __asm__ volatile("lea -128(%%rsp), %%rsp; pushf; pop %0; lea 128(%%rsp), %%rsp" : "=r"(flags));
  return flags;
}

/* A misaligned store, while a register that it does not use holds a number that is no pointer. */
void hd_store_vector(void *to) {
  __asm__ volatile("movaps %%xmm0, (%0)" : : "r"(to), "a"(0x123456789abcdef0ull) : "memory");
}

int hd_read_sum(const char *base, unsigned long long index) {
  int value;
  __asm__ volatile("movl 8(%1, %2, 4), %0" : "=r"(value) : "r"(base), "r"(index));
  return value;
}

#else

/* Of the above, what arm64 has: an illegal instruction. */
void hd_ud2(void) { __asm__ volatile("udf #0"); }

#endif

void hd_call(void (*function)(void)) { function(); __asm__ volatile(""); }
