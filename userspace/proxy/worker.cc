#include "userspace/proxy/worker.h"

#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/io/tcp_info.h"

namespace tollgate::proxy {
namespace {

// Deadlines are seconds and minutes; they are looked at twice a second rather than armed one by
// one.
constexpr uint32_t kTickMs = 500;
// New connections wait in the listeners' queues for so long at most, until the next process may
// admit them. Who has not finished his request by then is told to try again.
constexpr int64_t kHandOverMs = 3'000;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::make(Options options, Shared& shared) {
  std::unique_ptr<Worker> worker(new Worker(shared));
  auto loop = io::Loop::make(options.loop);
  if (!loop) return std::move(loop).forward();
  worker->loop_ = std::move(*loop);
  worker->pool_ = std::make_unique<UpstreamPool>(*worker->loop_, worker->flush_list_, shared.limits,
                                                 worker->counters_.upstream_tls,
                                                 [raw = worker.get()] { raw->check_drained(); });
  worker->snapshot_ = std::move(options.snapshot);
  worker->lane_ = options.lane;
  io::ListenerEvents& events = *worker;
  for (UniqueFd& fd : options.listeners) {
    worker->listeners_.push_back(
        std::make_unique<io::Listener>(*worker->loop_, events, std::move(fd)));
  }
  return worker;
}

Worker::~Worker() {
  stop();
}

void Worker::start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "tg-worker");
    listeners_open_ = listeners_.size();
    for (auto& listener : listeners_)
      listener->start();
    loop_->watch(lane_->notify_fd, [this] { on_lane_notify(); });
    loop_->every(kTickMs, [this] { tick(); });
    loop_->run();
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_->post([this] {
    const FlushList::Turn turn(flush_list_);
    stopping_ = true;
    for (auto& listener : listeners_)
      listener->close();
    for (size_t i = sessions_.size(); i-- > 0;)
      sessions_[i]->close_session();
    pool_->close_all();
    check_drained();
  });
  thread_.join();
}

void Worker::set_snapshot(std::shared_ptr<const Snapshot> snapshot) {
  loop_->post([this, snapshot = std::move(snapshot)]() mutable {
    const FlushList::Turn turn(flush_list_);
    const bool same_policy = snapshot->policy == snapshot_->policy;
    // First the snapshot, then the check: whoever is accepted from now on reads the new one.
    snapshot_ = std::move(snapshot);
    for (size_t i = same_policy ? 0 : sessions_.size(); i-- > 0;)
      sessions_[i]->follow_policy();
  });
}

void Worker::on_accepted(UniqueFd connection) {
  const FlushList::Turn turn(flush_list_);
  if (stopping_) return;
  const auto remote = io::peer_of(connection.get());
  if (!remote) return;  // gone already
  std::optional<Endpoint> via;
  if (!snapshot_->own_endpoints.empty()) {
    via = io::local_of(connection.get());
    if (!via) return;
    if (!snapshot_->intercepts(*via)) via.reset();
  }
  const uint32_t open = shared_.connections.fetch_add(1, std::memory_order_relaxed);
  if (open >= shared_.limits.connections_max) {
    shared_.connections.fetch_sub(1, std::memory_order_relaxed);
    add(counters_.connections_refused);
    return;
  }
  add(counters_.connections_accepted);
  add(counters_.connections_open);
  const PeerTag tag =
      shared_.resolver->resolve(connection.get(), remote->address, *snapshot_->policy)
          .value_or(PeerTag{});
  const uint64_t flow_id = io::cookie_of(connection.get());
  auto session = std::make_unique<Session>(*this, Accepted{.fd = std::move(connection),
                                                           .tag = tag,
                                                           .remote = *remote,
                                                           .flow_id = flow_id,
                                                           .via = via});
  session->index = sessions_.size();
  sessions_.push_back(std::move(session));
  if (draining_) sessions_.back()->drain();  // it was in the listener's queue
}

void Worker::on_accept_error(int sys_errno) {
  add(counters_.connections_refused);
  spdlog::warn("accept: {}", std::strerror(sys_errno));
}

void Worker::on_listener_closed() {
  --listeners_open_;
  check_drained();
}

void Worker::remove(Session& session) {
  forget(session);
  const size_t index = session.index;
  std::swap(sessions_[index], sessions_.back());
  sessions_[index]->index = index;
  sessions_.pop_back();
  shared_.connections.fetch_sub(1, std::memory_order_relaxed);
  subtract(counters_.connections_open);
  check_drained();
}

uint64_t Worker::record(decltype(ringbuf::Record::body) body) {
  const uint64_t sequence = next_sequence_++;
  std::vector<std::byte> entry;
  entry.reserve(1024);
  ringbuf::encode({.sequence = sequence, .body = std::move(body)}, entry);
  if (!delayed_.empty() || !lane_->ring.push(entry)) {
    // Kept here until the ledger catches up; admission has stopped meanwhile, so this is bounded by
    // the requests that were running.
    add(counters_.records_delayed);
    delayed_.push_back(std::move(entry));
  }
  return sequence;
}

void Worker::await_durable(uint64_t sequence, Session& session) {
  waiting_.emplace_back(sequence, &session);
}

void Worker::forget(const Session& session) {
  for (auto& [sequence, waiting] : waiting_) {
    if (waiting == &session) waiting = nullptr;
  }
}

void Worker::wake_waiting_bodies() {
  loop_->post([this] {
    const FlushList::Turn turn(flush_list_);
    for (size_t i = sessions_.size(); i-- > 0;)
      sessions_[i]->on_body_memory();
  });
}

void Worker::on_lane_notify() {
  const FlushList::Turn turn(flush_list_);
  uint64_t ignored = 0;
  while (::read(lane_->notify_fd, &ignored, sizeof ignored) > 0) {
  }
  push_delayed();
  const uint64_t durable = lane_->durable_sequence.load(std::memory_order_acquire);
  while (!waiting_.empty() && waiting_.front().first <= durable) {
    const auto [sequence, session] = waiting_.front();
    waiting_.pop_front();
    if (session != nullptr) session->on_durable(sequence);
  }
  check_drained();
}

void Worker::push_delayed() {
  while (!delayed_.empty() && lane_->ring.push(delayed_.front()))
    delayed_.pop_front();
}

void Worker::tick() {
  const FlushList::Turn turn(flush_list_);
  push_delayed();
  const int64_t now = now_ms();
  // Backwards: a session that ends here is removed later, from the loop, never in this pass.
  for (size_t i = sessions_.size(); i-- > 0;)
    sessions_[i]->sweep(now);
  pool_->sweep(now);
  check_drained();
}

void Worker::drain(std::function<void()> drained) {
  loop_->post([this, drained = std::move(drained)]() mutable {
    admitting_ = false;
    begin_drain(std::move(drained));
  });
}

void Worker::hand_over(std::function<void()> quiet, std::function<void()> drained) {
  loop_->post([this, quiet = std::move(quiet), drained = std::move(drained)]() mutable {
    quiet_ = std::move(quiet);
    admitting_until_ms_ = now_ms() + kHandOverMs;
    begin_drain(std::move(drained));
  });
}

void Worker::begin_drain(std::function<void()> drained) {
  const FlushList::Turn turn(flush_list_);
  draining_ = true;
  drained_ = std::move(drained);
  for (auto& listener : listeners_)
    listener->close();
  for (size_t i = sessions_.size(); i-- > 0;)
    sessions_[i]->drain();
  pool_->close_idle();
  check_drained();
}

std::vector<int> Worker::listening() const {
  std::vector<int> fds;
  for (const auto& listener : listeners_)
    fds.push_back(listener->fd());
  return fds;
}

void Worker::cut(std::string why) {
  loop_->post([this, why = std::move(why)] {
    const FlushList::Turn turn(flush_list_);
    for (size_t i = sessions_.size(); i-- > 0;)
      sessions_[i]->cut({policy::RefusalCode::draining, why, {}});
  });
}

// Drained: no client, no connection to a provider, no record on its way to the ring. Stopping asks
// for the same without the records, which then are only in the log.
void Worker::check_drained() {
  if (!draining_ && !stopping_) return;
  check_quiet();
  pool_->close_idle();
  if (listeners_open_ != 0 || !sessions_.empty() || !pool_->empty()) return;
  if (draining_ && drained_ && delayed_.empty()) std::exchange(drained_, nullptr)();
  if (stopping_) loop_->stop();
}

void Worker::check_quiet() {
  if (!quiet_) return;
  if (admitting_) {
    if (listeners_open_ != 0) return;
    const bool waits = std::any_of(sessions_.begin(), sessions_.end(),
                                   [](const auto& session) { return session->may_be_admitted(); });
    if (waits && now_ms() < admitting_until_ms_) return;
    admitting_ = false;
    last_admitted_sequence_ = next_sequence_ - 1;
  }
  if (lane_->durable_sequence.load(std::memory_order_acquire) < last_admitted_sequence_) return;
  std::exchange(quiet_, nullptr)();
}

void Worker::report(std::function<void(WorkerReport)> reply) {
  loop_->post([this, reply = std::move(reply)] {
    WorkerReport report;
    report.upstream = pool_->counts();
    report.recorded_sequence = next_sequence_ - 1;
    SessionInfo info;
    for (const auto& session : sessions_) {
      ++report.connections_by_peer[session->peer_id()];
      if (session->info(info)) report.sessions.push_back(info);
    }
    reply(std::move(report));
  });
}

}  // namespace tollgate::proxy
