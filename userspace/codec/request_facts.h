// What each interface's top-level keys tell.
#pragma once

#include <cstddef>
#include <string_view>

#include "userspace/codec/api.h"
#include "userspace/codec/json.h"
#include "userspace/codec/responses.h"

namespace tollgate::codec {

// More kinds than there are; keeps the search among them short.
inline constexpr size_t kHostedToolsMax = 64;

// Of any key but "model". False when the value is of a wrong kind.
bool read_fact(Api api, std::string_view key, const simdjson::dom::element& value,
               RequestFacts& facts);

}  // namespace tollgate::codec
