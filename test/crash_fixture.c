// Faults of every kind, for the tests of the crash reporter. Each happens on the line that says so.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEEP __attribute__((noinline))

#if defined(__aarch64__)
#define ILLEGAL "udf #0"
#define BREAKPOINT "brk #0"
#define BAD_STACK "mov x9, #0x10\n\tmov sp, x9\n\tstr x9, [sp, #-16]!"
#define BAD_FRAME "mov x29, #0x1230000\n\tmov x9, #0\n\tldr w9, [x9]"
#define SIGNAL_FRAME 8192
#else
#define ILLEGAL "ud2"
#define BREAKPOINT "int3"
#define BAD_STACK "movq $0x10, %rsp\n\tpushq $1"
#define BAD_FRAME "movq $0x1234567, %rbp\n\tmovq $0, %rax\n\tmovl (%rax), %eax"
#define SIGNAL_FRAME 3072
#endif

static KEEP int read_word(volatile int *from) {
  return *from + 1; // faults: cf_segv
}
KEEP int cf_segv(void) { return read_word((int *)16) + 1; }

KEEP int cf_bus(void) {
  int file = syscall(SYS_memfd_create, "empty", 0);
  volatile char *page = mmap(0, 4096, PROT_READ, MAP_SHARED, file, 0);
  return page[8] + 1; // faults: cf_bus
}

KEEP int cf_fpe(void) {
  volatile int one = 1, zero = 0;
  return one / zero; // faults: cf_fpe
}

KEEP int cf_ill(void) {
  __asm__ volatile(ILLEGAL); // faults: cf_ill
  return 1;
}

KEEP int cf_trap(void) {
  __asm__ volatile(BREAKPOINT); // faults: cf_trap
  return 1;
}

KEEP int cf_abort(void) {
  abort(); // faults: cf_abort
}

KEEP int cf_sys(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
  return syscall(SYS_getppid) + 1; // faults: cf_sys
}

KEEP int cf_recurse(volatile char *above) {
  volatile char block[512];
  return cf_recurse((block[0] = above[0], block)) + block[0]; // faults: cf_overflow
}
KEEP int cf_overflow(void) {
  volatile char start = 1;
  return cf_recurse(&start);
}

// The same on a thread that the runtime knows nothing of.
static void *run(void *function) {
  ((int (*)(void))function)();
  return 0;
}
KEEP int cf_on_thread(void *function) {
  pthread_t thread;
  pthread_create(&thread, 0, run, function);
  return pthread_join(thread, 0);
}

// Stuck in native code.
KEEP int cf_sleep(int seconds) { return sleep(seconds); }

// From now on no file can be written.
#include <sys/resource.h>
KEEP int cf_no_files(void) {
  struct rlimit none = {0, 0};
  return setrlimit(RLIMIT_FSIZE, &none);
}

// With a stack pointer that leads nowhere.
KEEP int cf_bad_stack(void) {
  __asm__ volatile(BAD_STACK);
  return 1;
}
KEEP int cf_bad_frame(void) {
  __asm__ volatile(BAD_FRAME);
  return 1;
}

// In a callback of dl_iterate_phdr, which holds the loader's lock.
#include <link.h>
static int fault_inside(struct dl_phdr_info *info, size_t size, void *data) { return cf_segv(); }
KEEP int cf_in_loader(void) { return dl_iterate_phdr(fault_inside, 0); }

// In a signal's handler on an alternate stack that is nearly used up: but for what the kernel lays
// there for two signals, a processor with longer vectors included.
static char small_stack[10 * 1024 + 2 * SIGNAL_FRAME] __attribute__((aligned(4096)));
static void fault_in_handler(int signal) {
  volatile char used[10 * 1024];
  used[0] = 1;
  cf_segv();
  used[1] = used[0];
}
KEEP int cf_full_alternate_stack(void) {
  stack_t own = {small_stack, 0, sizeof small_stack};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = fault_in_handler;
  action.sa_flags = SA_ONSTACK;
  sigaltstack(&own, 0);
  sigaction(SIGUSR2, &action, 0);
  return raise(SIGUSR2);
}

// With the allocator's lock held: a faulting thread that is inside malloc itself. The hole in the
// heap's list is made by writing over a free block.
KEEP int cf_in_malloc(void) {
  for (int round = 0; round < 64; round++) {
    void *blocks[64];
    for (int i = 0; i < 64; i++) blocks[i] = malloc(2000);
    for (int i = 0; i < 64; i += 2) free(blocks[i]);
    for (int i = 0; i < 64; i += 2) memset(blocks[i], 0x41, 16);
    for (int i = 0; i < 64; i++) malloc(2100 + 16 * i);
  }
  return 1;
}

// What a program's own handler gets, for another writer of minidumps: it waits until it is killed.
#include <fcntl.h>
#include <ucontext.h>
static char note_path[4096], part_path[4096];
static void note_and_wait(int signal, siginfo_t *info, void *context) {
  int64_t head[] = {syscall(SYS_gettid), signal, info->si_code, (int64_t)info->si_addr};
  int file = open(part_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  write(file, head, sizeof head);
  write(file, context, sizeof(ucontext_t));
  rename(part_path, note_path);
  for (;;) pause();
}
KEEP int cf_wait_in_handler(const char *path) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = note_and_wait;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  snprintf(note_path, sizeof note_path, "%s", path);
  snprintf(part_path, sizeof part_path, "%s.part", path);
  return sigaction(SIGSEGV, &action, 0);
}
