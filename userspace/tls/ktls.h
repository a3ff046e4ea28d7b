// The kernel's TLS record layer (kTLS), keyed by us: OpenSSL does the handshake, the traffic
// secrets go to the kernel by setsockopt (linux/tls.h), and the socket carries plaintext from then
// on. What is left for us are the records that are not data; kernel_channel.h has those.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate::tls {

enum class Direction : uint8_t { send, receive };

// The suites of TLS 1.3 that we offer and kernels know.
enum class Suite : uint8_t { aes_128_gcm, aes_256_gcm, chacha20_poly1305 };
constexpr size_t kSuites = 3;

// What a connection may ask of the kernel. No suite: its record layer stays in userspace.
struct KernelUse {
  std::array<bool, kSuites> suites{};
  bool rekey = false;  // the kernel can follow a KeyUpdate (Linux 6.14)
  // A key is replaced before it has protected this many records: AES-GCM allows 2^24.5 (RFC 8446,
  // 5.5), and a send that the kernel takes in parts is counted too low.
  uint64_t records_per_key_max = uint64_t{1} << 23;

  bool any() const { return suites[0] || suites[1] || suites[2]; }
};

// What this kernel has.
struct KernelTls {
  bool available = false;
  KernelUse use;
  std::string reason;  // why it is not available, or has no rekey, and what would help
};
// Tries it on loopback. Once at start, before privileges are dropped: the kernel loads its module
// only for CAP_NET_ADMIN.
KernelTls probe_kernel_tls();

// A traffic secret (RFC 8446, 7.1), or nothing; wiped when it goes.
class TrafficSecret {
 public:
  static constexpr size_t kBytesMax = 48;
  TrafficSecret() = default;
  explicit TrafficSecret(std::span<const unsigned char> bytes);
  TrafficSecret(TrafficSecret&& other) noexcept;
  TrafficSecret& operator=(TrafficSecret&& other) noexcept;
  ~TrafficSecret() { clear(); }
  void clear();
  bool empty() const { return size_ == 0; }
  std::span<const unsigned char> reveal() const { return {bytes_.data(), size_}; }

 private:
  std::array<unsigned char, kBytesMax> bytes_{};
  size_t size_ = 0;
};

// HKDF-Expand-Label (RFC 8446, 7.1) with an empty context. `out` is no longer than the hash.
void expand_label(Suite suite, const TrafficSecret& secret, std::string_view label,
                  std::span<unsigned char> out);
// The secret of the next generation, from which this one cannot be computed.
TrafficSecret next_secret(Suite suite, const TrafficSecret& secret);

// What the kernel needs to go on where OpenSSL stopped.
struct KernelKeys {
  Suite suite = Suite::aes_128_gcm;
  TrafficSecret send;
  TrafficSecret receive;
  uint64_t records_sent = 0;  // with these keys, so far
  uint64_t records_received = 0;
};

// Puts TLS on an established connection, without keys: bytes still pass as they are, also when this
// fails. Nothing may be reading from the socket.
Status attach_kernel_tls(int fd);
// Sets a direction's keys, the first time or again after a KeyUpdate.
Status set_kernel_keys(int fd, Direction direction, Suite suite, const TrafficSecret& secret,
                       uint64_t sequence);
// How many records the present key has protected; 0 where the kernel does not say.
uint64_t kernel_records(int fd, Direction direction, Suite suite);

}  // namespace tollgate::tls
