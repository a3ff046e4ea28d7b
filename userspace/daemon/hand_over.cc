// The old process of an upgrade: it answers a new one on RUN_DIR/upgrade.sock, gives it what it
// serves with, and once that one can serve, admits nothing more and drains.
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/daemon/daemon.h"

namespace tollgate::daemon {
namespace {

constexpr int64_t kReportMs = 1'000;
constexpr int64_t kCallersMs = 2'000;

Error refusal(std::string why, std::string hint) {
  return Error{Fault::config, 0, "take over: " + std::move(why), std::move(hint)};
}

}  // namespace

void Daemon::step_handover() {
  if (upgrade_socket_ && upgrade_socket_->fd() >= 0) accept_successor();
  if (successor_) serve_successor();
  if (successor_ && successor_->serves) report_to_successor();
}

void Daemon::accept_successor() {
  UniqueFd fd(::accept4(upgrade_socket_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  auto fresh = std::make_unique<Successor>(Connection(std::move(fd)));
  const auto peer = fresh->connection.peer();
  // Anybody may connect. Who asks for the sockets must be able to stop us, too.
  if (!peer || (peer->uid != 0 && peer->uid != ::geteuid())) return;
  fresh->pid = peer->pid;
  std::swap(successor_, fresh);
  if (fresh) {
    refuse_successor(refusal("pid " + std::to_string(fresh->pid) + " does already", ""));
    successor_ = std::move(fresh);
  } else if (predecessor_) {
    refuse_successor(refusal("the running daemon still waits for the one before it, pid " +
                                 std::to_string(predecessor_->pid),
                             "try again when `tollgate status` shows it no more"));
  }
}

void Daemon::serve_successor() {
  while (successor_ && !successor_->gone) {
    auto received = successor_->connection.receive();
    if (!received) return lose_successor(received.error());
    if (!*received) return;
    if (const Status answered = answer_successor((*received)->message); !answered) {
      refuse_successor(answered.error());
    }
  }
}

Status Daemon::answer_successor(const Message& message) {
  if (const auto* hello = std::get_if<Hello>(&message)) return answer(*hello);
  if (const auto* take = std::get_if<Take>(&message)) return answer(*take);
  if (const auto* ready = std::get_if<Ready>(&message)) return answer(*ready);
  const bool serves = successor_->serves;
  if (std::holds_alternative<Reload>(message) && serves) {
    // Revocations are in the ledger, which is the successor's to write.
    if (const Status read = load_revocations(); !read) spdlog::error("{}", read.error().text);
    if (const auto done = reload(); !done) {
      spdlog::error("reload refused, what still runs here keeps its policy:\n{}",
                    done.error().text);
    }
    return {};
  }
  if (const auto* finish = std::get_if<Finish>(&message); finish != nullptr && serves) {
    hurry(finish->within_ms);
    return {};
  }
  return refusal("a message that has no place here", "");
}

Status Daemon::answer(const Hello& hello) {
  const Hello ours = own_hello(config_.gateway);
  if (Status alike = check_alike(hello, ours); !alike) return alike;
  return successor_->connection.send(ours);
}

// Nothing changes by this: when the new process dies in the next moment, nothing has happened.
Status Daemon::answer(const Take&) {
  if (draining_) return refusal("the running daemon is about to end", "start this one instead");
  if (!writer_->healthy()) {
    return refusal("the running daemon cannot write its ledger: " + writer_->last_error(),
                   "see `tollgate status`");
  }
  State state;
  state.peers = peer_table_.save();
  state.workers = static_cast<uint32_t>(workers_.size());
  if (const char* path = ::getenv("NOTIFY_SOCKET")) state.notify_socket = path;
  std::vector<int> fds = {state_lock_.get(), admin_->socket().lock_fd(), admin_->socket().fd(),
                          upgrade_socket_->lock_fd(), upgrade_socket_->fd()};
  if (steering_) fds.push_back(steering_->lock_fd());
  Connection& connection = successor_->connection;
  if (Status sent = connection.send(state, fds); !sent) return sent;
  for (const auto& worker : workers_) {
    const std::vector<int> listening = worker->listening();
    if (listening.size() > kFrameFdsMax) return refusal("too many addresses in gateway.listen", "");
    if (Status sent = connection.send(Listeners{}, listening); !sent) return sent;
  }
  spdlog::info("upgrade: pid {} prepares to take over", successor_->pid);
  return {};
}

// The end begins. The sockets live on in the other process: whoever connects now waits in their
// queues until it may admit requests, which is when we do not any more.
Status Daemon::answer(const Ready&) {
  if (draining_) return refusal("the running daemon is about to end", "start this one instead");
  successor_->serves = true;
  successor_->callers_until_ms = monotonic_ms() + kCallersMs;
  draining_ = true;
  owns_kernel_ = false;
  drain_deadline_ms_ = monotonic_ms() + config_.limits.upgrade_drain_ms;
  spdlog::info("upgrade: pid {} takes over; what runs here goes on for at most {} s",
               successor_->pid, config_.limits.upgrade_drain_ms / 1000);
  notify_main_pid(successor_->pid);
  admin_->hand_over();
  upgrade_socket_->let_go();
  // Alerts are the successor's: it counts our requests, too.
  budgets_->with([](policy::Budgets& budgets) {
    budgets.set_thresholds({});
    return 0;
  });
  const auto counted = [this](std::atomic<size_t>* count) {
    return [this, count] {
      ++*count;
      wake();
    };
  };
  for (auto& worker : workers_)
    worker->hand_over(counted(&workers_quiet_), counted(&workers_drained_));
  return {};
}

void Daemon::refuse_successor(const Error& why) {
  spdlog::warn("upgrade: pid {} is refused: {}", successor_->pid, why.text);
  (void)successor_->connection.send(Refused{why.text, why.hint}).has_value();
  lose_successor(why);
}

void Daemon::report_to_successor() {
  Successor& successor = *successor_;
  if (successor.gone) return;
  Status sent;
  if (!successor.told_quiet && workers_quiet_ == workers_.size()) {
    successor.told_quiet = true;
    sent = successor.connection.send(Quiet{});
  }
  if (sent && monotonic_ms() - successor.reported_ms >= kReportMs) {
    successor.reported_ms = monotonic_ms();
    uint64_t running = 0;
    for (const auto& worker : workers_)
      running += worker->counters().requests_running.load(std::memory_order_relaxed);
    sent = successor.connection.send(Running{running});
  }
  if (!sent) lose_successor(sent.error());
}

// Before it serves, nothing has happened. After that there is no way back, but a next start should
// not wait for us longer than for any other end.
void Daemon::lose_successor(const Error& why) {
  if (!successor_->serves) {
    spdlog::info("upgrade: pid {} is gone, nothing has changed: {}", successor_->pid, why.text);
    successor_.reset();
    return;
  }
  successor_->gone = true;
  spdlog::warn("upgrade: pid {}, which took over, is gone: {}", successor_->pid, why.text);
  hurry(config_.limits.drain_ms);
}

// To the successor, that all is quiet; to callers of the admin socket, what they have just asked.
bool Daemon::owes_words() const {
  if (!successor_ || !successor_->serves) return false;
  if (!successor_->gone && !successor_->told_quiet) return true;
  return admin_->counters().clients > 0 && monotonic_ms() < successor_->callers_until_ms;
}

void Daemon::hurry(int64_t within_ms) {
  drain_deadline_ms_ = std::min(drain_deadline_ms_, monotonic_ms() + within_ms);
}

}  // namespace tollgate::daemon
