#include "userspace/codec/json.h"

#include <algorithm>

namespace tollgate::codec {

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::none_of(name.begin(), name.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }) &&
         simdjson::validate_utf8(name.data(), name.size());
}

bool read_count(const simdjson::dom::element& value, uint64_t& count) {
  return (value.is_uint64() || value.is_int64()) && value.get(count) == simdjson::SUCCESS;
}

}  // namespace tollgate::codec
