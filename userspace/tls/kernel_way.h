// What a userspace channel keeps while it may still enter the kernel: the data's secrets and where
// their records stand. Internal to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "userspace/tls/ktls.h"

namespace tollgate::tls {

// Follows records through a stream of wire bytes: counts them, and knows what the last one lacks.
class RecordCounter {
 public:
  // False when a record is not an encrypted one.
  bool take(std::span<const std::byte> wire);
  // What completes the record, or the header that tells; 0 between two records.
  size_t missing() const;
  uint64_t records() const { return records_; }

 private:
  std::array<uint8_t, 5> header_{};
  size_t header_bytes_ = 0;
  size_t left_ = 0;
  uint64_t records_ = 0;
};

// The counters run from the end of the handshake, where the data's keys begin on both sides: our
// server sends no tickets, and a client's Finished has keys of the handshake.
struct KernelWay {
  KernelUse use;
  RecordCounter received;
  RecordCounter sent;
  TrafficSecret client_secret;
  TrafficSecret server_secret;

  // Takes a secret from a line of the key log, if it is one of ours.
  void keep_secret(std::string_view line);
  bool can_carry(Suite suite) const {
    return use.suites[static_cast<size_t>(suite)] && !client_secret.empty() &&
           !server_secret.empty();
  }
  KernelKeys take_keys(Suite suite, bool server);
};

}  // namespace tollgate::tls
