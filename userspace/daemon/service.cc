// What the daemon answers on the admin socket; shapes are in userspace/admin/README.md.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/daemon/daemon.h"
#include "userspace/daemon/interception.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/metadata_key.h"

namespace tollgate::daemon {
namespace {

using nlohmann::json;
using proxy::Counters;

constexpr std::chrono::seconds kWorkerPatience{2};
constexpr std::ptrdiff_t kPeerProblemsShown = 20;

uint64_t total(const std::vector<std::unique_ptr<proxy::Worker>>& workers,
               Counters::Count Counters::*counter) {
  uint64_t sum = 0;
  for (const auto& worker : workers) {
    sum += (worker->counters().*counter).load(std::memory_order_relaxed);
  }
  return sum;
}

template <size_t N>
uint64_t total(const std::vector<std::unique_ptr<proxy::Worker>>& workers,
               std::array<Counters::Count, N> Counters::*counters, size_t index) {
  uint64_t sum = 0;
  for (const auto& worker : workers) {
    sum += (worker->counters().*counters)[index].load(std::memory_order_relaxed);
  }
  return sum;
}

// Both directions of a connection take the same path; they are told apart to be compared with the
// kernel's own count, /proc/net/tls_stat.
json tls_counts(const std::vector<std::unique_ptr<proxy::Worker>>& workers,
                proxy::TlsCounters Counters::*side) {
  const auto sum = [&](Counters::Count proxy::TlsCounters::*counter) {
    uint64_t total = 0;
    for (const auto& worker : workers)
      total += (worker->counters().*side.*counter).load(std::memory_order_relaxed);
    return total;
  };
  const uint64_t in_kernel = sum(&proxy::TlsCounters::kernel_open);
  return {{"ktls_tx", in_kernel},
          {"ktls_rx", in_kernel},
          {"userspace", sum(&proxy::TlsCounters::userspace_open)},
          {"ktls_total", sum(&proxy::TlsCounters::kernel_total)},
          {"userspace_total", sum(&proxy::TlsCounters::userspace_total)}};
}

json counters_json(const std::vector<std::unique_ptr<proxy::Worker>>& workers) {
  json counters = {
      {"connections_accepted", total(workers, &Counters::connections_accepted)},
      {"connections_refused", total(workers, &Counters::connections_refused)},
      {"handshakes_failed", total(workers, &Counters::handshakes_failed)},
      {"names_refused", total(workers, &Counters::names_refused)},
      {"requests", total(workers, &Counters::requests)},
      {"estimated", total(workers, &Counters::estimated)},
      {"usage_malformed", total(workers, &Counters::usage_malformed)},
      {"terminal_oversized", total(workers, &Counters::terminal_oversized)},
      {"records_delayed", total(workers, &Counters::records_delayed)},
      {"settle_timeouts", total(workers, &Counters::settle_timeouts)},
  };
  for (uint8_t i = 1; i <= static_cast<uint8_t>(ringbuf::Outcome::recovered); ++i) {
    // `refused` itself is the object below, by code.
    const auto outcome = static_cast<ringbuf::Outcome>(i);
    if (outcome == ringbuf::Outcome::refused) continue;
    counters[std::string(to_string(outcome))] = total(workers, &Counters::outcomes, i);
  }
  json refused = json::object();
  for (size_t i = 0; i < policy::kRefusalCodeCount; ++i) {
    const auto& shape = policy::shape_of(static_cast<policy::RefusalCode>(i));
    refused[std::string(shape.name)] = total(workers, &Counters::refused, i);
  }
  counters["refused"] = std::move(refused);
  return counters;
}

// `seen`: what its tunnel says of it, if it says anything.
json peer_json(const policy::Peer& peer, const identity::TunnelPeer* seen) {
  return {{"user", peer.user},
          {"address", to_string(peer.address)},
          {"tunnel", peer.tunnel},
          {"groups", peer.groups},
          {"peer_id", peer.tag.peer_id},
          {"generation", peer.tag.generation},
          {"connections", 0},
          {"public_key", peer.public_key},
          {"endpoint", seen == nullptr ? std::string() : seen->endpoint},
          {"last_handshake_unix_s", seen == nullptr ? 0 : seen->last_handshake_unix_s},
          {"problem", ""}};
}

}  // namespace

std::vector<proxy::WorkerReport> Daemon::ask_workers() {
  std::vector<std::future<proxy::WorkerReport>> answers;
  for (auto& worker : workers_) {
    auto promise = std::make_shared<std::promise<proxy::WorkerReport>>();
    answers.push_back(promise->get_future());
    worker->report(
        [promise](proxy::WorkerReport report) { promise->set_value(std::move(report)); });
  }
  std::vector<proxy::WorkerReport> reports;
  for (auto& answer : answers) {
    if (answer.wait_for(kWorkerPatience) == std::future_status::ready) {
      reports.push_back(answer.get());
    }
  }
  return reports;
}

std::vector<std::string> Daemon::problems() const {
  std::vector<std::string> problems;
  if (!writer_->healthy()) {
    problems.push_back("the ledger cannot write, nothing is admitted: " + writer_->last_error());
  }
  if (!peers_error_.empty()) problems.push_back("peers have no identity: " + peers_error_);
  if (!tunnel_problem_.empty()) problems.push_back(tunnel_problem_);
  for (const identity::PeerProblem& problem : peer_problems_) {
    if (&problem - peer_problems_.data() < kPeerProblemsShown) problems.push_back(problem.text);
  }
  if (std::ssize(peer_problems_) > kPeerProblemsShown) {
    problems.push_back(std::to_string(std::ssize(peer_problems_) - kPeerProblemsShown) +
                       " more peers are nobody; see `tollgate peers`");
  }
  if (!last_reload_error_.empty()) {
    problems.push_back("the last reload was refused, the policy before it is in force: " +
                       last_reload_error_);
  }
  for (const auto& target : snapshot_->targets) {
    if (target->addresses.empty()) {
      problems.push_back("provider " + target->provider + ": " + target->host +
                         " has no address; check the gateway's DNS");
    }
  }
  constexpr int64_t kSoonS = 14 * 24 * 3600;
  if (snapshot_->server_tls) {
    const int64_t left_s =
        snapshot_->server_tls->certificate_expires_unix_s() - wall_unix_ms() / 1000;
    if (left_s <= 0) {
      problems.push_back("the certificate has expired: clients cannot connect");
    } else if (left_s < kSoonS) {
      problems.push_back("the certificate expires in " + std::to_string(left_s / 86400) +
                         " days: renew it and `tollgate reload`");
    }
  }
  append_revocation_problems(problems);
  for (std::string& problem : metering_->problems())
    problems.push_back(std::move(problem));
  if (refuses_unmetered()) {
    problems.push_back(
        "requests are refused for unmetered traffic until `tollgate unmetered --acknowledge`");
  }
  if (draining_) problems.push_back("draining: no new request is taken");
  return problems;
}

json Daemon::unmetered() {
  return {{"on_unmetered", config_.gateway.on_unmetered},
          {"refusing", refuses_unmetered()},
          {"flows", metering_->list()}};
}

json Daemon::acknowledge() {
  json done = metering_->acknowledge();
  shared_->refuse_unmetered = false;
  return done;
}

std::string_view Daemon::tls_path_name() const {
  if (!snapshot_->server_tls) return "plain";
  return tls_path_.kernel.any() ? "ktls" : "openssl";
}

json Daemon::tls_status() const {
  const auto& server = snapshot_->server_tls;
  return {{"path", tls_path_name()},
          {"configured", config_.gateway.tls},
          {"reason", tls_path_.reason},
          {"kernel_rekey", tls_path_.kernel.rekey},
          {"client", tls_counts(workers_, &Counters::client_tls)},
          {"upstream", tls_counts(workers_, &Counters::upstream_tls)},
          {"certificate_expires_unix_s", server ? server->certificate_expires_unix_s() : 0}};
}

json Daemon::steering_status() const {
  json steering = {{"mode", resolver_->name()}, {"reason", ""}, {"counters", json::object()}};
  if (!steering_) {
    steering["reason"] = "configured: identity is the source address alone";
    return steering;
  }
  for (const auto& [name, value] : steering_->counters())
    steering["counters"][name] = value;
  steering["flows"] = {
      {"opened", flows_.opened}, {"closed", flows_.closed}, {"peer_unknown", flows_.unknown}};
  return steering;
}

json Daemon::metering_status() const {
  json metering = metering_->status();
  metering["on_unmetered"] = config_.gateway.on_unmetered;
  metering["refusing"] = refuses_unmetered();
  return metering;
}

json Daemon::providers_status() {
  std::unordered_map<std::string, proxy::UpstreamPool::Count> upstream;
  for (const auto& report : ask_workers()) {
    for (const auto& [provider, count] : report.upstream) {
      upstream[provider].idle += count.idle;
      upstream[provider].busy += count.busy;
    }
  }
  json providers = json::array();
  for (const auto& target : snapshot_->targets) {
    providers.push_back(
        {{"name", target->provider},
         {"base_url", target->scheme + "://" + target->authority + target->path_prefix},
         {"connections_idle", upstream[target->provider].idle},
         {"connections_busy", upstream[target->provider].busy}});
  }
  return providers;
}

json Daemon::status() {
  json listen = json::array();
  for (const Endpoint& endpoint : config_.gateway.listen)
    listen.push_back(to_string(endpoint));
  const io::Loop& loop = workers_.front()->loop();
  const auto& writer = writer_->counters();
  const std::vector<std::string> problems = this->problems();
  json predecessor;
  if (predecessor_) predecessor = {{"pid", predecessor_->pid}, {"requests", predecessor_->running}};
  return {
      {"predecessor", std::move(predecessor)},
      {"version", TOLLGATE_VERSION},
      {"pid", ::getpid()},
      {"uptime_s", (wall_unix_ms() - started_unix_ms_) / 1000},
      {"healthy", problems.empty()},
      {"problems", problems},
      {"listen", std::move(listen)},
      {"tls", tls_status()},
      {"steering", steering_status()},
      {"io",
       {{"backend", loop.backend() == io::Loop::Backend::io_uring ? "io_uring" : "poll"},
        {"fallback_reason", loop.fallback_reason()}}},
      {"workers", workers_.size()},
      {"connections", total(workers_, &Counters::connections_open)},
      {"requests_running", total(workers_, &Counters::requests_running)},
      {"body_memory_bytes", shared_->body_memory.in_use()},
      {"counters", counters_json(workers_)},
      {"ledger",
       {{"healthy", writer_->healthy()},
        {"error", writer_->healthy() ? std::string() : writer_->last_error()},
        {"committed", writer.committed.load()},
        {"batches", writer.batches.load()},
        {"pending", writer_->pending()},
        {"store_errors", writer.store_errors.load()},
        {"events_lost", writer.sequence_gaps.load() + writer.undecodable.load()}}},
      {"limits", limits_status()},
      {"metering", metering_status()},
      {"policy",
       {{"loaded_unix_s", policy_loaded_unix_s_},
        {"peers", snapshot_->policy->peers().size()},
        {"rules", snapshot_->policy->rules().size()},
        {"price_version", snapshot_->policy->prices().version()},
        {"last_reload_error", last_reload_error_}}},
      {"revocations", revocations()},
      {"providers", providers_status()},
  };
}

json Daemon::peers() {
  std::unordered_map<uint32_t, size_t> connections;
  for (const auto& report : ask_workers()) {
    for (const auto& [peer_id, count] : report.connections_by_peer)
      connections[peer_id] += count;
  }
  json list = json::array();
  std::map<std::pair<std::string, std::string>, const identity::TunnelPeer*> seen;
  for (const identity::Tunnel& tunnel : tunnels_) {
    for (const identity::TunnelPeer& peer : tunnel.peers)
      seen[{tunnel.name, peer.public_key}] = &peer;
  }
  const auto row = [&](const policy::Peer& peer) {
    const auto found = seen.find({peer.tunnel, peer.public_key});
    return peer_json(peer, found == seen.end() ? nullptr : found->second);
  };
  for (const policy::Peer& peer : snapshot_->policy->peers()) {
    list.push_back(row(peer));
    list.back()["connections"] = connections[peer.tag.peer_id];
    const Revoked* revoked = revocation_of(peer);
    list.back()["revoked"] = revoked == nullptr ? json() : describe(*revoked);
  }
  // Who is in the configuration and nobody all the same, with the reason.
  for (const identity::PeerProblem& problem : peer_problems_) {
    for (const size_t index : problem.entries) {
      if (index >= config_.peers.size()) continue;
      const policy::ConfiguredPeer& entry = config_.peers[index];
      policy::Peer nobody;
      nobody.user = entry.user;
      nobody.tunnel = entry.tunnel;
      nobody.groups = entry.groups;
      nobody.public_key = entry.public_key;
      list.push_back(row(nobody));
      list.back()["address"] = entry.address ? to_string(*entry.address) : std::string();
      list.back()["problem"] = problem.text;
    }
  }
  return list;
}

json Daemon::sessions() {
  json list = json::array();
  for (const auto& report : ask_workers()) {
    for (const proxy::SessionInfo& session : report.sessions) {
      list.push_back({{"id", to_string(session.id)},
                      {"user", session.user},
                      {"model", session.model},
                      {"state", session.state},
                      {"started_unix_ms", session.started_unix_ms},
                      {"events", session.events},
                      {"bytes_down", session.bytes_down},
                      {"peer_address", session.peer_address},
                      {"session_id", session.session_id},
                      {"via", session.via},
                      {"hold_cost_nano_usd", session.hold_cost.value}});
    }
  }
  return list;
}

Result<std::vector<ledger::UsageRow>> Daemon::usage(ledger::GroupBy by,
                                                    const ledger::UsageQuery& query) {
  return reader_->usage(by, query);
}

Status Daemon::records(const ledger::UsageQuery& query,
                       const std::function<bool(const ringbuf::UsageRecord&)>& visit) {
  return reader_->records(query, visit);
}

// What only a start can change stays as it was, and the log says so.
Result<json> Daemon::reload() {
  auto config = load_config(config_path_);
  Result<std::shared_ptr<proxy::Snapshot>> snapshot =
      config ? load_snapshot(*config, tls_path_.kernel) : Error(config.error());
  if (snapshot) {
    config->gateway.state_dir = config_.gateway.state_dir;
    if (Status ok = give_metadata_key(*config, **snapshot); !ok) snapshot = ok.error();
  }
  if (!snapshot) {
    last_reload_error_ = snapshot.error().text;
    return Error(snapshot.error());
  }
  if (Status ok = follow_limits(*(*snapshot)->policy); !ok) {
    last_reload_error_ = ok.error().text;
    return ok.error();
  }
  last_reload_error_.clear();
  (*snapshot)->policy = (*snapshot)->policy->with_peers(name_peers(config->peers));
  // What is ours and what is intercepted stays as the kernel has it.
  if (!(*snapshot)->own_endpoints.empty()) (*snapshot)->own_endpoints = config_.gateway.listen;
  config_.peers = std::move(config->peers);
  config_.gateway.contact = config->gateway.contact;
  config_.gateway.on_unmetered = config->gateway.on_unmetered;
  follow_alerts(std::move(config->alerts));
  if (config->gateway.listen != config_.gateway.listen ||
      config->gateway.tunnels != config_.gateway.tunnels ||
      config->gateway.workers != config_.gateway.workers ||
      config->gateway.tls != config_.gateway.tls) {
    spdlog::warn("reload: listen, tunnels, workers and tls take a restart; they stay as they were");
  }
  if (intercepted_destinations(*config) != intercepted_destinations(config_)) {
    spdlog::warn("reload: destinations of [[intercept]] take a restart; they stay as they were");
  }
  install(std::move(*snapshot));
  tell_predecessor(Reload{});
  spdlog::info("reloaded: {} policies, {} peers, prices {}", snapshot_->policy->rules().size(),
               snapshot_->policy->peers().size(), snapshot_->policy->prices().version());
  return json{{"policies", snapshot_->policy->rules().size()},
              {"peers", snapshot_->policy->peers().size()},
              {"price_version", snapshot_->policy->prices().version()}};
}

}  // namespace tollgate::daemon
