// The budgets' life in the daemon: filled from the ledger at start and on reload, changed by
// admins, shown to them. What a request does with them is in proxy/admit.cc and proxy/relay.cc.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "userspace/base/calendar.h"
#include "userspace/base/clock.h"
#include "userspace/daemon/daemon.h"
#include "userspace/proxy/admit.h"

namespace tollgate::daemon {
namespace {

using nlohmann::json;
using policy::LimitScope;
using policy::LimitUnit;

// Estimates learn from the last week, also where no limit looks back so far.
constexpr int64_t kLearnedMs = 7ll * 86'400'000;
// No window is longer than a month; twice that is more than any grant or reset matters.
constexpr int64_t kAdjustmentsMs = 62ll * 86'400'000;
constexpr int64_t kRecordedPatienceMs = 5'000;

Period calendar_period(const policy::Window& window, int64_t wall_ms) {
  const CalendarUnit unit = window.kind == policy::Window::Kind::day    ? CalendarUnit::day
                            : window.kind == policy::Window::Kind::week ? CalendarUnit::week
                                                                        : CalendarUnit::month;
  return period_of(unit, window.timezone, wall_ms);
}

LimitScope scope_named(const std::string& name) {
  return name == "group" ? LimitScope::group : LimitScope::user;
}

LimitUnit unit_named(const std::string& name) {
  return name == "tokens"     ? LimitUnit::tokens
         : name == "requests" ? LimitUnit::requests
                              : LimitUnit::usd;
}

std::string on_exceed_text(const policy::Limit& limit) {
  return limit.on_exceed == policy::OnExceed::refuse ? "refuse"
         : limit.on_exceed == policy::OnExceed::warn ? "warn"
                                                     : limit.downgrade_model;
}

json to_json(const policy::Budgets::State& state) {
  const policy::Limit& limit = *state.limit;
  const int64_t cap = limit.amount + state.granted;
  const bool windowed = limit.unit != LimitUnit::concurrent;
  __extension__ using Wide = __int128;
  return {{"scope", to_string(limit.per)},
          {"subject", state.subject},
          {"unit", to_string(limit.unit)},
          {"window", windowed ? to_string(limit.window) : ""},
          {"policies", state.policies},
          {"models", state.models},
          {"limit", limit.amount},
          {"used", state.used},
          {"held", state.held},
          {"granted", state.granted},
          {"left", std::max<int64_t>(cap - state.used - state.held, 0)},
          {"used_percent", cap > 0 ? static_cast<int64_t>(Wide{state.used} * 100 / cap) : 100},
          {"resets_unix_s", (state.resets_unix_ms + 999) / 1'000},
          {"on_exceed", on_exceed_text(limit)}};
}

json to_json(const ledger::Adjustment& adjustment, int64_t window_to_wall_ms) {
  const bool is_grant = adjustment.kind == ledger::Adjustment::Kind::grant;
  return {
      {"id", adjustment.id},
      {"kind", is_grant ? "grant" : "reset"},
      {"scope", adjustment.scope},
      {"subject", adjustment.subject},
      {"unit", adjustment.unit},
      {"amount", adjustment.amount},
      {"made_unix_ms", adjustment.made_unix_ms},
      {"until_unix_s", is_grant ? (adjustment.expires_window_ms + window_to_wall_ms) / 1'000 : 0},
      {"uid", adjustment.uid},
      {"reason", adjustment.reason}};
}

// What a webhook is sent; amounts in the unit, dollars as nano-USD.
json to_json(const policy::Budgets::Alert& alert) {
  return {{"version", 1},
          {"alert",
           {{"limit", alert.limit},
            {"scope", to_string(alert.scope)},
            {"subject", alert.subject},
            {"unit", to_string(alert.unit)},
            {"window", to_string(alert.window)},
            {"used", alert.used},
            {"limit_amount", alert.limit_amount},
            {"threshold_percent", alert.threshold_percent},
            {"at_unix_s", alert.at_unix_s}}}};
}

}  // namespace

Status Daemon::start_budgets(ledger::Store& store) {
  auto journal = ledger::open_sqlite_journal(config_.gateway.state_dir);
  if (!journal) return std::move(journal).forward();
  journal_ = std::move(*journal);
  if (Status ok = load_revocations(); !ok) return ok;
  const auto anchor = journal_->anchored(boot_id(), boottime_ms(), wall_unix_ms());
  if (!anchor) return anchor.error();
  budgets_ = std::make_unique<proxy::BudgetTable>(
      calendar_period, WindowClock(anchor->boottime_ms, anchor->window_ms));
  // Those of a daemon that still runs are its own.
  if (!predecessor_) {
    if (Status ok = recover_holds(store); !ok) return ok;
  }
  if (Status ok = follow_adjustments(); !ok) return ok;
  budgets_->with([&](policy::Budgets& budgets) {
    budgets.set_thresholds(config_.alerts.thresholds_percent);
    return budgets.follow(*snapshot_->policy);
  });
  return fill_budgets(true);
}

// Those that are not applied yet.
Status Daemon::follow_adjustments() {
  const auto adjustments = journal_->adjustments(budgets_->now().window_ms - kAdjustmentsMs);
  if (!adjustments) return adjustments.error();
  for (const ledger::Adjustment& adjustment : *adjustments) {
    if (adjustment.id > last_adjustment_) apply(adjustment);
    last_adjustment_ = std::max(last_adjustment_, adjustment.id);
  }
  return {};
}

// What ran when the gateway died is charged what was held for it: nobody knows better, and less
// would make a crash a way not to pay.
Status Daemon::recover_holds(ledger::Store& store) {
  auto holds = store.open_holds();
  if (!holds) return std::move(holds).forward();
  return recover(store, *holds);
}

Status Daemon::recover(ledger::Store& store, const std::vector<ringbuf::HoldRecord>& holds) {
  const policy::BudgetTime now = budgets_->now();
  std::vector<ledger::Entry> entries;
  for (const ringbuf::HoldRecord& hold : holds) {
    ringbuf::UsageRecord record = hold.request;
    record.outcome = ringbuf::Outcome::recovered;
    record.estimated = true;
    record.input_tokens = record.hold_input_tokens;
    record.output_tokens = record.hold_output_tokens;
    record.cost = record.hold_cost;
    record.settled_unix_ms = now.wall_ms;
    record.settled_window_ms = now.window_ms;
    spdlog::warn(
        "request={} user={} model={} recovered: it ran when the gateway ended; charged its hold, "
        "nano_usd={}",
        to_string(record.id), record.user, record.model_served, record.cost.value);
    entries.emplace_back(std::move(record));
  }
  holds_recovered_ += entries.size();
  return entries.empty() ? Status{} : store.append(entries);
}

// From the ledger into the limits that are new. At start the estimates learn from it, too.
Status Daemon::fill_budgets(bool at_start) {
  const int64_t now_ms = budgets_->now().window_ms;
  int64_t since_ms =
      budgets_->with([&](policy::Budgets& budgets) { return budgets.oldest_counted_ms(now_ms); });
  if (at_start) since_ms = std::min(since_ms, now_ms - kLearnedMs);
  // Somebody else still settles: inherit_holds() counts the rest and ends the filling.
  const bool in_parts = at_start && predecessor_;
  if (in_parts) predecessor_->overlap_since_ms = now_ms - Predecessor::kOverlapMs;
  if (Status counted = count_past(since_ms, at_start); !counted || in_parts) return counted;
  budgets_->with([](policy::Budgets& budgets) {
    budgets.end_filling();
    return 0;
  });
  return {};
}

Status Daemon::count_past(int64_t since_window_ms, bool learn) {
  return reader_->charges(since_window_ms, [&](const ledger::ChargeRow& row) {
    if (predecessor_ && !predecessor_->counts(row)) return;
    budgets_->with([&](policy::Budgets& budgets) {
      budgets.count_past({.id = row.id,
                          .user = row.user,
                          .groups = row.groups,
                          .model = row.model_served,
                          .charge = {row.cost, row.input_tokens + row.output_tokens},
                          .at = {row.settled_window_ms, row.settled_unix_ms}});
      if (learn && row.calibrates) {
        budgets.calibration().learn(row.user, row.model_served, row.bytes_up, row.input_tokens,
                                    row.output_tokens);
      }
      return 0;
    });
  });
}

// New limits begin with what their subjects used before. Whatever was settled before they were
// there is waited for in the ledger; what is settled from then on counts in them by itself.
Status Daemon::follow_limits(const policy::Policy& policy) {
  const bool is_new =
      budgets_->with([&](policy::Budgets& budgets) { return budgets.follow(policy); });
  if (!is_new) return {};
  const std::vector<proxy::WorkerReport> reports = ask_workers();
  const int64_t deadline_ms = monotonic_ms() + kRecordedPatienceMs;
  bool recorded = reports.size() == workers_.size();
  for (size_t i = 0; recorded && i < reports.size(); ++i) {
    while (lanes_[i]->durable_sequence.load(std::memory_order_acquire) <
           reports[i].recorded_sequence) {
      if (monotonic_ms() > deadline_ms) {
        recorded = false;
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  const Status filled =
      recorded ? fill_budgets(false)
               : Status(Error{Fault::system, 0, "count what was used before: the ledger is behind",
                              "see `tollgate status`, then reload again"});
  if (!filled) {
    budgets_->with([&](policy::Budgets& budgets) {
      budgets.abandon_filling();
      return budgets.follow(*snapshot_->policy);
    });
  }
  return filled;
}

void Daemon::apply(const ledger::Adjustment& adjustment) {
  const LimitScope scope = scope_named(adjustment.scope);
  budgets_->with([&](policy::Budgets& budgets) {
    if (adjustment.kind == ledger::Adjustment::Kind::grant) {
      budgets.grant({scope, adjustment.subject, unit_named(adjustment.unit), adjustment.amount,
                     adjustment.expires_window_ms});
    } else {
      budgets.reset(scope, adjustment.subject, adjustment.made_window_ms);
    }
    return 0;
  });
}

void Daemon::follow_alerts(policy::Alerts alerts) {
  config_.alerts = std::move(alerts);
  webhook_->set_url(config_.alerts.webhook);
  budgets_->with([&](policy::Budgets& budgets) {
    budgets.set_thresholds(config_.alerts.thresholds_percent);
    return 0;
  });
}

void Daemon::raise_alerts() {
  const auto alerts =
      budgets_->with([](policy::Budgets& budgets) { return budgets.take_alerts(); });
  for (const policy::Budgets::Alert& alert : alerts) {
    spdlog::warn("alert threshold={}% limit=\"{}\"", alert.threshold_percent, alert.limit);
    webhook_->post(to_json(alert).dump());
  }
}

json Daemon::limits_status() {
  const Webhook::Counters& webhook = webhook_->counters();
  return budgets_->with([&](policy::Budgets& budgets) {
    return json{{"accounts", budgets.accounts()},
                {"holds_open", budgets.holds_open()},
                {"holds_recovered", holds_recovered_},
                {"hold_exceeded", budgets.holds_exceeded()},
                {"holds_leaked", budgets.settled_unheld()},
                {"alerts", budgets.alerts_raised()},
                {"webhook",
                 {{"configured", webhook_->configured()},
                  {"sent", webhook.sent.load()},
                  {"failed", webhook.failed.load()},
                  {"dropped", webhook.dropped.load()}}}};
  });
}

Result<json> Daemon::limits(const std::string& user) {
  json limits = json::array();
  json estimates = json::array();
  budgets_->with([&](policy::Budgets& budgets) {
    for (const auto& state : budgets.states(*snapshot_->policy, user, budgets_->now()))
      limits.push_back(to_json(state));
    for (const auto& row : budgets.calibration().rows(user)) {
      estimates.push_back({{"user", row.user},
                           {"model", row.model},
                           {"samples", row.estimate.samples},
                           {"tokens_per_kilobyte", row.estimate.tokens_per_kilobyte},
                           {"output_tokens", row.estimate.output_tokens}});
    }
    return 0;
  });
  return json{{"limits", std::move(limits)}, {"estimates", std::move(estimates)}};
}

// A name that no limit could ever count for is a typing mistake.
Status Daemon::require_subject(const std::string& scope, const std::string& subject) const {
  const auto& groups = snapshot_->policy->groups();
  const bool known = std::any_of(groups.begin(), groups.end(), [&](const policy::Group& group) {
    return scope == "group" ? group.name == subject
                            : std::find(group.members.begin(), group.members.end(), subject) !=
                                  group.members.end();
  });
  if (known) return {};
  return Error{Fault::peer, 0, "no " + scope + " \"" + subject + "\" in the configuration",
               "`tollgate limits` lists users and groups with limits"};
}

// On disk first: what an admin was told holds, also after a crash in the next moment.
Result<json> Daemon::adjust(ledger::Adjustment adjustment) {
  if (Status ok = require_subject(adjustment.scope, adjustment.subject); !ok) return ok.error();
  const policy::BudgetTime now = budgets_->now();
  adjustment.made_unix_ms = now.wall_ms;
  adjustment.made_window_ms = now.window_ms;
  if (adjustment.kind == ledger::Adjustment::Kind::grant) {
    adjustment.expires_window_ms += now.window_ms;
  }
  const auto id = journal_->add(adjustment);
  if (!id) return id.error();
  adjustment.id = *id;
  last_adjustment_ = *id;
  apply(adjustment);
  return to_json(adjustment, now.wall_ms - now.window_ms);
}

Result<json> Daemon::grant(const admin::GrantRequest& grant, uint32_t uid) {
  ledger::Adjustment adjustment;
  adjustment.kind = ledger::Adjustment::Kind::grant;
  adjustment.scope = grant.scope;
  adjustment.subject = grant.subject;
  adjustment.unit = grant.unit;
  adjustment.amount = grant.amount;
  adjustment.expires_window_ms = grant.for_s * 1'000;  // from now on
  adjustment.uid = uid;
  adjustment.reason = grant.reason;
  return adjust(std::move(adjustment));
}

Result<json> Daemon::reset(const admin::ResetRequest& reset, uint32_t uid) {
  ledger::Adjustment adjustment;
  adjustment.kind = ledger::Adjustment::Kind::reset;
  adjustment.scope = reset.scope;
  adjustment.subject = reset.subject;
  adjustment.uid = uid;
  adjustment.reason = reset.reason;
  return adjust(std::move(adjustment));
}

Result<json> Daemon::adjustments() {
  const policy::BudgetTime now = budgets_->now();
  const auto list = journal_->adjustments(now.window_ms - kAdjustmentsMs);
  if (!list) return list.error();
  json rows = json::array();
  for (const ledger::Adjustment& adjustment : *list)
    rows.push_back(to_json(adjustment, now.wall_ms - now.window_ms));
  return rows;
}

// What would happen to a request now: the policy's steps, then each limit with its numbers.
Result<json> Daemon::explain(const std::string& user, const std::string& model,
                             uint64_t body_bytes) {
  const policy::Policy& policy = *snapshot_->policy;
  const policy::Policy::Explanation explanation = policy.explain(user, model);
  const policy::Peer peer = policy.peer_of(user);
  json steps = json::array();
  for (const auto& step : explanation.steps) {
    steps.push_back({{"subject", step.subject}, {"passed", step.passed}, {"reason", step.reason}});
  }
  json answer = {{"user", user},          {"model", model},
                 {"groups", peer.groups}, {"steps", std::move(steps)},
                 {"policy", ""},          {"provider", ""}};
  const auto deny = [&](const policy::Refusal& refusal) {
    answer.update({{"allowed", false},
                   {"code", policy::shape_of(refusal.code).name},
                   {"message", refusal.message}});
  };
  const auto* allowed = std::get_if<policy::Allowed>(&explanation.verdict);
  if (allowed == nullptr) {
    deny(std::get<policy::Refusal>(explanation.verdict));
    return answer;
  }
  answer.update({{"allowed", true},
                 {"code", ""},
                 {"message", ""},
                 {"policy", allowed->rule->name},
                 {"provider", allowed->provider->name},
                 {"served_model", allowed->served_model}});
  codec::RequestFacts facts;
  facts.model = model;
  const auto forecast = proxy::forecast(policy, peer, facts, body_bytes, *budgets_);
  if (const auto* refusal = std::get_if<policy::Refusal>(&forecast)) {
    deny(*refusal);
    return answer;
  }
  const auto& seen = std::get<proxy::Forecast>(forecast);
  if (const auto* exceeded = std::get_if<policy::Budgets::Exceeded>(&seen.outcome)) {
    deny(exceeded->refusal);
  }
  answer["hold"] = {{"mode", seen.mode == policy::HoldMode::strict ? "strict" : "typical"},
                    {"input_tokens", seen.hold.input_tokens},
                    {"output_tokens", seen.hold.output_tokens},
                    {"cost_nano_usd", seen.hold.cost.value},
                    {"body_bytes", body_bytes}};
  answer["limits"] = json::array();
  budgets_->with([&](policy::Budgets& budgets) {
    for (const auto& state : budgets.states(policy, user, budgets_->now())) {
      if (!policy::matches_any(state.models, allowed->served_model)) continue;
      const LimitUnit unit = state.limit->unit;
      const int64_t wanted = unit == LimitUnit::usd      ? seen.hold.cost.value
                             : unit == LimitUnit::tokens ? static_cast<int64_t>(seen.hold.tokens())
                                                         : 1;
      json row = to_json(state);
      row["fits"] = wanted <= row["left"].get<int64_t>();
      answer["limits"].push_back(std::move(row));
    }
    return 0;
  });
  return answer;
}

}  // namespace tollgate::daemon
