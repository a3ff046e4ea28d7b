#include "userspace/daemon/daemon.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/privileges.h"
#include "userspace/kernel/bpf_resolver.h"

namespace tollgate::daemon {
namespace {

constexpr size_t kLaneBytes = 4 * 1024 * 1024;
constexpr std::chrono::milliseconds kDnsPatience{2000};  // at start: boot goes on without DNS
constexpr std::chrono::milliseconds kLedgerPatience{10'000};
constexpr int kControlTickMs = 1000;
constexpr int64_t kCutPatienceMs = 5000;

// Plain http may be heard only where the tunnel encrypts.
Status require_tunnel_address(const Endpoint& endpoint, const std::vector<std::string>& tunnels) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return system_error(errno, "list interfaces");
  bool on_tunnel = false;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    sockaddr_storage storage{};
    const size_t length = entry->ifa_addr->sa_family == AF_INET    ? sizeof(sockaddr_in)
                          : entry->ifa_addr->sa_family == AF_INET6 ? sizeof(sockaddr_in6)
                                                                   : 0;
    std::memcpy(&storage, entry->ifa_addr, length);
    const auto address = endpoint_from_sockaddr(storage);
    on_tunnel =
        on_tunnel || (address && address->address == endpoint.address &&
                      std::find(tunnels.begin(), tunnels.end(), entry->ifa_name) != tunnels.end());
  }
  ::freeifaddrs(list);
  if (on_tunnel) return {};
  return Error{Fault::config, 0,
               "listen on " + to_string(endpoint) + " without TLS: not an address of a tunnel",
               "set certificate and private_key, or name the tunnel in gateway.tunnels"};
}

// One socket for each worker on the same address; port 0 is chosen by the first.
Status listen_group(Endpoint at, std::vector<std::vector<UniqueFd>>& by_worker) {
  for (auto& listeners : by_worker) {
    auto fd = io::listen_tcp({.at = at, .reuse_port = true});
    if (!fd) return std::move(fd).forward();
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    if (::getsockname(fd->get(), reinterpret_cast<sockaddr*>(&storage), &length) != 0) {
      return system_error(errno, "read the port of " + to_string(at));
    }
    at.port = endpoint_from_sockaddr(storage)->port;
    listeners.push_back(std::move(*fd));
  }
  return {};
}

}  // namespace

Daemon::Daemon(std::string config_path, policy::Config config)
    : config_path_(std::move(config_path)),
      config_(std::move(config)),
      started_unix_ms_(wall_unix_ms()) {}

Result<std::unique_ptr<Daemon>> Daemon::make(std::string config_path, policy::Config config) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config_path), std::move(config)));
  // Signals are read from a descriptor; blocked before any thread is made, so that all inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&signals, signal);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  daemon->signal_fd_ = UniqueFd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  daemon->wake_fd_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!daemon->signal_fd_ || !daemon->wake_fd_) return system_error(errno, "make control fds");

  if (Status ok = harden_process(daemon->config_.limits); !ok) return std::move(ok).forward();
  if (Status ok = prepare_folders(daemon->config_.gateway); !ok) return std::move(ok).forward();
  auto snapshot = load_snapshot(daemon->config_, daemon->peer_table_);
  if (!snapshot) return std::move(snapshot).forward();
  // The cgroup is entered here, before the listeners are made: sock_ops follows the listener's.
  if (Status ok = daemon->start_steering(); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_listeners(); !ok) return std::move(ok).forward();
  if (Status ok = drop_privileges(daemon->config_.gateway.user); !ok) {
    return std::move(ok).forward();
  }
  auto webhook = Webhook::make({});
  if (!webhook) return std::move(webhook).forward();
  daemon->webhook_ = std::move(*webhook);
  daemon->webhook_->set_url(daemon->config_.alerts.webhook);
  Daemon* raw = daemon.get();
  daemon->book_ = std::make_unique<AddressBook>([raw] {
    raw->addresses_changed_ = true;
    const uint64_t one = 1;
    (void)!::write(raw->wake_fd_.get(), &one, sizeof one);
  });
  daemon->install(std::move(*snapshot));
  if (Status ok = daemon->start_ledger(); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_workers(); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_admin(); !ok) return std::move(ok).forward();
  return daemon;
}

Daemon::~Daemon() {
  book_.reset();
  for (auto& worker : workers_)
    worker->stop();
  if (writer_) writer_->stop(kLedgerPatience);
}

Status Daemon::start_steering() {
  const policy::GatewayConfig& gateway = config_.gateway;
  if (gateway.steering == "userspace") {
    resolver_ = identity::make_userspace_resolver();
    spdlog::warn(
        "steering=userspace: identity is the source address alone, without the kernel's "
        "word for the tunnel it came through");
    return {};
  }
  auto steering = kernel::Steering::load(
      {.endpoints = gateway.listen, .tunnels = gateway.tunnels, .bpffs = gateway.bpffs});
  if (!steering) {
    Error error = steering.error();
    if (error.hint.empty()) {
      error.hint =
          "run as root with BPF, or set gateway.steering = \"userspace\" (identity from "
          "the source address alone)";
    }
    return error;
  }
  steering_ = std::move(*steering);
  resolver_ = kernel::make_bpf_resolver(*steering_);
  return {};
}

Status Daemon::start_listeners() {
  const policy::GatewayConfig& gateway = config_.gateway;
  const uint32_t workers =
      gateway.workers != 0 ? gateway.workers : std::max(1u, std::thread::hardware_concurrency());
  listeners_.resize(workers);
  if (gateway.plain_http) {
    for (const Endpoint& endpoint : gateway.listen) {
      if (Status ok = require_tunnel_address(endpoint, gateway.tunnels); !ok) return ok;
    }
  }
  if (!steering_) {
    for (const Endpoint& endpoint : gateway.listen) {
      if (Status ok = listen_group(endpoint, listeners_); !ok) return ok;
    }
    return {};
  }
  // On loopback, where nothing but the BPF program leads to them from a tunnel.
  const auto any_family = [&](bool v4) {
    return std::any_of(gateway.listen.begin(), gateway.listen.end(),
                       [v4](const Endpoint& endpoint) { return endpoint.address.is_v4() == v4; });
  };
  int v4_fd = -1;
  int v6_fd = -1;
  if (any_family(true)) {
    if (Status ok = listen_group({*parse_ip("127.0.0.1"), 0}, listeners_); !ok) return ok;
    v4_fd = listeners_.front().back().get();
  }
  if (any_family(false)) {
    if (Status ok = listen_group({*parse_ip("::1"), 0}, listeners_); !ok) return ok;
    v6_fd = listeners_.front().back().get();
  }
  return steering_->set_listeners(v4_fd, v6_fd);
}

// Two gateways on one ledger would each count only their own requests against its limits.
Status Daemon::lock_state() {
  const std::string path = config_.gateway.state_dir + "/lock";
  state_lock_ = UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!state_lock_) return system_error(errno, "open " + path);
  if (::flock(state_lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  return Error{Fault::config, errno, "lock " + path + ": another tollgated uses this state folder",
               "stop it, or give this one a state_dir of its own"};
}

Status Daemon::start_ledger() {
  if (Status ok = lock_state(); !ok) return ok;
  auto store = ledger::open_sqlite_store(config_.gateway.state_dir);
  if (!store) return std::move(store).forward();
  auto reader = ledger::open_sqlite_reader(config_.gateway.state_dir);
  if (!reader) return std::move(reader).forward();
  reader_ = std::move(*reader);
  if (Status ok = start_budgets(**store); !ok) return ok;
  std::vector<ringbuf::Lane*> lanes;
  for (size_t i = 0; i < listeners_.size(); ++i) {
    auto ring = ringbuf::SpscRing::make(kLaneBytes);
    if (!ring) return std::move(ring).forward();
    UniqueFd notify(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!notify) return system_error(errno, "make eventfd");
    lanes_.push_back(std::make_unique<ringbuf::Lane>(std::move(*ring), notify.get()));
    lane_fds_.push_back(std::move(notify));
    lanes.push_back(lanes_.back().get());
  }
  writer_ = std::make_unique<ledger::Writer>(std::move(*store), std::move(lanes),
                                             ledger::Writer::Options{},
                                             [this](const ringbuf::UsageRecord& record) {
                                               if (admin_) admin_->publish(record);
                                             });
  return {};
}

Status Daemon::start_workers() {
  shared_ = std::make_unique<proxy::Shared>(config_.limits);
  shared_->store_healthy = [this] { return writer_->healthy(); };
  shared_->resolver = resolver_.get();
  shared_->budgets = budgets_.get();
  for (size_t i = 0; i < listeners_.size(); ++i) {
    io::Loop::Options loop;
    loop.backend =
        config_.gateway.io == "poll" ? io::Loop::Backend::poll : io::Loop::Backend::io_uring;
    auto worker = proxy::Worker::make({.loop = loop,
                                       .listeners = std::move(listeners_[i]),
                                       .snapshot = snapshot_,
                                       .lane = lanes_[i].get()},
                                      *shared_);
    if (!worker) return std::move(worker).forward();
    if (i == 0 && !(*worker)->loop().fallback_reason().empty()) {
      spdlog::warn("io_uring is not available, polling instead: {}",
                   (*worker)->loop().fallback_reason());
    }
    workers_.push_back(std::move(*worker));
  }
  return {};
}

Status Daemon::start_admin() {
  auto server = admin::Server::make({.socket_path = config_.gateway.run_dir + "/admin.sock",
                                     .audit =
                                         [](uint32_t uid, const std::string& what) {
                                           spdlog::info("audit uid={} did=\"{}\"", uid, what);
                                         }},
                                    *this);
  if (!server) return std::move(server).forward();
  admin_ = std::move(*server);
  return {};
}

void Daemon::fill_addresses(proxy::Snapshot& snapshot) const {
  const AddressBook::Addresses book = book_->addresses();
  for (auto& target : snapshot.targets) {
    for (const policy::Provider& provider : snapshot.policy->providers()) {
      if (provider.name != target->provider || provider.connect_to) continue;
      const auto found = book.find({provider.host, provider.port});
      if (found == book.end() || found->second == target->addresses) continue;
      auto copy = std::make_shared<proxy::Target>(*target);
      copy->addresses = found->second;
      target = std::move(copy);
    }
  }
}

// Makes a snapshot the one in force: addresses, then the workers, then the kernel's peers, so that
// a peer is never tagged before its user is known.
void Daemon::install(std::shared_ptr<proxy::Snapshot> snapshot) {
  std::vector<AddressBook::Host> hosts;
  for (const policy::Provider& provider : snapshot->policy->providers()) {
    if (!provider.connect_to) hosts.emplace_back(provider.host, provider.port);
  }
  book_->follow(std::move(hosts), kDnsPatience);
  fill_addresses(*snapshot);
  snapshot_ = std::move(snapshot);
  policy_loaded_unix_s_ = wall_unix_ms() / 1000;
  for (auto& worker : workers_)
    worker->set_snapshot(snapshot_);
  write_peers();
}

void Daemon::write_peers() {
  if (!steering_) return;
  std::vector<kernel::PeerEntry> entries;
  for (const policy::Peer& peer : snapshot_->policy->peers()) {
    entries.push_back({.tunnel = peer.tunnel, .address = peer.address, .tag = peer.tag});
  }
  const Status written = steering_->set_peers(entries);
  const std::string error = written ? std::string() : written.error().text;
  if (error != peers_error_ && !error.empty()) {
    spdlog::error("peers have no identity: {}; trying again", error);
  }
  peers_error_ = error;
}

int Daemon::run() {
  writer_->start();
  for (auto& worker : workers_)
    worker->start();
  spdlog::info(
      "tollgated serves {} with {} workers, steering={}, io={}",
      to_string(config_.gateway.listen.front()), workers_.size(), resolver_->name(),
      workers_.front()->loop().backend() == io::Loop::Backend::io_uring ? "io_uring" : "poll");
  while (workers_drained_ < workers_.size()) {
    std::vector<pollfd> fds = {{signal_fd_.get(), POLLIN, 0},
                               {wake_fd_.get(), POLLIN, 0},
                               {admin_->publish_fd(), POLLIN, 0}};
    if (steering_) fds.push_back({steering_->flow_fd(), POLLIN, 0});
    for (const auto& interest : admin_->interests())
      fds.push_back({interest.fd, interest.events, 0});
    ::poll(fds.data(), fds.size(), kControlTickMs);
    if (fds[0].revents != 0) on_signal();
    uint64_t ignored = 0;
    while (::read(wake_fd_.get(), &ignored, sizeof ignored) > 0) {
    }
    if (addresses_changed_.exchange(false)) {
      auto fresh = std::make_shared<proxy::Snapshot>(*snapshot_);
      fill_addresses(*fresh);
      snapshot_ = std::move(fresh);
      for (auto& worker : workers_)
        worker->set_snapshot(snapshot_);
    }
    if (!peers_error_.empty()) write_peers();
    read_flows();
    raise_alerts();
    admin_->step();
    if (draining_ && !cut_ && monotonic_ms() > drain_deadline_ms_) {
      cut_ = true;
      for (auto& worker : workers_) {
        worker->cut("The gateway is restarting and could not wait for this request. Try again.");
      }
    }
    if (draining_ && monotonic_ms() > drain_deadline_ms_ + kCutPatienceMs) break;
  }
  for (auto& worker : workers_)
    worker->stop();
  raise_alerts();  // what the last requests reached: the log has it at least
  webhook_->stop();
  const bool recorded = writer_->stop(kLedgerPatience);
  if (!recorded) {
    spdlog::critical("{} usage records could not be written: {}", writer_->pending(),
                     writer_->last_error());
  }
  spdlog::info("tollgated ends");
  return recorded ? 0 : 1;
}

void Daemon::on_signal() {
  signalfd_siginfo info{};
  while (::read(signal_fd_.get(), &info, sizeof info) == ssize_t{sizeof info}) {
    if (info.ssi_signo == SIGHUP) {
      spdlog::info("audit uid={} did=\"reload (SIGHUP)\"", info.ssi_uid);
      if (const auto result = reload(); !result) {
        spdlog::error("reload refused, the last good policy stays:\n{}", result.error().text);
      }
    } else if (draining_) {
      drain_deadline_ms_ = 0;  // asked twice: cut now
    } else {
      begin_drain();
    }
  }
}

void Daemon::begin_drain() {
  draining_ = true;
  drain_deadline_ms_ = monotonic_ms() + config_.limits.drain_ms;
  spdlog::info("draining for at most {} s", config_.limits.drain_ms / 1000);
  for (auto& worker : workers_) {
    worker->drain([this] {
      ++workers_drained_;
      const uint64_t one = 1;
      (void)!::write(wake_fd_.get(), &one, sizeof one);
    });
  }
}

void Daemon::read_flows() {
  if (!steering_) return;
  steering_->poll_flows([this](const ringbuf::FlowRecord& flow) {
    switch (flow.event) {
      case ringbuf::FlowEvent::open:
        ++flows_.opened;
        break;
      case ringbuf::FlowEvent::close:
        ++flows_.closed;
        break;
      case ringbuf::FlowEvent::peer_unknown:
        ++flows_.unknown;
        break;
    }
  });
}

}  // namespace tollgate::daemon
