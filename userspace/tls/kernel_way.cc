#include "userspace/tls/kernel_way.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

namespace tollgate::tls {
namespace {

constexpr uint8_t kDataRecord = 23;  // the outer type of every encrypted record of TLS 1.3

}  // namespace

bool RecordCounter::take(std::span<const std::byte> wire) {
  while (!wire.empty()) {
    if (left_ != 0) {
      const size_t taken = std::min(left_, wire.size());
      left_ -= taken;
      wire = wire.subspan(taken);
      if (left_ == 0) ++records_;
      continue;
    }
    header_[header_bytes_++] = std::to_integer<uint8_t>(wire.front());
    wire = wire.subspan(1);
    if (header_bytes_ < header_.size()) continue;
    header_bytes_ = 0;
    left_ = size_t{header_[3]} << 8 | header_[4];
    if (header_[0] != kDataRecord || left_ == 0) return false;
  }
  return true;
}

size_t RecordCounter::missing() const {
  if (left_ != 0) return left_;
  return header_bytes_ == 0 ? 0 : header_.size() - header_bytes_;
}

// NSS's key log: label, client random, secret in hex. OpenSSL wipes the line after the call.
void KernelWay::keep_secret(std::string_view line) {
  TrafficSecret* secret = nullptr;
  if (line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")) secret = &client_secret;
  if (line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) secret = &server_secret;
  if (secret == nullptr) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  unsigned char bytes[TrafficSecret::kBytesMax];
  const size_t size = hex.size() / 2;
  if (size > sizeof bytes) return;
  const auto digit = [hex](size_t at) {
    return OPENSSL_hexchar2int(static_cast<unsigned char>(hex[at]));
  };
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<unsigned char>(digit(2 * i) << 4 | digit(2 * i + 1));
  *secret = TrafficSecret(std::span<const unsigned char>(bytes, size));
  OPENSSL_cleanse(bytes, sizeof bytes);
}

KernelKeys KernelWay::take_keys(Suite suite, bool server) {
  KernelKeys keys;
  keys.suite = suite;
  keys.send = std::move(server ? server_secret : client_secret);
  keys.receive = std::move(server ? client_secret : server_secret);
  keys.records_sent = sent.records();
  keys.records_received = received.records();
  return keys;
}

}  // namespace tollgate::tls
