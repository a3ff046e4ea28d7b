// HMAC-SHA256, cut to 128 bits and written in hex: tells equal texts from others, and says nothing
// else about them to whoever lacks the key (RFC 2104; RFC 4868 cuts to the same length).
#pragma once

#include <string>
#include <string_view>

#include "userspace/base/secret.h"

namespace tollgate::tls {

std::string keyed_hash(const Secret& key, std::string_view text);

}  // namespace tollgate::tls
