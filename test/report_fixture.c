/* Known lines for the tests of reports, and for the picture in the README. */
struct node {
  int value;
  struct node *next;
};

static __attribute__((noinline)) int last_value(const struct node *list) {
  while (list->next != 0) list = list->next;
  return list->value;
}

__attribute__((noinline)) int sum_of_ends(const struct node *list) {
  return list->value + last_value(list->next);
}

__attribute__((visibility("default"))) int list_sum(const struct node *list) {
  int sum = sum_of_ends(list);
  return sum + 1;
}

__attribute__((visibility("default"))) int store(int *target) {
  *(volatile int *)target = 1;
  return *target;
}

__attribute__((visibility("default"))) int count_down(int from) {
  volatile char digits[200];
  digits[0] = (char)from;
  return from == 0 ? 0 : count_down(from - 1) + digits[0];
}
