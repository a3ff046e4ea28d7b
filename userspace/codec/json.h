// What the readers of request and answer JSON share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

// Errors come back as codes; nothing of ours may throw through the parser.
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

namespace tollgate::codec {

// Deeper than any tool schema, shallower than what exhausts a recursive reader, upstream or here.
inline constexpr size_t kJsonDepthMax = 256;
inline constexpr size_t kNameBytesMax = 256;

// Of a model, a tier, a tool: not empty, bounded, Unicode without control characters.
bool is_plain_name(std::string_view name);
// 10.0 and 1e3 are doubles to the parser and thus refused, as they are by typed readers upstream.
bool read_count(const simdjson::dom::element& value, uint64_t& count);

}  // namespace tollgate::codec
