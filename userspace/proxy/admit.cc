#include "userspace/proxy/admit.h"

namespace tollgate::proxy {

using policy::Refusal;
using policy::RefusalCode;

std::variant<const policy::Peer*, Refusal> identify(const Snapshot& snapshot, PeerTag tag,
                                                    std::string_view remote) {
  const std::string& contact = snapshot.policy->contact();
  if (tag.peer_id == 0) {
    return Refusal{RefusalCode::peer_unknown,
                   "This gateway does not know the device at " + std::string(remote) +
                       ". Connect through the tunnel, or " + contact + ".",
                   {}};
  }
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

Refusal store_refusal(const std::string& contact) {
  return {RefusalCode::store_unavailable,
          "The gateway cannot record usage at the moment and lets nothing through unrecorded. Its "
          "admins see why in `tollgate status`; " +
              contact + ".",
          {}};
}

std::variant<Admission, Refusal> admit(const AdmitAsk& ask) {
  const policy::Policy& policy = *ask.snapshot->policy;
  const policy::Peer* peer = policy.peer_by_tag(ask.tag);
  if (peer == nullptr) return std::get<Refusal>(identify(*ask.snapshot, ask.tag, "this address"));
  if (ask.facts->background) {
    return Refusal{RefusalCode::feature_denied,
                   "Background responses (background: true) cannot be metered by this gateway. "
                   "Send the request without it.",
                   "background"};
  }
  policy::Verdict verdict =
      policy.decide(*peer, {.model = ask.facts->model, .service_tier = ask.facts->service_tier});
  if (auto* refusal = std::get_if<Refusal>(&verdict)) return std::move(*refusal);
  auto& allowed = std::get<policy::Allowed>(verdict);
  const std::shared_ptr<const Target>* target = ask.snapshot->target_of(allowed.provider->name);
  TG_ASSERT(target != nullptr);  // snapshots are built with one target for each provider
  if (ask.draining) {
    return Refusal{RefusalCode::draining, "The gateway is restarting. Try again in a moment.", {}};
  }
  if (!ask.store_healthy) return store_refusal(policy.contact());
  // Budgets hold here: reserve(peer, rule, facts) is the last gate before the upstream.
  return Admission{.snapshot = ask.snapshot,
                   .peer = peer,
                   .rule = allowed.rule,
                   .target = *target,
                   .served_model = std::move(allowed.served_model)};
}

}  // namespace tollgate::proxy
