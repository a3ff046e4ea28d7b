#include "userspace/tls/ktls.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace/base/fd.h"

#ifndef SOL_TLS
#define SOL_TLS 282  // linux/socket.h
#endif
#ifndef TCP_ULP
#define TCP_ULP 31  // linux/tcp.h
#endif

namespace tollgate::tls {
namespace {

struct SuiteShape {
  const char* name;
  const EVP_MD* (*hash)();
  size_t hash_bytes;
  size_t key_bytes;
};
constexpr SuiteShape kShapes[kSuites] = {
    {"AES-128-GCM", EVP_sha256, 32, 16},
    {"AES-256-GCM", EVP_sha384, 48, 32},
    {"CHACHA20-POLY1305", EVP_sha256, 32, 32},
};
constexpr size_t kKeyBytesMax = 32;
constexpr size_t kIvBytes = 12;
constexpr size_t kSequenceBytes = 8;

const SuiteShape& shape_of(Suite suite) {
  return kShapes[static_cast<size_t>(suite)];
}

// One of the kernel's structs for setsockopt, wiped when it goes.
class CryptoInfo {
 public:
  explicit CryptoInfo(Suite suite) : suite_(suite) {}
  CryptoInfo(const CryptoInfo&) = delete;
  ~CryptoInfo() { OPENSSL_cleanse(&info_, sizeof info_); }

  void fill(const TrafficSecret& secret, uint64_t sequence) {
    unsigned char key[kKeyBytesMax];
    unsigned char iv[kIvBytes];
    unsigned char sequence_bytes[kSequenceBytes];
    expand_label(suite_, secret, "key", std::span(key).first(shape_of(suite_).key_bytes));
    expand_label(suite_, secret, "iv", iv);
    for (size_t i = 0; i < kSequenceBytes; ++i)
      sequence_bytes[i] = static_cast<unsigned char>(sequence >> (56 - 8 * i));
    switch (suite_) {
      case Suite::aes_128_gcm:
        fill_gcm(info_.aes_128, TLS_CIPHER_AES_GCM_128, key, iv, sequence_bytes);
        break;
      case Suite::aes_256_gcm:
        fill_gcm(info_.aes_256, TLS_CIPHER_AES_GCM_256, key, iv, sequence_bytes);
        break;
      case Suite::chacha20_poly1305:
        info_.chacha.info = {TLS_1_3_VERSION, TLS_CIPHER_CHACHA20_POLY1305};
        std::memcpy(info_.chacha.key, key, sizeof info_.chacha.key);
        std::memcpy(info_.chacha.iv, iv, sizeof info_.chacha.iv);
        std::memcpy(info_.chacha.rec_seq, sequence_bytes, sizeof info_.chacha.rec_seq);
        break;
    }
    OPENSSL_cleanse(key, sizeof key);
    OPENSSL_cleanse(iv, sizeof iv);
  }

  void* data() { return &info_; }
  socklen_t size() const {
    switch (suite_) {
      case Suite::aes_128_gcm:
        return sizeof info_.aes_128;
      case Suite::aes_256_gcm:
        return sizeof info_.aes_256;
      case Suite::chacha20_poly1305:
        return sizeof info_.chacha;
    }
    return 0;
  }
  uint64_t sequence() const {
    const unsigned char* bytes = suite_ == Suite::aes_128_gcm   ? info_.aes_128.rec_seq
                                 : suite_ == Suite::aes_256_gcm ? info_.aes_256.rec_seq
                                                                : info_.chacha.rec_seq;
    uint64_t sequence = 0;
    for (size_t i = 0; i < kSequenceBytes; ++i)
      sequence = sequence << 8 | bytes[i];
    return sequence;
  }

 private:
  // The first four bytes of the nonce's base go by the name of salt.
  template <typename Info>
  static void fill_gcm(Info& info, uint16_t cipher, const unsigned char* key,
                       const unsigned char* iv, const unsigned char* sequence) {
    info.info = {TLS_1_3_VERSION, cipher};
    std::memcpy(info.key, key, sizeof info.key);
    std::memcpy(info.salt, iv, sizeof info.salt);
    std::memcpy(info.iv, iv + sizeof info.salt, sizeof info.iv);
    std::memcpy(info.rec_seq, sequence, sizeof info.rec_seq);
  }

  Suite suite_;
  union {
    tls12_crypto_info_aes_gcm_128 aes_128;
    tls12_crypto_info_aes_gcm_256 aes_256;
    tls12_crypto_info_chacha20_poly1305 chacha;
  } info_{};
};

int option_of(Direction direction) {
  return direction == Direction::send ? TLS_TX : TLS_RX;
}

// ---- the probe ---------------------------------------------------------------------------------

struct Pair {
  UniqueFd ours;
  UniqueFd theirs;
};

// TLS needs an established TCP connection: a socketpair will not do.
Result<Pair> connected_pair() {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  Pair pair{UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), {}};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (!listener || !pair.ours || ::bind(listener.get(), address, length) != 0 ||
      ::listen(listener.get(), 1) != 0 || ::getsockname(listener.get(), address, &length) != 0 ||
      ::connect(pair.ours.get(), address, length) != 0) {
    return system_error(errno, "connect on loopback to try kernel TLS");
  }
  pair.theirs = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!pair.theirs) return system_error(errno, "accept on loopback to try kernel TLS");
  return pair;
}

std::string explain_attach(int sys_errno) {
  if (sys_errno == ENOENT) {
    return "the kernel has no TLS module: `modprobe tls` (CONFIG_TLS) before the gateway starts";
  }
  return system_error(sys_errno, "set TCP_ULP tls").text;
}

std::string explain_keys(Suite suite, int sys_errno) {
  const std::string name = shape_of(suite).name;
  if (sys_errno == ENOENT) {
    return "the kernel has TLS but no cipher for " + name +
           ": its crypto modules (gcm, aes, ghash, chacha20poly1305) are missing";
  }
  return system_error(sys_errno, "set kernel TLS keys for " + name).text;
}

// One suite on a connection of its own. `rekey`: whether keys can be set again.
Status try_suite(Suite suite, bool& rekey) {
  auto pair = connected_pair();
  if (!pair) return std::move(pair).forward();
  const int fd = pair->ours.get();
  if (const Status attached = attach_kernel_tls(fd); !attached) {
    const int why = attached.error().sys_errno;
    return Error{Fault::system, why, explain_attach(why), {}};
  }
  const std::array<unsigned char, TrafficSecret::kBytesMax> zeroes{};
  const TrafficSecret secret(
      std::span<const unsigned char>(zeroes).first(shape_of(suite).hash_bytes));
  for (const Direction direction : {Direction::send, Direction::receive}) {
    if (const Status set = set_kernel_keys(fd, direction, suite, secret, 0); !set) {
      const int why = set.error().sys_errno;
      return Error{Fault::system, why, explain_keys(suite, why), {}};
    }
  }
  rekey = static_cast<bool>(set_kernel_keys(fd, Direction::send, suite, secret, 0));
  return {};
}

}  // namespace

KernelTls probe_kernel_tls() {
  KernelTls found;
  found.use.rekey = true;
  for (size_t i = 0; i < kSuites; ++i) {
    bool rekey = false;
    const Status tried = try_suite(static_cast<Suite>(i), rekey);
    found.use.suites[i] = static_cast<bool>(tried);
    if (tried) found.use.rekey = found.use.rekey && rekey;
    if (!tried && found.reason.empty()) found.reason = tried.error().text;
  }
  found.available = found.use.any();
  found.use.rekey = found.use.rekey && found.available;
  if (found.available && !found.use.rekey && found.reason.empty()) {
    found.reason = "the kernel cannot change keys (Linux 6.14 can)";
  }
  return found;
}

TrafficSecret::TrafficSecret(std::span<const unsigned char> bytes) : size_(bytes.size()) {
  TG_ASSERT(size_ <= kBytesMax);
  std::copy(bytes.begin(), bytes.end(), bytes_.begin());
}

TrafficSecret::TrafficSecret(TrafficSecret&& other) noexcept
    : bytes_(other.bytes_), size_(other.size_) {
  other.clear();
}

TrafficSecret& TrafficSecret::operator=(TrafficSecret&& other) noexcept {
  if (this == &other) return *this;
  bytes_ = other.bytes_;
  size_ = other.size_;
  other.clear();
  return *this;
}

void TrafficSecret::clear() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
  size_ = 0;
}

void expand_label(Suite suite, const TrafficSecret& secret, std::string_view label,
                  std::span<unsigned char> out) {
  const SuiteShape& shape = shape_of(suite);
  TG_ASSERT(!secret.empty() && out.size() <= shape.hash_bytes);
  // HkdfLabel, and the 1 of HKDF's first block (RFC 5869, 2.3), which is all that is needed.
  unsigned char info[64];
  size_t size = 0;
  const auto put = [&](size_t byte) { info[size++] = static_cast<unsigned char>(byte); };
  constexpr std::string_view kPrefix = "tls13 ";
  TG_ASSERT(kPrefix.size() + label.size() + 5 <= sizeof info);
  put(out.size() >> 8);
  put(out.size() & 0xff);
  put(kPrefix.size() + label.size());
  for (const std::string_view part : {kPrefix, label}) {
    for (const char c : part)
      put(static_cast<unsigned char>(c));
  }
  put(0);
  put(1);
  unsigned char block[EVP_MAX_MD_SIZE];
  const auto key = secret.reveal();
  TG_ASSERT(HMAC(shape.hash(), key.data(), static_cast<int>(key.size()), info, size, block,
                 nullptr) != nullptr);
  std::copy_n(block, out.size(), out.begin());
  OPENSSL_cleanse(block, sizeof block);
}

TrafficSecret next_secret(Suite suite, const TrafficSecret& secret) {
  unsigned char bytes[TrafficSecret::kBytesMax];
  const auto used = std::span(bytes).first(shape_of(suite).hash_bytes);
  expand_label(suite, secret, "traffic upd", used);
  TrafficSecret next(used);
  OPENSSL_cleanse(bytes, sizeof bytes);
  return next;
}

Status attach_kernel_tls(int fd) {
  constexpr std::string_view kName = "tls";
  if (::setsockopt(fd, IPPROTO_TCP, TCP_ULP, kName.data(), kName.size()) == 0) return {};
  return system_error(errno, "set TCP_ULP tls");
}

Status set_kernel_keys(int fd, Direction direction, Suite suite, const TrafficSecret& secret,
                       uint64_t sequence) {
  CryptoInfo info(suite);
  info.fill(secret, sequence);
  if (::setsockopt(fd, SOL_TLS, option_of(direction), info.data(), info.size()) != 0) {
    return system_error(errno, direction == Direction::send ? "set TLS_TX" : "set TLS_RX");
  }
  return {};
}

uint64_t kernel_records(int fd, Direction direction, Suite suite) {
  CryptoInfo info(suite);  // the kernel's answer has the key in it
  socklen_t size = info.size();
  if (::getsockopt(fd, SOL_TLS, option_of(direction), info.data(), &size) != 0) return 0;
  return info.sequence();
}

}  // namespace tollgate::tls
