// The new process of an upgrade: it gets ready beside the one that serves, takes its sockets over
// without a moment in which nobody listens, and follows its requests until they are settled.
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/base/fault_point.h"
#include "userspace/daemon/daemon.h"
#include "userspace/daemon/interception.h"
#include "userspace/daemon/privileges.h"
#include "userspace/kernel/bpf_resolver.h"

namespace tollgate::daemon {
namespace {

constexpr int kAnswerMs = 10'000;
// The worst case is a disk that takes long for the last holds; until then nobody may admit.
constexpr int kQuietLogMs = 10'000;
constexpr int kCallersMax = 4;

Error refusal(std::string why, std::string hint) {
  return Error{Fault::config, 0, "take over: " + std::move(why), std::move(hint)};
}

template <typename Wanted>
Result<Wanted> expect(Result<Received> received, std::vector<UniqueFd>* fds = nullptr) {
  if (!received) return std::move(received).forward();
  if (auto* refused = std::get_if<Refused>(&received->message)) {
    return Error{Fault::config, 0, std::move(refused->text), std::move(refused->hint)};
  }
  auto* wanted = std::get_if<Wanted>(&received->message);
  if (wanted == nullptr) return refusal("the running daemon says what makes no sense", "");
  if (fds != nullptr) *fds = std::move(received->fds);
  return std::move(*wanted);
}

// A daemon that refuses hangs up at once: its words are there all the same.
template <typename Wanted>
Result<Wanted> ask(Connection& connection, const Message& message,
                   std::vector<UniqueFd>* fds = nullptr) {
  const Status sent = connection.send(message);
  auto answer = expect<Wanted>(connection.wait(kAnswerMs), fds);
  if (!answer && !sent && answer.error().sys_errno != 0) return sent.error();
  return answer;
}

bool has_ended(const UniqueFd& process) {
  pollfd wait{process.get(), POLLIN, 0};
  return ::poll(&wait, 1, 0) > 0;
}

// An IPv4 or IPv6 TCP socket that listens, and nothing else that was slipped to us.
Status check_listening(int fd) {
  int listening = 0;
  int protocol = 0;
  socklen_t size = sizeof listening;
  const bool known = ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 &&
                     ::getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0;
  if (known && listening != 0 && protocol == IPPROTO_TCP) return {};
  return refusal("a descriptor is no listening TCP socket", "");
}

}  // namespace

Status Daemon::find_predecessor() {
  auto connection = Connection::to(config_.gateway.run_dir + "/upgrade.sock");
  if (!connection) return std::move(connection).forward();
  predecessor_ = std::make_unique<Predecessor>(std::move(*connection));
  Predecessor& before = *predecessor_;
  const auto peer = before.connection->peer();
  if (!peer) return peer.error();
  const auto uid = uid_of(config_.gateway.user);
  if (!uid) return uid.error();
  if (peer->uid != 0 && peer->uid != *uid) {
    return refusal("uid " + std::to_string(peer->uid) + " answers on upgrade.sock, not " +
                       config_.gateway.user,
                   "see who owns " + config_.gateway.run_dir);
  }
  before.pid = peer->pid;
  before.process = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, before.pid, 0)));
  if (!before.process) {
    return system_error(errno, "watch the running daemon, pid " + std::to_string(before.pid));
  }
  const Hello ours = own_hello(config_.gateway);
  const auto theirs = ask<Hello>(*before.connection, ours);
  if (!theirs) return theirs.error();
  owns_kernel_ = false;
  return check_alike(ours, *theirs);
}

Status Daemon::ask_for_all() {
  Predecessor& before = *predecessor_;
  auto state = ask<State>(*before.connection, Take{}, &before.fds);
  if (!state) return std::move(state).forward();
  const size_t expected =
      config_.gateway.steering == "bpf" ? State::pins_lock + 1 : State::upgrade_listener + 1;
  if (before.fds.size() != expected || state->workers == 0) {
    return refusal("the running daemon gave too little", "");
  }
  before.notify_socket = std::move(state->notify_socket);
  auto table = identity::PeerTable::from(std::move(state->peers));
  if (!table) return std::move(table).forward();
  peer_table_ = std::move(*table);
  for (uint32_t worker = 0; worker < state->workers; ++worker) {
    std::vector<UniqueFd> fds;
    const auto listeners = expect<Listeners>(before.connection->wait(kAnswerMs), &fds);
    if (!listeners) return listeners.error();
    for (const UniqueFd& fd : fds) {
      if (Status ok = check_listening(fd.get()); !ok) return ok;
    }
    listeners_.push_back(std::move(fds));
  }
  fault_point("upgrade_asked");
  if (config_.gateway.workers != 0 && config_.gateway.workers != listeners_.size()) {
    spdlog::warn("upgrade: {} workers as before, not {}: connections wait in each one's queue",
                 listeners_.size(), config_.gateway.workers);
  }
  return {};
}

Status Daemon::take_over_steering() {
  if (config_.gateway.steering == "userspace") return start_steering();
  auto steering = kernel::Steering::take_over(steering_options(), predecessor_->pid,
                                              std::move(predecessor_->fds[State::pins_lock]));
  if (!steering) return std::move(steering).forward();
  steering_ = std::move(*steering);
  resolver_ = kernel::make_bpf_resolver(*steering_);
  fault_point("upgrade_steering");
  return follow_interception(config_);
}

// From "ready" on there is no way back. Connections wait from then until the end of this function.
Status Daemon::take_over_requests() {
  Predecessor& before = *predecessor_;
  fault_point("upgrade_ready");
  auto quiet = expect<Quiet>([&]() -> Result<Received> {
    if (Status sent = before.connection->send(Ready{}); !sent) return sent.error();
    for (;;) {
      auto received = before.connection->wait(kQuietLogMs);
      if (received && std::holds_alternative<Running>(received->message)) continue;
      if (received || received.error().sys_errno != ETIMEDOUT) return received;
      spdlog::warn("upgrade: pid {} still waits for its last requests or its disk", before.pid);
    }
  }());
  if (!quiet && quiet.error().fault == Fault::config) return quiet.error();  // it refused
  if (!quiet) {
    spdlog::error("upgrade: pid {} ends early: {}", before.pid, quiet.error().text);
    before.connection.reset();
    pollfd end{before.process.get(), POLLIN, 0};
    while (::poll(&end, 1, -1) < 0 && errno == EINTR) {
    }
  }
  if (Status inherited = inherit_holds(); !inherited) return inherited;
  // Whoever asks next time shall find our pid, and not that of the process that listened first.
  ::listen(upgrade_socket_->fd(), kCallersMax);
  owns_kernel_ = true;
  write_peers();
  if (!before.notify_socket.empty()) {
    ::setenv("NOTIFY_SOCKET", before.notify_socket.c_str(), 0);
  }
  spdlog::info("upgrade: took over from pid {}, which finishes {} requests", before.pid,
               before.holds.size());
  return {};
}

// In this order: what is settled meanwhile is in the ledger as a charge, and is told from the holds
// that were read before.
Status Daemon::inherit_holds() {
  Predecessor& before = *predecessor_;
  auto holds = before.store->open_holds();
  if (!holds) return std::move(holds).forward();
  for (ringbuf::HoldRecord& hold : *holds) {
    const ringbuf::UsageRecord& record = hold.request;
    budgets_->with([&](policy::Budgets& budgets) {
      budgets.take_over(
          {.id = record.id,
           .user = record.user,
           .groups = record.groups,
           .model = record.model_served,
           .charge = {record.hold_cost, record.hold_input_tokens + record.hold_output_tokens}});
      return 0;
    });
    before.holds.emplace(record.id, std::move(hold));
  }
  if (Status followed = follow_adjustments(); !followed) return followed;
  if (Status revoked = load_revocations(); !revoked) return revoked;
  if (Status counted = count_past(before.overlap_since_ms, true); !counted) return counted;
  before.overlap_since_ms = std::numeric_limits<int64_t>::max();
  before.counted.clear();
  budgets_->with([](policy::Budgets& budgets) {
    budgets.end_filling();
    return 0;
  });
  return {};
}

void Daemon::follow_predecessor() {
  Predecessor& before = *predecessor_;
  // Looked at before the ledger: what it wrote last is there then.
  const bool ended = has_ended(before.process);
  while (before.connection) {
    auto received = before.connection->receive();
    if (!received) before.connection.reset();
    if (!received || !*received) break;
    if (const auto* running = std::get_if<Running>(&(*received)->message)) {
      before.running = running->requests;
    }
  }
  Status settled = settle_inherited();
  if (settled && ended && !before.holds.empty()) settled = recover_inherited();
  if (!settled) {
    spdlog::error("upgrade: what pid {} has settled cannot be read: {}; trying again", before.pid,
                  settled.error().text);
  } else if (ended) {
    spdlog::info("upgrade: pid {} has ended", before.pid);
    predecessor_.reset();
  }
}

Status Daemon::settle_inherited() {
  Predecessor& before = *predecessor_;
  std::vector<RequestId> ids;
  for (const auto& [id, hold] : before.holds)
    ids.push_back(id);
  return reader_->settled(ids, [&](const ledger::ChargeRow& row) {
    before.holds.erase(row.id);
    budgets_->with([&](policy::Budgets& budgets) {
      budgets.settle({.id = row.id,
                      .charge = {row.cost, row.input_tokens + row.output_tokens},
                      .now = {row.settled_window_ms, row.settled_unix_ms}});
      if (row.calibrates) {
        budgets.calibration().learn(row.user, row.model_served, row.bytes_up, row.input_tokens,
                                    row.output_tokens);
      }
      return 0;
    });
  });
}

// It was killed: as at a start. Then the ledger says what is to be settled, as for any other.
Status Daemon::recover_inherited() {
  std::vector<ringbuf::HoldRecord> holds;
  for (const auto& [id, hold] : predecessor_->holds)
    holds.push_back(hold);
  if (Status recovered = recover(*predecessor_->store, holds); !recovered) return recovered;
  return settle_inherited();
}

void Daemon::tell_predecessor(const Message& message) {
  if (!predecessor_ || !predecessor_->connection) return;
  if (Status sent = predecessor_->connection->send(message); !sent) {
    spdlog::warn("upgrade: pid {} does not listen: {}", predecessor_->pid, sent.error().text);
    predecessor_->connection.reset();
  }
}

}  // namespace tollgate::daemon
