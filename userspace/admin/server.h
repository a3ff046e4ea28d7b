// The admin socket: newline-delimited JSON on a unix socket, version 1, roles by SO_PEERCRED (root,
// the daemon's own uid and group tollgate-admin change, group tollgate-viewer reads; both groups
// may be absent). Runs on the control thread's poll loop; a client that does not read is cut, never
// waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/admin/service.h"
#include "userspace/admin/socket_file.h"
#include "userspace/base/clock.h"
#include "userspace/base/result.h"

namespace tollgate::admin {

// A handful of people and an exporter; each client costs a buffer or two.
inline constexpr size_t kClientsMax = 64;
// Tails stay for hours; the other half is kept for callers that come and go.
inline constexpr size_t kTailClientsMax = 32;
// About 1,000 records that a tail has not read yet; then it is cut.
inline constexpr size_t kTailQueueBytesMax = 1024 * 1024;
// Records between two steps of the control thread, for all tails together.
inline constexpr size_t kPublishedMax = 4096;
// A page of `records`: short on the control thread, long enough to be cheap.
inline constexpr size_t kRecordsPage = 256;
// An answer that nobody takes is given up after this; a place is worth more.
inline constexpr int64_t kStalledMs = 10'000;

class Server {
 public:
  struct Options {
    // Mode 0666, because two groups connect and a mode knows one: a caller without a role is told
    // so and closed at once. A stale file is replaced, a live one refused.
    std::string socket_path;
    // Instead of making one: what another process has answered on until now.
    std::optional<SocketFile> adopted{};
    // Called for every change (grant, reload, …) with the caller's uid: the audit log.
    std::function<void(uint32_t uid, const std::string& what)> audit;
    std::string admin_group = "tollgate-admin";
    std::string viewer_group = "tollgate-viewer";
    std::function<int64_t()> now_ms = monotonic_ms;
  };
  static Result<std::unique_ptr<Server>> make(Options options, Service& service);
  virtual ~Server() = default;

  // Poll integration: add interests() to the control thread's poll set, then call step() after
  // every poll.
  struct Interest {
    int fd;
    short events;
  };
  virtual std::vector<Interest> interests() const = 0;
  virtual void step() = 0;

  // From any thread: gives a record to the `tail` subscribers. Costs one load when there is none.
  virtual void publish(const ringbuf::UsageRecord& record) = 0;
  // Becomes readable when step() has something to deliver; it is one of interests() already.
  virtual int publish_fd() const = 0;

  // For another process to adopt: first both descriptors, then, once it is there, hand_over().
  // From then on nobody new is heard and nothing is changed, tails end with a word, the file stays.
  virtual const SocketFile& socket() const = 0;
  virtual void hand_over() = 0;

  struct Counters {
    uint64_t accepted = 0;
    uint64_t forbidden = 0;     // callers without a role, and changes that a viewer asked for
    uint64_t full = 0;          // callers turned away because every place was taken
    uint64_t bad_requests = 0;  // unknown verbs among them
    uint64_t cut = 0;           // clients that did not read
    uint64_t records_lost = 0;  // published faster than step() ran; the tails were told
    size_t clients = 0;
    size_t tails = 0;
  };
  virtual Counters counters() const = 0;
};

}  // namespace tollgate::admin
