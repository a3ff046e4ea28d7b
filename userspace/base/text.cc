#include "userspace/base/text.h"

#include <algorithm>

namespace tollgate {

std::string printable(std::string_view text) {
  std::string out(text);
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~' || c == '"'; }, '?');
  return out;
}

}  // namespace tollgate
