// The wiring: which part is made when, in which order privileges go, and the control thread's loop
// (admin socket, signals, flow events, reload, drain). No decision about a request is made here.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "policy/policy_parse.h"
#include "ringbuf/lane.h"
#include "userspace/admin/server.h"
#include "userspace/admin/service.h"
#include "userspace/base/fd.h"
#include "userspace/daemon/resolve.h"
#include "userspace/daemon/webhook.h"
#include "userspace/identity/peer_table.h"
#include "userspace/kernel/steering.h"
#include "userspace/ledger/store.h"
#include "userspace/ledger/writer.h"
#include "userspace/proxy/budget_table.h"
#include "userspace/proxy/worker.h"

namespace tollgate::daemon {

class Daemon final : admin::Service {
 public:
  static Result<std::unique_ptr<Daemon>> make(std::string config_path, policy::Config config);
  ~Daemon() override;

  int run();  // until drained; the process's exit code

 private:
  Daemon(std::string config_path, policy::Config config);

  // Start-up, in this order.
  Status start_steering();
  Status start_listeners();
  Status lock_state();
  Status start_ledger();
  Status start_budgets(ledger::Store& store);
  Status start_workers();
  Status start_admin();

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
  Result<nlohmann::json> reload() override;

  // Budgets: limits.cc.
  Status recover_holds(ledger::Store& store);
  Status fill_budgets(bool at_start);
  Status follow_limits(const policy::Policy& policy);
  Result<nlohmann::json> adjust(ledger::Adjustment adjustment);
  void apply(const ledger::Adjustment& adjustment);
  void follow_alerts(policy::Alerts alerts);
  void raise_alerts();
  nlohmann::json limits_status();
  Status require_subject(const std::string& scope, const std::string& subject) const;

  void install(std::shared_ptr<proxy::Snapshot> snapshot);
  void fill_addresses(proxy::Snapshot& snapshot) const;
  void write_peers();
  void on_signal();
  void begin_drain();
  void read_flows();
  std::vector<proxy::WorkerReport> ask_workers();
  std::vector<std::string> problems() const;

  std::string config_path_;
  policy::Config config_;
  int64_t started_unix_ms_;
  identity::PeerTable peer_table_;
  std::unique_ptr<kernel::Steering> steering_;
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
  std::unique_ptr<Webhook> webhook_;
  std::unique_ptr<ledger::Writer> writer_;
  std::vector<std::unique_ptr<proxy::Worker>> workers_;
  std::unique_ptr<admin::Server> admin_;
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
