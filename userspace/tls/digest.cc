#include "userspace/tls/digest.h"

#include <openssl/evp.h>

#include <array>

#include "userspace/base/result.h"
#include "userspace/base/text.h"

namespace tollgate::tls {

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  TG_ASSERT(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr) ==
            1);
  return hex(std::span(digest).first(length));
}

}  // namespace tollgate::tls
