/* Known lines for backtrace_test.ts, which compiles it in several ways. Each fault is on a line of
   its own, which ends with a comment that names the site. */
#include <signal.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
#define NEVER_INLINED __attribute__((noinline))
#define ALWAYS_INLINED static inline __attribute__((always_inline))

volatile int sink;

ALWAYS_INLINED int deref(volatile int *pointer) {
  return *pointer + 1; /* deref */
}

ALWAYS_INLINED int twice(volatile int *pointer) {
  sink = 1; return 2 * deref(pointer); /* twice */
}

NEVER_INLINED static int store(int *pointer, int value) {
  int before = sink;
  *(volatile int *)pointer = value; /* store */
  return before + sink;
}

NEVER_INLINED static int middle(int *pointer, int depth) {
  volatile char padding[64];
  padding[depth & 63] = 1;
  if (depth > 0) return middle(pointer, depth - 1) + padding[0]; /* recursion */
  return store(pointer, depth) + padding[1]; /* middle */
}

EXPORT int bt_store(void) {
  return middle((int *)16, 3) + sink; /* bt_store */
}

EXPORT int bt_inlined(void) {
  int result = twice((volatile int *)24); /* bt_inlined */
  return result + sink;
}

static int compare(const void *left, const void *right) {
  sink += *(const int *)left;
  return *(volatile int *)32 - *(const int *)right; /* compare */
}

EXPORT int bt_sort(void) {
  int values[4] = {4, 2, 3, 1};
  qsort(values, 4, sizeof(int), compare); /* bt_sort */
  return values[0] + sink;
}

EXPORT int bt_jump(void) {
  int (*volatile target)(void) = (int (*)(void))64;
  int result = target(); /* bt_jump */
  return result + sink;
}

NEVER_INLINED static int bulky(int *pointer) {
  volatile char padding[20000];
  padding[sink & 4095] = 1;
  return store(pointer, padding[5]) + padding[7]; /* bulky */
}

EXPORT int bt_bulky(void) {
  return bulky((int *)40) + sink; /* bt_bulky */
}

#ifdef __aarch64__
#define TRAP() __asm__ volatile("udf #0")
#else
#define TRAP() __asm__ volatile("ud2")
#endif

EXPORT int bt_divide(int divisor) {
  volatile int dividend = 7;
  return dividend / divisor; /* bt_divide */
}

EXPORT int bt_trap(void) {
  sink = 5;
  TRAP(); /* bt_trap */
  return sink;
}

EXPORT int bt_arguments(int a, int b, int c, int d, int e, int f, int g, int h, int *pointer) {
  return store(pointer, a + b + c + d + e + f + g + h) + sink; /* bt_arguments */
}

static void on_signal(int number) {
  *(volatile int *)56 = number; /* on_signal */
}

/* The handler is gone when it has begun: nothing stays behind. */
EXPORT int bt_signal(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_NODEFER};
  sigaction(SIGUSR2, &action, 0);
  raise(SIGUSR2); /* bt_signal */
  return sink;
}
