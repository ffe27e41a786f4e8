// Calls one function of a library, with nobody to report its fault.
#include <dlfcn.h>

int main(int count, char **words) {
  void *library = dlopen(words[1], RTLD_NOW);
  int (*function)(void) = (int (*)(void))dlsym(library, words[2]);
  return function();
}
