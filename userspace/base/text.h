// Text from strangers on its way to a log or a sentence.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tollgate {

// Visible ASCII but the double quote stays; every other byte becomes '?', so that a name cannot
// forge a log line or a terminal sequence.
std::string printable(std::string_view text);

std::string hex(std::span<const uint8_t> bytes);
std::string base64(std::span<const uint8_t> bytes);
// Whether it is what base64() makes of so many bytes: padded, and no other text for the same bytes.
bool is_base64(std::string_view text, size_t bytes);

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace tollgate
