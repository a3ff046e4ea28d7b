// One data-plane thread: a loop, its listeners, its sessions, its upstream connections, its lane to
// the ledger. Never blocks. Workers share the snapshot, the bounds and nothing else.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "policy/policy_parse.h"
#include "ringbuf/lane.h"
#include "ringbuf/record.h"
#include "userspace/codec/responses.h"
#include "userspace/identity/peer_table.h"
#include "userspace/io/loop.h"
#include "userspace/proxy/body.h"
#include "userspace/proxy/budget_table.h"
#include "userspace/proxy/counters.h"
#include "userspace/proxy/session.h"
#include "userspace/proxy/snapshot.h"
#include "userspace/proxy/stored_responses.h"
#include "userspace/proxy/stream.h"
#include "userspace/proxy/upstream.h"

namespace tollgate::proxy {

// What all workers share and outlives them.
struct Shared {
  explicit Shared(const policy::Limits& given)
      : limits(given), body_memory(given.body_memory_bytes_max) {}
  const policy::Limits limits;
  BodyMemory body_memory;
  StoredResponses stored_responses;
  std::atomic<uint32_t> connections{0};
  std::function<bool()> store_healthy;
  // Traffic without a record was seen, and on_unmetered = "refuse": nothing is admitted.
  std::atomic<bool> refuse_unmetered{false};
  BudgetTable* budgets = nullptr;
  const identity::Resolver* resolver = nullptr;
};

// What the admin socket asks a worker: a moment's state.
struct WorkerReport {
  std::vector<SessionInfo> sessions;
  std::unordered_map<uint32_t, size_t> connections_by_peer;
  uint64_t recorded_sequence = 0;  // of the last record given to the lane
  std::unordered_map<std::string, UpstreamPool::Count> upstream;  // by provider
};

class Worker final : io::ListenerEvents {
 public:
  struct Options {
    io::Loop::Options loop;
    std::vector<UniqueFd> listeners;
    std::shared_ptr<const Snapshot> snapshot;
    ringbuf::Lane* lane = nullptr;  // its notify_fd is this worker's to watch
  };
  static Result<std::unique_ptr<Worker>> make(Options options, Shared& shared);
  ~Worker();

  void start();  // the thread
  // From any thread.
  // Requests that the new policy no longer allows end at once.
  void set_snapshot(std::shared_ptr<const Snapshot> snapshot);
  void drain(std::function<void()> drained);  // `drained` runs on the worker's thread
  // As drain(), but refuses nobody: whoever is connected has a moment to ask, and is admitted.
  // `quiet`, before `drained`: no request is admitted from now on, and every hold is on disk.
  void hand_over(std::function<void()> quiet, std::function<void()> drained);
  void cut(std::string why);                             // ends what still runs, settled
  void stop();                                           // and join
  void report(std::function<void(WorkerReport)> reply);  // on the worker's thread

  // The listening sockets, which stay this worker's. Not during or after drain() and its kind.
  std::vector<int> listening() const;

  const Counters& counters() const { return counters_; }
  const io::Loop& loop() const { return *loop_; }

 private:
  friend class Session;
  explicit Worker(Shared& shared) : shared_(shared) {}

  void on_accepted(UniqueFd connection) override;
  void on_accept_error(int sys_errno) override;
  void on_listener_closed() override;

  // For sessions.
  // Returns the sequence to wait for.
  uint64_t record(decltype(ringbuf::Record::body) body);
  void await_durable(uint64_t sequence, Session& session);
  void forget(const Session& session);  // it no longer waits
  void remove(Session& session);
  void wake_waiting_bodies();  // from any thread: one of this worker's has its memory
  bool ledger_has_room() const { return delayed_.empty(); }
  int64_t now_ms() const { return loop_->now_monotonic_ms(); }

  void tick();
  void on_lane_notify();
  void push_delayed();
  void begin_drain(std::function<void()> drained);
  void check_drained();
  void check_quiet();

  Shared& shared_;
  Counters counters_;
  std::unique_ptr<io::Loop> loop_;
  FlushList flush_list_;
  std::unique_ptr<UpstreamPool> pool_;
  codec::BodyInspector inspector_;
  std::vector<std::byte> scratch_;  // one chunk on its way to a client
  ringbuf::Lane* lane_ = nullptr;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<std::unique_ptr<Session>> sessions_;
  uint64_t next_sequence_ = 1;
  std::deque<std::pair<uint64_t, Session*>> waiting_;  // by sequence
  std::deque<std::vector<std::byte>> delayed_;         // records the ring had no room for
  bool draining_ = false;
  bool admitting_ = true;  // also while draining, for the moment that hand_over() gives
  int64_t admitting_until_ms_ = 0;
  uint64_t last_admitted_sequence_ = 0;
  std::function<void()> quiet_;
  bool stopping_ = false;
  size_t listeners_open_ = 0;
  std::function<void()> drained_;
  std::thread thread_;
};

}  // namespace tollgate::proxy
