#include "userspace/tls/keyed_hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "userspace/base/text.h"

namespace tollgate::tls {

std::string keyed_hash(const Secret& key, std::string_view text) {
  constexpr size_t kBytesKept = 16;
  unsigned char digest[EVP_MAX_MD_SIZE];
  const std::string_view secret = key.reveal();
  TG_ASSERT(HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                 reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest,
                 nullptr) != nullptr);
  return hex(std::span(digest).first(kBytesKept));
}

}  // namespace tollgate::tls
