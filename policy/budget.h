// The consumption of all limits, and the holds of running requests: what may still be spent.
//
// Not synchronised: the one lock around it (userspace/proxy/budget_table.h) makes each call one
// critical section. No call's work depends on how many records the ledger has.
//
// A limit's consumption is what the ledger says about the requests it covers (scope, subject,
// models, window), whatever the policies were called then. So a restart, a renamed policy or
// another amount changes no consumption, and a new limit begins with what was already used in its
// window.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "policy/consumption.h"
#include "policy/hold.h"
#include "policy/policy.h"

namespace tollgate::policy {

struct Charge {  // of one request
  NanoUsd cost;
  uint64_t tokens = 0;
};

// How far a limit is used, for response headers.
struct Standing {
  uint32_t used_percent = 0;  // of what is recorded; at most 100
  uint32_t window_minutes = 0;
  int64_t resets_unix_s = 0;
};

// A settled request of the past, for limits that begin.
struct PastCharge {
  RequestId id;
  std::string_view user;
  std::span<const std::string> groups;
  std::string_view model;
  Charge charge;
  BudgetTime at;
};

class Budgets {
 public:
  explicit Budgets(PeriodOf period_of);
  ~Budgets();
  Budgets(const Budgets&) = delete;

  // ---- one request ----

  struct Ask {
    RequestId id;
    const Policy& policy;
    const Peer& peer;
    std::string_view model;  // to be served
    Charge charge;
    bool strict = false;  // the charge is the most it can be
    BudgetTime now;
  };
  struct Granted {
    Charge charge;  // held: as asked, but where it is an estimate never more than a whole limit
    // The limits that are used furthest, first the furthest; at most two.
    std::vector<Standing> standing;
    std::string warning;  // limits that only warn and are exceeded: a sentence, else empty
  };
  struct Downgrade {  // a limit says to serve this model instead; nothing is held
    std::string model;
  };
  struct Exceeded {
    Refusal refusal;
    std::vector<Standing> standing;
  };
  using Outcome = std::variant<Granted, Downgrade, Exceeded>;
  // Holds the charge against every limit that binds the request, or against none.
  Outcome reserve(const Ask& ask);

  // What another process has admitted and not settled: held as it is, whatever the limits say.
  struct Running {
    RequestId id;
    std::string user;
    std::vector<std::string> groups;
    std::string model;  // served
    Charge charge;
  };
  void take_over(Running running);

  struct Settlement {
    RequestId id;
    Charge charge;  // zero: void, it counts as no request either
    BudgetTime now;
  };
  // Once for each granted request. False when nothing was held for the id: our bug, counted.
  bool settle(const Settlement& settlement);

  Calibration& calibration() { return calibration_; }

  // ---- limits come and go ----

  // Makes the accounts that the policy needs. Those of the policy followed before stay until the
  // next call, as requests may still be admitted under it. True: some are new, and want
  // count_past() for all that was settled since oldest_counted(), then end_filling(). When that
  // fails, follow() the policy that stays in force: the failed one is as if it had not been.
  bool follow(const Policy& policy);
  int64_t oldest_counted_ms(int64_t now_window_ms) const;
  void count_past(const PastCharge& past);
  void end_filling();
  // The new policy is not taken after all: its new accounts go. follow() the old one again.
  void abandon_filling();

  struct Grant {
    LimitScope scope = LimitScope::user;
    std::string subject;
    LimitUnit unit = LimitUnit::usd;
    int64_t amount = 0;
    int64_t expires_window_ms = 0;
  };
  void grant(Grant grant);
  // What the subject consumed up to then counts no more; what runs is still held.
  void reset(LimitScope scope, const std::string& subject, int64_t window_ms);

  // ---- what people see ----

  struct State {
    const Limit* limit = nullptr;
    std::string subject;
    std::vector<std::string> policies;
    std::vector<std::string> models;
    int64_t used = 0;
    int64_t held = 0;
    int64_t granted = 0;
    int64_t resets_unix_ms = 0;  // when all that is used now counts no more; 0: nothing is
  };
  // Of the limits that bind the user; of all users and groups when `user` is empty. Points into
  // the policy.
  std::vector<State> states(const Policy& policy, std::string_view user, BudgetTime now) const;
  // What reserve() would say, without holding anything.
  Outcome preview(const Ask& ask) const;

  struct Alert {
    std::string limit;  // "user alice@example.com: $45.10 of $50.00 in the last 24h"
    LimitScope scope = LimitScope::user;
    std::string subject;
    LimitUnit unit = LimitUnit::usd;
    Window window;
    int64_t used = 0;
    int64_t limit_amount = 0;  // with what is granted
    uint32_t threshold_percent = 0;
    int64_t at_unix_s = 0;
  };
  void set_thresholds(std::vector<uint32_t> percents) { thresholds_ = std::move(percents); }
  std::vector<Alert> take_alerts();

  size_t accounts() const;
  size_t holds_open() const { return open_.size(); }
  uint64_t holds_exceeded() const { return holds_exceeded_; }  // the provider charged more
  uint64_t alerts_raised() const { return alerts_raised_; }
  uint64_t settled_unheld() const { return settled_unheld_; }  // must stay 0

 private:
  struct Account;
  struct Open;
  struct Bound {
    Binding binding;
    Account* account;  // null: not followed any more
    bool exempt;       // counted, but it does not stop this request
  };
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  struct IdHash {
    size_t operator()(const RequestId& id) const { return id.low ^ (id.high * 0x9e3779b97f4a7c15); }
  };
  template <typename T>
  using ByText = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

  Account* find(const Limit& limit, std::string_view subject) const;
  std::vector<Bound> bind(const Ask& ask) const;
  static int64_t frees_at(Account& account, int64_t rest, BudgetTime now);
  Charge charge_of(const Ask& ask, const std::vector<Bound>& bounds) const;
  void hold(const RequestId& id, Open open);
  Outcome weigh(const Ask& ask, const Charge& charge, const std::vector<Bound>& bounds) const;
  // Every account that counts such a request, also those that its own policy does not name: one
  // that is about to be followed, or was just before.
  template <typename Use>
  void for_each_covering(std::string_view user, std::span<const std::string> groups,
                         std::string_view model, Use use);
  bool take_in(const Rule& rule, const Limit& limit, const std::string& subject);
  void link(Open& open, Account& account);
  bool is_forgotten(const Account& account, const PastCharge& past) const;
  int64_t granted(const Account& account, int64_t now_window_ms) const;
  int64_t cap(const Limit& limit, const Account& account, int64_t now_window_ms) const;
  void watch(Account& account, BudgetTime now);
  std::vector<Standing> standing(const std::vector<Bound>& bounds, BudgetTime now) const;

  PeriodOf period_of_;
  ByText<ByText<std::unique_ptr<Account>>> accounts_;  // by series, then by subject
  std::unordered_map<RequestId, Open, IdHash> open_;
  Calibration calibration_;
  std::vector<Grant> grants_;
  struct Reset {
    LimitScope scope;
    std::string subject;
    int64_t window_ms;
  };
  std::vector<Reset> resets_;
  std::vector<uint32_t> thresholds_;
  std::vector<Alert> alerts_;
  uint64_t alerts_raised_ = 0;
  uint64_t generation_ = 0;
  bool filling_ = false;
  std::unordered_set<RequestId, IdHash> settled_while_filling_;
  uint64_t holds_exceeded_ = 0;
  uint64_t settled_unheld_ = 0;
};

// The sentences about limits.
struct LimitWords {
  const Limit& limit;
  std::string_view subject;
  int64_t cap = 0;
  int64_t used = 0;
  int64_t held = 0;
  int64_t wanted = 0;
  std::string_view contact{};
};
std::string amount_text(LimitUnit unit, int64_t amount);  // "$12.40", "1,200,000 tokens"
std::string usage_text(const LimitWords& words);  // "group eng: $45.10 of $50.00 in the last 24h"
Refusal exceeded_refusal(const LimitWords& words, int64_t resets_unix_ms);

}  // namespace tollgate::policy
