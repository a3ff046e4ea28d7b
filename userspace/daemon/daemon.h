// The wiring: which part is made when, in which order privileges go, and the control thread's loop
// (admin socket, signals, flow events, reload, drain). No decision about a request is made here.
#pragma once

#include <poll.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "ringbuf/lane.h"
#include "userspace/admin/server.h"
#include "userspace/admin/service.h"
#include "userspace/base/fd.h"
#include "userspace/daemon/load.h"
#include "userspace/daemon/metering.h"
#include "userspace/daemon/resolve.h"
#include "userspace/daemon/tunnel_watch.h"
#include "userspace/daemon/upgrade.h"
#include "userspace/daemon/webhook.h"
#include "userspace/identity/peer_table.h"
#include "userspace/identity/peers.h"
#include "userspace/kernel/steering.h"
#include "userspace/ledger/store.h"
#include "userspace/ledger/writer.h"
#include "userspace/proxy/budget_table.h"
#include "userspace/proxy/worker.h"

namespace tollgate::daemon {

class Daemon final : admin::Service {
 public:
  // How it begins: alone, or beside a running daemon that it takes over from.
  enum class Start { alone, upgrade };
  static Result<std::unique_ptr<Daemon>> make(std::string config_path, policy::Config config,
                                              Start start);
  ~Daemon() override;

  int run();  // until drained; the process's exit code

 private:
  Daemon(std::string config_path, policy::Config config);

  // Start-up, in this order.
  Status start_tunnel_watch();
  Status require_tunnels() const;
  kernel::SteeringOptions steering_options() const;
  Status start_steering();
  Status start_listeners();
  Status lock_state();
  Status start_ledger();
  Status start_budgets(ledger::Store& store);
  Status start_workers();
  Status start_admin();

  // An upgrade, as the new process: take_over.cc.
  Status find_predecessor();
  Status ask_for_all();
  Status take_over_steering();
  Status take_over_requests();
  Status inherit_holds();
  void follow_predecessor();
  Status settle_inherited();
  Status recover_inherited();
  void tell_predecessor(const Message& message);

  // An upgrade, as the old one: hand_over.cc.
  void step_handover();
  void accept_successor();
  void serve_successor();
  Status answer_successor(const Message& message);
  Status answer(const Hello& hello);
  Status answer(const Take& take);
  Status answer(const Ready& ready);
  void refuse_successor(const Error& why);
  void report_to_successor();
  void lose_successor(const Error& why);
  void hurry(int64_t within_ms);
  bool owes_words() const;

  // admin::Service
  nlohmann::json status() override;
  nlohmann::json peers() override;
  nlohmann::json sessions() override;
  Result<std::vector<ledger::UsageRow>> usage(ledger::GroupBy by,
                                              const ledger::UsageQuery& query) override;
  Status records(const ledger::UsageQuery& query,
                 const std::function<bool(const ringbuf::UsageRecord&)>& visit) override;
  Result<nlohmann::json> explain(const std::string& user, const std::string& model,
                                 uint64_t body_bytes) override;
  Result<nlohmann::json> limits(const std::string& user) override;
  Result<nlohmann::json> adjustments() override;
  Result<nlohmann::json> grant(const admin::GrantRequest& grant, uint32_t uid) override;
  Result<nlohmann::json> reset(const admin::ResetRequest& reset, uint32_t uid) override;
  Result<nlohmann::json> revoke(const admin::RevokeRequest& revoke, uint32_t uid) override;
  Result<nlohmann::json> restore(const admin::RestoreRequest& restore, uint32_t uid) override;
  nlohmann::json unmetered() override;
  nlohmann::json acknowledge() override;
  Result<nlohmann::json> reload() override;

  // Budgets: limits.cc.
  Status recover_holds(ledger::Store& store);
  Status recover(ledger::Store& store, const std::vector<ringbuf::HoldRecord>& holds);
  Status fill_budgets(bool at_start);
  Status count_past(int64_t since_window_ms, bool learn);
  Status follow_limits(const policy::Policy& policy);
  Result<nlohmann::json> adjust(ledger::Adjustment adjustment);
  Status follow_adjustments();
  void apply(const ledger::Adjustment& adjustment);
  void follow_alerts(policy::Alerts alerts);
  void raise_alerts();
  void follow_metering();
  void end_metering();
  bool refuses_unmetered() const;
  nlohmann::json limits_status();
  Status require_subject(const std::string& scope, const std::string& subject) const;

  // Revocations: revocation.cc.
  struct Revoked {
    ledger::Revocation entry;
    std::string not_durable;  // why it ends with this process; empty: it is on disk
  };
  Status load_revocations();
  const Revoked* revocation_of(const policy::Peer& peer) const;
  void mark_revoked(std::vector<policy::Peer>& peers) const;
  Result<ledger::Revocation> find_subject(const std::string& text) const;
  nlohmann::json describe(const Revoked& revoked) const;
  nlohmann::json revocations() const;
  void append_revocation_problems(std::vector<std::string>& problems) const;

  // The peers that `configured` and the tunnels name now, with their tags.
  std::vector<policy::Peer> name_peers(const std::vector<policy::ConfiguredPeer>& configured);
  // After a change of tunnels or revocations: the same policy with the peers of now, for everybody.
  void follow_peers();
  void follow_tunnels();
  void install(std::shared_ptr<proxy::Snapshot> snapshot);
  void deploy(std::shared_ptr<proxy::Snapshot> snapshot);
  void wake() const;  // the control thread, from any
  void fill_addresses(proxy::Snapshot& snapshot) const;
  void write_peers();
  void on_signal();
  void begin_drain();
  std::vector<pollfd> interests() const;
  void read_flows();
  std::vector<proxy::WorkerReport> ask_workers();
  std::vector<std::string> problems() const;
  std::string_view tls_path_name() const;
  nlohmann::json tls_status() const;
  nlohmann::json steering_status() const;
  nlohmann::json metering_status() const;
  nlohmann::json providers_status();

  std::string config_path_;
  policy::Config config_;
  int64_t started_unix_ms_;
  identity::PeerTable peer_table_;
  TlsPath tls_path_;
  std::unique_ptr<TunnelWatch> tunnel_watch_;
  std::vector<identity::Tunnel> tunnels_;  // as last seen; empty: nobody looks
  std::vector<identity::PeerProblem> peer_problems_;
  std::string tunnel_problem_;  // as last logged
  std::vector<Revoked> revoked_;
  std::unique_ptr<kernel::Steering> steering_;
  std::unique_ptr<Metering> metering_;  // after start_steering()
  std::unique_ptr<identity::Resolver> resolver_;
  std::shared_ptr<const proxy::Snapshot> snapshot_;
  int64_t policy_loaded_unix_s_ = 0;
  std::string last_reload_error_;
  std::string peers_error_;  // the kernel's peer map could not be written; tried again
  std::unique_ptr<proxy::Shared> shared_;
  std::vector<std::unique_ptr<ringbuf::Lane>> lanes_;
  std::vector<UniqueFd> lane_fds_;
  std::vector<std::vector<UniqueFd>> listeners_;  // by worker
  UniqueFd state_lock_;
  std::unique_ptr<ledger::Reader> reader_;
  std::unique_ptr<ledger::Journal> journal_;
  std::unique_ptr<proxy::BudgetTable> budgets_;
  uint64_t holds_recovered_ = 0;
  int64_t last_adjustment_ = 0;  // its id
  std::unique_ptr<Webhook> webhook_;
  std::unique_ptr<ledger::Writer> writer_;
  std::vector<std::unique_ptr<proxy::Worker>> workers_;
  std::unique_ptr<admin::Server> admin_;
  std::optional<admin::SocketFile> upgrade_socket_;  // where a new process asks
  std::unique_ptr<Predecessor> predecessor_;         // there while an upgrade goes on
  std::unique_ptr<Successor> successor_;
  bool owns_kernel_ = true;  // the peers in the kernel are ours to write
  std::atomic<size_t> workers_quiet_{0};
  UniqueFd signal_fd_;
  UniqueFd wake_fd_;  // eventfd: other threads have news for the control thread
  std::atomic<bool> addresses_changed_{false};
  std::atomic<size_t> workers_drained_{0};
  struct Flows {
    uint64_t opened = 0;
    uint64_t closed = 0;
    uint64_t unknown = 0;
  } flows_;
  bool draining_ = false;
  bool cut_ = false;
  int64_t drain_deadline_ms_ = 0;
  std::unique_ptr<AddressBook> book_;  // last: its thread calls back into the members above
};

}  // namespace tollgate::daemon
