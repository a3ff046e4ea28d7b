// TLS 1.3 records made by hand, one direction of a connection: what no library would send can be
// sealed with the right keys, and what comes is opened without a library's forgiveness.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tollgate::tls {

enum RawType : uint8_t { kRawAlert = 21, kRawHandshake = 22, kRawData = 23 };

struct RawRecord {
  uint8_t type;
  std::string content;
};

inline constexpr size_t kRawHeaderBytes = 5;
inline constexpr size_t kRawContentBytesMax = 16 * 1024;

class RawKeys {
 public:
  // suite: "TLS_AES_128_GCM_SHA256" and the other two. secret: an application traffic secret.
  void set(std::string_view suite, std::string secret);
  bool known() const { return !secret_.empty(); }

  // The next record, whole, with its header.
  std::string seal(uint8_t type, std::string_view content, size_t padding = 0);
  // Nothing: not sealed with these keys and this number.
  std::optional<RawRecord> open(std::string_view record);
  // The next generation (RFC 8446, 7.2); numbers start at 0 again.
  void update();

 private:
  void derive();
  std::string expand(std::string_view label, size_t bytes) const;
  std::string next_nonce();

  std::string suite_;
  std::string secret_;
  std::string key_;
  std::string iv_;
  uint64_t number_ = 0;
};

}  // namespace tollgate::tls
