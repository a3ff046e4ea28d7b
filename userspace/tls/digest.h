// SHA-256 as text, for names of contents.
#pragma once

#include <string>
#include <string_view>

namespace tollgate::tls {

std::string sha256_hex(std::string_view bytes);  // 64 digits in lower case

}  // namespace tollgate::tls
