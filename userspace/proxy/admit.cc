#include "userspace/proxy/admit.h"

#include <algorithm>
#include <utility>

#include "policy/visible.h"

namespace tollgate::proxy {

using policy::Refusal;
using policy::RefusalCode;

namespace {

// Limits that step down to each other would never end; nobody has so many models.
constexpr size_t kDowngradesMax = 4;
// Under a strict hold the provider may call its paid tools so often and no more.
constexpr uint64_t kToolCallsMax = 32;

// What is asked for, by whom, and the model in question.
struct PlanAsk {
  const policy::Policy& policy;
  const policy::Peer& peer;
  const codec::RequestFacts& facts;
  BodyForm form{};
  uint64_t body_bytes = 0;
  std::string_view model;
  policy::NamedBy named_by = policy::NamedBy::client;
};

// A request as it would be sent to one model.
struct Plan {
  policy::Allowed allowed;
  std::string tier;
  std::vector<codec::FieldChange> changes;
  policy::Hold hold;
  uint64_t expected_input_tokens = 0;
};

// The cost of the paid calls that a strict request may make; writes a bound into it when it has
// none. Refuses a tool without a price.
std::variant<NanoUsd, Refusal> price_tools(const policy::Policy& policy, const policy::Rule& rule,
                                           const codec::RequestFacts& facts, BodyChanges& changes) {
  NanoUsd dearest;
  for (const std::string& tool : facts.hosted_tools) {
    const policy::ToolPrice* price = policy.prices().find_tool(tool);
    if (price == nullptr && !policy::bills_by_call(tool)) continue;
    if (price == nullptr) {
      const std::string name = policy::visible(tool);
      return Refusal{RefusalCode::price_unknown,
                     "The hosted tool " + name +
                         " has no price, so it cannot be metered. The price file needs an entry "
                         "\"tool\": \"" +
                         name + "\" under \"tools\"; " + policy.contact() + ".",
                     "tools"};
    }
    dearest = std::max(dearest, price->per_call);
  }
  if (rule.hold != policy::HoldMode::strict || dearest.value == 0) return NanoUsd{};
  const uint64_t calls = changes.cap_tool_calls(kToolCallsMax, facts.max_tool_calls);
  return NanoUsd{dearest.value * static_cast<int64_t>(calls)};
}

// The route's rule as far as it is about the inside of the request.
std::optional<Refusal> refuse_inside(const policy::Gatekeeper& gates, const PlanAsk& ask) {
  if (auto refusal = gates.size(ask.body_bytes)) return refusal;
  for (const std::string& tool : ask.facts.hosted_tools) {
    if (auto refusal = gates.tool(tool)) return refusal;
  }
  return gates.effort(ask.facts.reasoning_effort);
}

// A model that the gateway chose may lack a price for the tier that the client chose for another.
std::string fitting_tier(const policy::Policy& policy, const policy::Gatekeeper& gates,
                         const std::string& served_model, const std::string& tier) {
  const policy::ModelPrice* price = policy.prices().find(served_model);
  const bool fits =
      price == nullptr || price->tiers.count(policy::effective_tier(tier)) != 0 || gates.tier(tier);
  return fits ? tier : "default";
}

std::variant<policy::Hold, Refusal> hold_for(const PlanAsk& ask, const Plan& plan,
                                             uint64_t max_output_tokens, NanoUsd tool_calls_cost,
                                             const policy::Estimate& estimate) {
  const policy::HoldAsk hold_ask{.mode = plan.allowed.rule->hold,
                                 .price = plan.allowed.price,
                                 .tier = plan.tier,
                                 .body_bytes = ask.body_bytes,
                                 .max_output_tokens = max_output_tokens,
                                 .choices = ask.facts.choices,
                                 .refers_elsewhere = ask.facts.refers_elsewhere,
                                 .inline_images = ask.facts.inline_images,
                                 .tool_calls_cost = tool_calls_cost,
                                 .estimate = estimate};
  return policy::size_hold(hold_ask, ask.policy.contact());
}

// Everything that policy says about the request when `ask.model` is asked for: whether, what serves
// it at what price, with which changes to its body, and how much of it is held.
std::variant<Plan, Refusal> plan(const PlanAsk& ask,
                                 const std::shared_ptr<const Secret>& metadata_key,
                                 BudgetTable& budgets) {
  const policy::Policy& policy = ask.policy;
  const codec::RequestFacts& facts = ask.facts;
  auto routed = policy.route(ask.peer, ask.model, ask.named_by);
  if (auto* refusal = std::get_if<Refusal>(&routed)) return std::move(*refusal);
  const policy::Route& route = std::get<policy::Route>(routed);
  const policy::Rule& rule = *route.rule;
  const policy::Gatekeeper gates{rule.guards, rule.name, policy.contact()};
  Plan plan;
  plan.tier = facts.service_tier;
  BodyChanges changes(ask.form);
  if (route.served_model != facts.model) {
    changes.set_model(route.served_model);
    plan.tier = fitting_tier(policy, gates, route.served_model, plan.tier);
    if (plan.tier != facts.service_tier) changes.set_tier(plan.tier);
  }
  policy::Verdict verdict = policy.allow(route, plan.tier);
  if (auto* refusal = std::get_if<Refusal>(&verdict)) return std::move(*refusal);
  plan.allowed = std::get<policy::Allowed>(std::move(verdict));
  if (auto refusal = refuse_inside(gates, ask)) return *std::move(refusal);
  const uint64_t max_output_tokens =
      changes.cap_output(rule.max_output_tokens, facts.max_output_tokens);
  const auto tools = price_tools(policy, rule, facts, changes);
  if (const auto* refusal = std::get_if<Refusal>(&tools)) return *refusal;
  changes.cap_effort(rule.guards, facts);
  changes.keep_no_answer(rule.guards, facts);
  changes.hide_place({rule.guards.turn_metadata, metadata_key});
  changes.ask_usage(facts);
  plan.changes = changes.take();
  const policy::Estimate estimate = budgets.with([&](policy::Budgets& table) {
    return table.calibration().estimate(ask.peer.user, route.served_model);
  });
  auto hold = hold_for(ask, plan, max_output_tokens, std::get<NanoUsd>(tools), estimate);
  if (auto* refusal = std::get_if<Refusal>(&hold)) return std::move(*refusal);
  plan.hold = std::get<policy::Hold>(hold);
  plan.expected_input_tokens =
      std::min(plan.hold.input_tokens, policy::expected_input_tokens(estimate, ask.body_bytes));
  return plan;
}

policy::Budgets::Ask budget_ask(const policy::Policy& policy, const policy::Peer& peer,
                                const Plan& plan, const RequestId& id, policy::BudgetTime now) {
  return {.id = id,
          .policy = policy,
          .peer = peer,
          .model = plan.allowed.served_model,
          .charge = {plan.hold.cost, plan.hold.tokens()},
          .strict = plan.allowed.rule->hold == policy::HoldMode::strict,
          .now = now};
}

Refusal unmetered_refusal(const std::string& contact) {
  return {RefusalCode::unmetered_traffic,
          "The gateway has seen traffic to a provider that it did not meter and lets nothing "
          "through until an admin has looked into it with `tollgate unmetered`; " +
              contact + ".",
          {}};
}

Refusal downgrade_loop(const std::string& contact) {
  return {RefusalCode::policy_none,
          "The limits of this gateway send this request from one cheaper model to the next without "
          "end; " +
              contact + ".",
          "model"};
}

}  // namespace

std::variant<const policy::Peer*, Refusal> identify(const Snapshot& snapshot, PeerTag tag,
                                                    std::string_view remote) {
  const std::string& contact = snapshot.policy->contact();
  if (tag.peer_id == 0) {
    return Refusal{RefusalCode::peer_unknown,
                   "This gateway does not know the device at " + std::string(remote) +
                       ". Connect through the tunnel, or " + contact + ".",
                   {}};
  }
  // Revoked is said also to a connection of before: the id alone is enough to say no.
  const policy::Peer* known = snapshot.policy->peer_by_id(tag.peer_id);
  if (known != nullptr && known->revoked) return policy::revoked_refusal(*known, contact);
  const policy::Peer* peer = snapshot.policy->peer_by_tag(tag);
  if (peer == nullptr) {
    return Refusal{RefusalCode::identity_changed,
                   "What this gateway knows about the device at " + std::string(remote) +
                       " has changed since it connected. Try again; if it goes on, " + contact +
                       ".",
                   {}};
  }
  return peer;
}

std::optional<Refusal> stops_now(const Snapshot& snapshot, const RunningAsk& running) {
  const policy::Peer* peer = snapshot.policy->peer_by_id(running.tag.peer_id);
  auto who = identify(snapshot, peer == nullptr ? running.tag : peer->tag, running.remote);
  if (auto* refusal = std::get_if<Refusal>(&who)) return std::move(*refusal);
  auto verdict = snapshot.policy->decide(
      *peer,
      {.model = running.model, .service_tier = running.tier, .named_by = policy::NamedBy::gateway});
  if (auto* refusal = std::get_if<Refusal>(&verdict)) return std::move(*refusal);
  return std::nullopt;
}

Refusal store_refusal(const std::string& contact) {
  return {RefusalCode::store_unavailable,
          "The gateway cannot record usage at the moment and lets nothing through unrecorded. Its "
          "admins see why in `tollgate status`; " +
              contact + ".",
          {}};
}

Refusal overloaded_refusal() {
  return {RefusalCode::overloaded,
          "The gateway holds as many requests as it may. Try again in a moment.",
          {}};
}

std::variant<Admission, Denial> admit(const AdmitAsk& ask) {
  const policy::Policy& policy = *ask.snapshot->policy;
  auto who = identify(*ask.snapshot, ask.tag, "this address");
  if (auto* refusal = std::get_if<Refusal>(&who)) return Denial{std::move(*refusal)};
  const policy::Peer* peer = std::get<const policy::Peer*>(who);
  if (ask.facts->background) {
    return Denial{{RefusalCode::feature_denied,
                   "Background responses (background: true) cannot be metered by this gateway. "
                   "Send the request without it.",
                   "background"}};
  }
  std::string model = ask.facts->model;
  for (size_t step = 0;; ++step) {
    const PlanAsk plan_ask{
        .policy = policy,
        .peer = *peer,
        .facts = *ask.facts,
        .form = ask.form,
        .body_bytes = ask.body_bytes,
        .model = model,
        .named_by = step == 0 ? policy::NamedBy::client : policy::NamedBy::gateway};
    auto planned = plan(plan_ask, ask.snapshot->metadata_key, *ask.budgets);
    if (auto* refusal = std::get_if<Refusal>(&planned)) return Denial{std::move(*refusal)};
    if (ask.draining) {
      return Denial{
          {RefusalCode::draining, "The gateway is restarting. Try again in a moment.", {}}};
    }
    if (ask.unmetered) return Denial{unmetered_refusal(policy.contact())};
    if (!ask.store_healthy) return Denial{store_refusal(policy.contact())};
    Plan& it = std::get<Plan>(planned);
    if (ask.free) {
      it.hold = {};
      it.changes.clear();
    }
    auto reserved = ask.budgets->with([&](policy::Budgets& budgets) {
      return budgets.reserve(budget_ask(policy, *peer, it, ask.id, ask.budgets->now()));
    });
    if (auto* exceeded = std::get_if<policy::Budgets::Exceeded>(&reserved)) {
      return Denial{std::move(exceeded->refusal), std::move(exceeded->standing)};
    }
    if (auto* cheaper = std::get_if<policy::Budgets::Downgrade>(&reserved)) {
      if (step == kDowngradesMax) return Denial{downgrade_loop(policy.contact())};
      model = std::move(cheaper->model);
      continue;
    }
    auto& granted = std::get<policy::Budgets::Granted>(reserved);
    it.hold.shrink_to(granted.charge.cost, granted.charge.tokens);
    const std::shared_ptr<const Target>* target =
        ask.snapshot->target_of(it.allowed.provider->name);
    TG_ASSERT(target != nullptr);  // snapshots are built with one target for each provider
    return Admission{
        .snapshot = ask.snapshot,
        .peer = peer,
        .rule = it.allowed.rule,
        .target = *target,
        .served_model = std::move(it.allowed.served_model),
        .tier = std::move(it.tier),
        .changes = std::move(it.changes),
        .metadata = {it.allowed.rule->guards.turn_metadata, ask.snapshot->metadata_key},
        .hold = it.hold,
        .expected_input_tokens = it.expected_input_tokens,
        .standing = std::move(granted.standing),
        .warning = std::move(granted.warning)};
  }
}

std::variant<Forecast, Refusal> forecast(const policy::Policy& policy, const policy::Peer& peer,
                                         const codec::RequestFacts& facts, uint64_t body_bytes,
                                         BudgetTable& budgets) {
  const PlanAsk ask{.policy = policy,
                    .peer = peer,
                    .facts = facts,
                    .body_bytes = body_bytes,
                    .model = facts.model};
  auto planned = plan(ask, nullptr, budgets);
  if (auto* refusal = std::get_if<Refusal>(&planned)) return std::move(*refusal);
  const Plan& it = std::get<Plan>(planned);
  Forecast forecast{it.hold, it.allowed.rule->hold, budgets.with([&](policy::Budgets& table) {
                      return table.preview(budget_ask(policy, peer, it, {}, budgets.now()));
                    })};
  if (const auto* granted = std::get_if<policy::Budgets::Granted>(&forecast.outcome)) {
    forecast.hold.shrink_to(granted->charge.cost, granted->charge.tokens);
  }
  return forecast;
}

}  // namespace tollgate::proxy
