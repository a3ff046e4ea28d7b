#include "userspace/tls/keyed_hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace tollgate::tls {

std::string keyed_hash(const Secret& key, std::string_view text) {
  constexpr size_t kBytesKept = 16;
  constexpr char kHex[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  const std::string_view secret = key.reveal();
  TG_ASSERT(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                 reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest,
                 nullptr) != nullptr);
  std::string hex;
  for (size_t i = 0; i < kBytesKept; ++i) {
    hex += kHex[digest[i] >> 4];
    hex += kHex[digest[i] & 0xf];
  }
  return hex;
}

}  // namespace tollgate::tls
