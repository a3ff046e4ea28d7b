#include <cstdio>
#include <cstdlib>

#include "userspace/base/result.h"

namespace tollgate {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "tollgate: %s:%d: assertion failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace tollgate
