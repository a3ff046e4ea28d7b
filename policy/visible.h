// Text that a client chose, made fit for a sentence, a header or a log line.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tollgate::policy {

inline constexpr size_t kVisibleBytesMax = 64;

// At most 64 bytes of visible ASCII; any other byte becomes '?', and a cut shows as "...".
std::string visible(std::string_view text);

}  // namespace tollgate::policy
