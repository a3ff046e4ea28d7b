// Counters of one worker: written by its thread, read by the control thread. Everything refused is
// counted by code; nothing is counted twice.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "policy/decision.h"

namespace tollgate::proxy {

// The TLS connections of one side. A connection counts once its record layer is settled, and in
// both directions alike: the kernel gets both keys or none.
struct TlsCounters {
  using Count = std::atomic<uint64_t>;
  enum class Path : uint8_t { none, kernel, userspace };
  Count kernel_open{0};
  Count kernel_total{0};
  Count userspace_open{0};
  Count userspace_total{0};
};

struct Counters {
  using Count = std::atomic<uint64_t>;
  TlsCounters client_tls;
  TlsCounters upstream_tls;
  Count connections_accepted{0};
  Count connections_refused{0};  // over connections_max, or accept failed
  Count connections_open{0};
  Count handshakes_failed{0};
  Count names_refused{0};           // handshakes at intercepted addresses: no host of ours in SNI
  Count requests{0};                // heads read, whatever became of them
  Count requests_running{0};        // admitted, not yet settled
  std::array<Count, 9> outcomes{};  // by ringbuf::Outcome
  std::array<Count, policy::kRefusalCodeCount> refused{};
  Count estimated{0};
  Count usage_malformed{0};  // a provider's usage that was not the integers it must be
  Count terminal_oversized{0};
  Count records_delayed{0};    // the ring to the ledger was full for a while
  Count settle_timeouts{0};    // a client was cut because its record did not become durable
  Count identity_mismatch{0};  // tag and peer address disagreed
};

inline void add(Counters::Count& counter, uint64_t n = 1) {
  counter.fetch_add(n, std::memory_order_relaxed);
}
inline void subtract(Counters::Count& counter, uint64_t n = 1) {
  counter.fetch_sub(n, std::memory_order_relaxed);
}

}  // namespace tollgate::proxy
