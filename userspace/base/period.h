#pragma once

#include <cstdint>

namespace tollgate {

struct Period {  // [start, end) in wall-clock milliseconds since 1970
  int64_t start_unix_ms = 0;
  int64_t end_unix_ms = 0;
};

}  // namespace tollgate
