#include "tests/unit/tls/raw_records.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <memory>
#include <utility>

#include "userspace/base/result.h"

namespace tollgate::tls {
namespace {

constexpr size_t kIvBytes = 12;
constexpr size_t kTagBytes = 16;

struct Suite {
  const char* name;
  const char* digest;
  const char* cipher;
  size_t key_bytes;
};
constexpr Suite kSuites[] = {
    {"TLS_AES_128_GCM_SHA256", "SHA256", "AES-128-GCM", 16},
    {"TLS_AES_256_GCM_SHA384", "SHA384", "AES-256-GCM", 32},
    {"TLS_CHACHA20_POLY1305_SHA256", "SHA256", "ChaCha20-Poly1305", 32},
};

const Suite& suite_named(std::string_view name) {
  for (const Suite& each : kSuites) {
    if (name == each.name) return each;
  }
  TG_ASSERT(false);
  return kSuites[0];
}

struct Free {
  void operator()(EVP_KDF* p) const { EVP_KDF_free(p); }
  void operator()(EVP_KDF_CTX* p) const { EVP_KDF_CTX_free(p); }
  void operator()(EVP_CIPHER* p) const { EVP_CIPHER_free(p); }
  void operator()(EVP_CIPHER_CTX* p) const { EVP_CIPHER_CTX_free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

unsigned char* bytes_of(std::string& text) {
  return reinterpret_cast<unsigned char*>(text.data());
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

OSSL_PARAM octets(const char* name, std::string_view value) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<char*>(value.data()), value.size());
}

// An AEAD context with key and nonce set and the header authenticated.
Owned<EVP_CIPHER_CTX> begin(const char* name, std::string_view key, std::string_view nonce,
                            std::string_view header, bool sealing) {
  const Owned<EVP_CIPHER> cipher(EVP_CIPHER_fetch(nullptr, name, nullptr));
  Owned<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new());
  int ignored = 0;
  TG_ASSERT(EVP_CipherInit_ex2(context.get(), cipher.get(), bytes_of(key), bytes_of(nonce),
                               sealing ? 1 : 0, nullptr) == 1);
  TG_ASSERT(EVP_CipherUpdate(context.get(), nullptr, &ignored, bytes_of(header),
                             static_cast<int>(header.size())) == 1);
  return context;
}

}  // namespace

void RawKeys::set(std::string_view suite, std::string secret) {
  suite_ = suite;
  secret_ = std::move(secret);
  derive();
}

void RawKeys::update() {
  secret_ = expand("traffic upd", secret_.size());
  derive();
}

void RawKeys::derive() {
  key_ = expand("key", suite_named(suite_).key_bytes);
  iv_ = expand("iv", kIvBytes);
  number_ = 0;
}

std::string RawKeys::expand(std::string_view label, size_t bytes) const {
  const Owned<EVP_KDF> kdf(EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr));
  const Owned<EVP_KDF_CTX> context(EVP_KDF_CTX_new(kdf.get()));
  std::string mode = "EXPAND_ONLY";
  std::string digest = suite_named(suite_).digest;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_MODE, mode.data(), 0),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      octets(OSSL_KDF_PARAM_KEY, secret_),
      octets(OSSL_KDF_PARAM_PREFIX, "tls13 "),
      octets(OSSL_KDF_PARAM_LABEL, label),
      OSSL_PARAM_construct_end(),
  };
  std::string out(bytes, '\0');
  TG_ASSERT(EVP_KDF_derive(context.get(), bytes_of(out), out.size(), parameters) == 1);
  return out;
}

std::string RawKeys::next_nonce() {
  std::string nonce = iv_;
  const uint64_t number = number_++;
  for (size_t i = 0; i < 8; ++i) {
    nonce[kIvBytes - 1 - i] =
        static_cast<char>(nonce[kIvBytes - 1 - i] ^ static_cast<char>(number >> (8 * i)));
  }
  return nonce;
}

std::string RawKeys::seal(uint8_t type, std::string_view content, size_t padding) {
  std::string inner(content);
  inner += static_cast<char>(type);
  inner.append(padding, '\0');
  const size_t body = inner.size() + kTagBytes;
  std::string record = {kRawData, 3, 3, static_cast<char>(body >> 8), static_cast<char>(body)};
  const auto context =
      begin(suite_named(suite_).cipher, key_, next_nonce(), record, /*sealing=*/true);
  record.resize(kRawHeaderBytes + body);
  int written = 0;
  TG_ASSERT(EVP_CipherUpdate(context.get(), bytes_of(record) + kRawHeaderBytes, &written,
                             bytes_of(std::string_view(inner)),
                             static_cast<int>(inner.size())) == 1);
  TG_ASSERT(EVP_CipherFinal_ex(context.get(), bytes_of(record), &written) == 1);
  TG_ASSERT(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes,
                                bytes_of(record) + record.size() - kTagBytes) == 1);
  return record;
}

std::optional<RawRecord> RawKeys::open(std::string_view record) {
  if (record.size() < kRawHeaderBytes + kTagBytes + 1 || record[0] != kRawData) return {};
  const auto context = begin(suite_named(suite_).cipher, key_, next_nonce(),
                             record.substr(0, kRawHeaderBytes), /*sealing=*/false);
  std::string tag(record.substr(record.size() - kTagBytes));
  const auto sealed = record.substr(kRawHeaderBytes, record.size() - kRawHeaderBytes - kTagBytes);
  std::string inner(sealed.size(), '\0');
  int written = 0;
  TG_ASSERT(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1);
  if (EVP_CipherUpdate(context.get(), bytes_of(inner), &written, bytes_of(sealed),
                       static_cast<int>(sealed.size())) != 1 ||
      EVP_CipherFinal_ex(context.get(), bytes_of(inner), &written) != 1) {
    return {};
  }
  const size_t last = inner.find_last_not_of('\0');
  if (last == std::string::npos) return {};
  RawRecord opened{static_cast<uint8_t>(inner[last]), {}};
  inner.resize(last);
  opened.content = std::move(inner);
  return opened;
}

}  // namespace tollgate::tls
