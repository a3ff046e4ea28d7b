#include "policy/visible.h"

#include <algorithm>

namespace tollgate::policy {

std::string visible(std::string_view text) {
  std::string shown(text.substr(0, kVisibleBytesMax));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c <= ' ' || c >= '\x7f'; }, '?');
  if (text.size() > kVisibleBytesMax) shown += "...";
  return shown;
}

}  // namespace tollgate::policy
