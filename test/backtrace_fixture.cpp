// Known names for backtrace_test.ts: namespaces, classes, templates, and a fault below libstdc++.
#include <algorithm>
#include <ostream>
#include <streambuf>
#include <vector>

static volatile int sink;

namespace shapes {

template <typename T> struct Box {
  T *content;
  __attribute__((noinline)) T read(int index) {
    sink = index;
    return const_cast<volatile T *>(content)[index]; /* read */
  }
};

namespace {
__attribute__((noinline)) int hidden(int value) {
  Box<int> box{nullptr};
  return box.read(value) + sink; /* hidden */
}
} // namespace

class Circle {
public:
  virtual ~Circle() {}
  virtual int area(int radius);
};

__attribute__((noinline)) int Circle::area(int radius) {
  return hidden(radius) + sink; /* area */
}

} // namespace shapes

extern "C" __attribute__((visibility("default"))) int cpp_area(int radius) {
  shapes::Circle circle;
  return circle.area(radius) + sink; /* cpp_area */
}

extern "C" __attribute__((visibility("default"))) int cpp_sort() {
  std::vector<int> values{3, 1, 2};
  std::sort(values.begin(), values.end(), [](int left, int right) {
    return left + *reinterpret_cast<volatile int *>(8) < right; /* lambda */
  });
  return values[0];
}

namespace {
struct Buffer : std::streambuf {
  int overflow(int) override {
    return *reinterpret_cast<volatile int *>(16); /* overflow */
  }
};
} // namespace

extern "C" __attribute__((visibility("default"))) int cpp_stream() {
  Buffer buffer;
  std::ostream stream(&buffer);
  stream << "text"; /* cpp_stream */
  return stream.good();
}
