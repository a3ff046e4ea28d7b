// SHA-1 (FIPS 180-4) of a short text, for the WebSocket handshake alone, where it guards nothing:
// it shows that the peer speaks the protocol. OpenSSL's reads files and the environment first.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tollgate::codec {

std::array<uint8_t, 20> sha1(std::string_view text);

}  // namespace tollgate::codec
