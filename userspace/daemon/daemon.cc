#include "userspace/daemon/daemon.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/daemon/interception.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/metadata_key.h"
#include "userspace/daemon/privileges.h"
#include "userspace/io/tcp_info.h"
#include "userspace/kernel/bpf_resolver.h"

namespace tollgate::daemon {
namespace {

constexpr size_t kLaneBytes = 4 * 1024 * 1024;
constexpr std::chrono::milliseconds kDnsPatience{2000};  // at start: boot goes on without DNS
constexpr std::chrono::milliseconds kLedgerPatience{10'000};
constexpr int kControlTickMs = 1000;
constexpr int kPredecessorTickMs = 100;  // how late its settlements count here
constexpr int64_t kCutPatienceMs = 5000;
constexpr int kLastFlowsMs = 2000;

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
Status listen_group(Endpoint at, std::vector<std::vector<UniqueFd>>& by_worker,
                    bool transparent = false) {
  for (auto& listeners : by_worker) {
    auto fd = io::listen_tcp({.at = at, .reuse_port = true, .transparent = transparent});
    if (!fd) return std::move(fd).forward();
    const auto bound = io::local_of(fd->get());
    if (!bound) return system_error(errno, "read the port of " + to_string(at));
    at.port = bound->port;
    listeners.push_back(std::move(*fd));
  }
  return {};
}

}  // namespace

Daemon::Daemon(std::string config_path, policy::Config config)
    : config_path_(std::move(config_path)),
      config_(std::move(config)),
      started_unix_ms_(wall_unix_ms()) {}

Result<std::unique_ptr<Daemon>> Daemon::make(std::string config_path, policy::Config config,
                                             Start start) {
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

  const bool upgrade = start == Start::upgrade;
  if (upgrade) {
    // First of all, as the two may not even agree on what a ledger is.
    if (Status ok = daemon->find_predecessor(); !ok) return std::move(ok).forward();
  }
  if (Status ok = harden_process(daemon->config_.limits); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_tunnel_watch(); !ok) return std::move(ok).forward();
  if (Status ok = prepare_folders(daemon->config_.gateway); !ok) return std::move(ok).forward();
  auto tls_path = choose_tls_path(daemon->config_.gateway);
  if (!tls_path) return std::move(tls_path).forward();
  daemon->tls_path_ = std::move(*tls_path);
  auto snapshot = load_snapshot(daemon->config_, daemon->tls_path_.kernel);
  if (!snapshot) return std::move(snapshot).forward();
  if (Status ok = daemon->require_tunnels(); !ok) return std::move(ok).forward();
  if (upgrade) {
    if (Status ok = daemon->ask_for_all(); !ok) return std::move(ok).forward();
  }
  (*snapshot)->policy = (*snapshot)->policy->with_peers(daemon->name_peers(daemon->config_.peers));
  if (upgrade) {
    if (Status ok = daemon->take_over_steering(); !ok) return std::move(ok).forward();
  } else {
    // The cgroup is entered here, before the listeners are made: sock_ops follows the listener's.
    if (Status ok = daemon->start_steering(); !ok) return std::move(ok).forward();
    if (Status ok = daemon->start_listeners(); !ok) return std::move(ok).forward();
  }
  daemon->metering_ = std::make_unique<Metering>(daemon->steering_.get());
  if (Status ok = drop_privileges(daemon->config_.gateway.user); !ok) {
    return std::move(ok).forward();
  }
  if (Status ok = give_metadata_key(daemon->config_, **snapshot); !ok) {
    return std::move(ok).forward();
  }
  auto webhook = Webhook::make({});
  if (!webhook) return std::move(webhook).forward();
  daemon->webhook_ = std::move(*webhook);
  daemon->webhook_->set_url(daemon->config_.alerts.webhook);
  Daemon* raw = daemon.get();
  daemon->book_ = std::make_unique<AddressBook>([raw] {
    raw->addresses_changed_ = true;
    raw->wake();
  });
  daemon->install(std::move(*snapshot));
  if (Status ok = daemon->start_ledger(); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_workers(); !ok) return std::move(ok).forward();
  if (Status ok = daemon->start_admin(); !ok) return std::move(ok).forward();
  if (upgrade) {
    if (Status ok = daemon->take_over_requests(); !ok) return std::move(ok).forward();
  }
  return daemon;
}

Daemon::~Daemon() {
  book_.reset();
  for (auto& worker : workers_)
    worker->stop();
  if (writer_) writer_->stop(kLedgerPatience);
}

// Its process must have neither our secrets nor our descriptors, so it is made before them.
Status Daemon::start_tunnel_watch() {
  if (config_.gateway.tunnels.empty()) return {};
  auto watch = TunnelWatch::start(config_.gateway.tunnels, config_.gateway.user);
  if (!watch) return std::move(watch).forward();
  tunnel_watch_ = std::move(*watch);
  tunnels_ = tunnel_watch_->tunnels();
  return {};
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
  auto steering = kernel::Steering::load(steering_options());
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
  // After the program is in force: until then the guard refuses what the rules bring here.
  return follow_interception(config_);
}

kernel::SteeringOptions Daemon::steering_options() const {
  const policy::GatewayConfig& gateway = config_.gateway;
  return {.endpoints = gateway.listen,
          .intercepts = intercepted_destinations(config_),
          .tunnels = gateway.tunnels,
          .bpffs = gateway.bpffs};
}

// Plain http may be heard only where the tunnel encrypts.
Status Daemon::require_tunnels() const {
  const policy::GatewayConfig& gateway = config_.gateway;
  if (!gateway.plain_http) return {};
  for (const Endpoint& endpoint : gateway.listen) {
    if (Status ok = require_tunnel_address(endpoint, gateway.tunnels); !ok) return ok;
  }
  return {};
}

Status Daemon::start_listeners() {
  const policy::GatewayConfig& gateway = config_.gateway;
  const uint32_t workers =
      gateway.workers != 0 ? gateway.workers : std::max(1u, std::thread::hardware_concurrency());
  listeners_.resize(workers);
  if (!steering_) {
    for (const Endpoint& endpoint : gateway.listen) {
      if (Status ok = listen_group(endpoint, listeners_); !ok) return ok;
    }
    return {};
  }
  // On loopback, where nothing but the BPF program leads to them from a tunnel.
  const std::vector<IpPrefix> destinations = intercepted_destinations(config_);
  const bool transparent = !destinations.empty();
  const auto any_family = [&](bool v4) {
    return std::any_of(gateway.listen.begin(), gateway.listen.end(),
                       [v4](const Endpoint& endpoint) { return endpoint.address.is_v4() == v4; }) ||
           std::any_of(destinations.begin(), destinations.end(),
                       [v4](const IpPrefix& prefix) { return prefix.address.is_v4() == v4; });
  };
  int v4_fd = -1;
  int v6_fd = -1;
  if (any_family(true)) {
    if (Status ok = listen_group({*parse_ip("127.0.0.1"), 0}, listeners_, transparent); !ok)
      return ok;
    v4_fd = listeners_.front().back().get();
  }
  if (any_family(false)) {
    if (Status ok = listen_group({*parse_ip("::1"), 0}, listeners_, transparent); !ok) return ok;
    v6_fd = listeners_.front().back().get();
  }
  return steering_->set_listeners(v4_fd, v6_fd);
}

// Two gateways on one ledger would each count only their own requests against its limits.
Status Daemon::lock_state() {
  const std::string path = config_.gateway.state_dir + "/lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!lock) return system_error(errno, "open " + path);
  if (predecessor_) {
    struct stat ours {};
    struct stat given {};
    state_lock_ = std::move(predecessor_->fds[State::state_lock]);
    // It belongs to the open file, so both have it, if it is this one.
    if (::fstat(lock.get(), &ours) != 0 || ::fstat(state_lock_.get(), &given) != 0 ||
        ours.st_dev != given.st_dev || ours.st_ino != given.st_ino) {
      return Error{Fault::config, 0, "take over " + path + ": the running daemon has another",
                   "upgrade with its gateway.state_dir"};
    }
  } else {
    state_lock_ = std::move(lock);
  }
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
  if (predecessor_) {
    auto beside = ledger::open_sqlite_store(config_.gateway.state_dir);
    if (!beside) return std::move(beside).forward();
    predecessor_->store = std::move(*beside);
  }
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
                                               metering_->on_durable(record);
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
  const std::string path = config_.gateway.run_dir + "/admin.sock";
  const std::string upgrade_path = config_.gateway.run_dir + "/upgrade.sock";
  std::optional<admin::SocketFile> adopted;
  if (predecessor_) {
    std::vector<UniqueFd>& fds = predecessor_->fds;
    adopted.emplace(admin::SocketFile::adopt(path, std::move(fds[State::admin_lock]),
                                             std::move(fds[State::admin_listener])));
    upgrade_socket_.emplace(admin::SocketFile::adopt(upgrade_path,
                                                     std::move(fds[State::upgrade_lock]),
                                                     std::move(fds[State::upgrade_listener])));
  } else {
    auto socket = admin::SocketFile::make(upgrade_path);
    if (!socket) return std::move(socket).forward();
    upgrade_socket_.emplace(std::move(*socket));
  }
  auto server = admin::Server::make({.socket_path = path,
                                     .adopted = std::move(adopted),
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
  policy_loaded_unix_s_ = wall_unix_ms() / 1000;
  deploy(std::move(snapshot));
  write_peers();
}

void Daemon::deploy(std::shared_ptr<proxy::Snapshot> snapshot) {
  snapshot_ = std::move(snapshot);
  metering_->follow(*snapshot_);
  for (auto& worker : workers_)
    worker->set_snapshot(snapshot_);
}

std::vector<policy::Peer> Daemon::name_peers(
    const std::vector<policy::ConfiguredPeer>& configured) {
  identity::PeersInForce named = identity::peers_in_force(configured, tunnels_);
  for (const identity::PeerProblem& problem : named.problems) {
    const bool told = std::any_of(peer_problems_.begin(), peer_problems_.end(),
                                  [&](const auto& known) { return known.text == problem.text; });
    if (!told) spdlog::warn("{}", problem.text);
  }
  peer_problems_ = std::move(named.problems);
  mark_revoked(named.peers);
  peer_table_.assign(named.peers);
  return std::move(named.peers);
}

void Daemon::follow_peers() {
  auto fresh = std::make_shared<proxy::Snapshot>(*snapshot_);
  fresh->policy = snapshot_->policy->with_peers(name_peers(config_.peers));
  deploy(std::move(fresh));
  write_peers();
}

void Daemon::follow_tunnels() {
  if (!tunnel_watch_) return;
  const bool told = tunnel_watch_->step(monotonic_ms());
  if (tunnel_watch_->problem() != tunnel_problem_) {
    tunnel_problem_ = tunnel_watch_->problem();
    if (tunnel_problem_.empty()) {
      spdlog::info("the tunnels can be read again");
    } else {
      spdlog::error("{}", tunnel_problem_);
    }
  }
  if (!told) return;
  const bool same = identity::same_peers(tunnels_, tunnel_watch_->tunnels());
  tunnels_ = tunnel_watch_->tunnels();
  if (!same) follow_peers();
}

void Daemon::write_peers() {
  if (!steering_ || !owns_kernel_) return;
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
      "tollgated serves {} with {} workers, steering={}, io={}, tls={}",
      to_string(config_.gateway.listen.front()), workers_.size(), resolver_->name(),
      workers_.front()->loop().backend() == io::Loop::Backend::io_uring ? "io_uring" : "poll",
      tls_path_name());
  while (workers_drained_ < workers_.size() || predecessor_ || owes_words()) {
    std::vector<pollfd> fds = interests();
    ::poll(fds.data(), fds.size(), predecessor_ ? kPredecessorTickMs : kControlTickMs);
    if (fds[0].revents != 0) on_signal();
    uint64_t ignored = 0;
    while (::read(wake_fd_.get(), &ignored, sizeof ignored) > 0) {
    }
    if (addresses_changed_.exchange(false)) {
      auto fresh = std::make_shared<proxy::Snapshot>(*snapshot_);
      fill_addresses(*fresh);
      deploy(std::move(fresh));
    }
    follow_tunnels();
    if (!peers_error_.empty()) write_peers();
    follow_metering();
    raise_alerts();
    if (predecessor_) follow_predecessor();
    admin_->step();
    step_handover();
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
  } else {
    end_metering();
  }
  spdlog::info("tollgated ends");
  return recorded ? 0 : 1;
}

std::vector<pollfd> Daemon::interests() const {
  std::vector<pollfd> fds = {{signal_fd_.get(), POLLIN, 0},
                             {wake_fd_.get(), POLLIN, 0},
                             {admin_->publish_fd(), POLLIN, 0}};
  if (steering_ && owns_kernel_) fds.push_back({steering_->flow_fd(), POLLIN, 0});
  // poll passes over a descriptor of -1.
  if (tunnel_watch_) fds.push_back({tunnel_watch_->fd(), POLLIN, 0});
  for (const auto& interest : admin_->interests())
    fds.push_back({interest.fd, interest.events, 0});
  if (upgrade_socket_->fd() >= 0) fds.push_back({upgrade_socket_->fd(), POLLIN, 0});
  if (successor_ && !successor_->gone) fds.push_back({successor_->connection.fd(), POLLIN, 0});
  if (predecessor_) fds.push_back({predecessor_->process.get(), POLLIN, 0});
  return fds;
}

void Daemon::on_signal() {
  signalfd_siginfo info{};
  while (::read(signal_fd_.get(), &info, sizeof info) == ssize_t{sizeof info}) {
    if (info.ssi_signo == SIGHUP) {
      spdlog::info("audit uid={} did=\"reload (SIGHUP)\"", info.ssi_uid);
      if (const auto result = reload(); !result) {
        spdlog::error("reload refused, the last good policy stays:\n{}", result.error().text);
      }
      continue;
    }
    if (!draining_) {
      begin_drain();
      continue;
    }
    // Asked twice: cut now. What an upgrade has left behind has more time than is left after one.
    const int64_t left_ms = drain_deadline_ms_ - monotonic_ms();
    hurry(left_ms > int64_t{config_.limits.drain_ms} ? config_.limits.drain_ms : 0);
    tell_predecessor(Finish{0});
  }
}

void Daemon::begin_drain() {
  draining_ = true;
  drain_deadline_ms_ = monotonic_ms() + config_.limits.drain_ms;
  spdlog::info("draining for at most {} s", config_.limits.drain_ms / 1000);
  tell_predecessor(Finish{config_.limits.drain_ms});
  for (auto& worker : workers_) {
    worker->drain([this] {
      ++workers_drained_;
      wake();
    });
  }
}

void Daemon::wake() const {
  const uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof one);
}

void Daemon::read_flows() {
  if (!steering_ || !owns_kernel_) return;  // the ring has one reader
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
      case ringbuf::FlowEvent::upstream_open:
      case ringbuf::FlowEvent::upstream_close:
        metering_->on_flow(flow, monotonic_ms());
        break;
    }
  });
}

void Daemon::follow_metering() {
  // What the other process of an upgrade connects to has its records in that process.
  metering_->set_shared(predecessor_ != nullptr || successor_ != nullptr);
  auto records = metering_->take_records();
  read_flows();
  for (const auto& alarm :
       metering_->judge(std::move(records), writer_->healthy(), monotonic_ms())) {
    webhook_->post(alarm.dump());
  }
  shared_->refuse_unmetered = refuses_unmetered();
}

// Every record is durable. The last connections were closed a moment ago: their ends are waited for
// as long as an ordinary network takes.
void Daemon::end_metering() {
  const int64_t deadline_ms = monotonic_ms() + kLastFlowsMs;
  auto records = metering_->take_records();
  read_flows();
  while (steering_ && owns_kernel_ && metering_->open_flows() > 0 && monotonic_ms() < deadline_ms) {
    pollfd flows{steering_->flow_fd(), POLLIN, 0};
    ::poll(&flows, 1, kLastFlowsMs / 10);
    read_flows();
  }
  metering_->judge_all(std::move(records));
}

bool Daemon::refuses_unmetered() const {
  return config_.gateway.on_unmetered == "refuse" && !metering_->acknowledged();
}

}  // namespace tollgate::daemon
