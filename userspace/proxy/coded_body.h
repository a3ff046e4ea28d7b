// A request's body that came as gzip or zstd. It is forwarded as it came; what the gateway reads is
// a decoded copy, made when all of it is there and gone when the request is decided.
#pragma once

#include <cstdint>
#include <optional>

#include "policy/decision.h"
#include "userspace/codec/coding.h"
#include "userspace/proxy/body.h"

namespace tollgate::proxy {

// The most that the decoded copy may be, of so many coded bytes; nothing where there is none.
uint64_t plain_room(codec::Coding coding, uint64_t coded_bytes, uint64_t body_bytes_max);

// Into `plain`, within the room that it has. Says what is wrong with it.
std::optional<policy::Refusal> decode_body(codec::Coding coding, const Body& coded, Body& plain);

// "gzip", "zstd"
std::string_view name_of(codec::Coding coding);

}  // namespace tollgate::proxy
