// Who may do nothing: `revoke` and `restore`. A revoked peer stays known, so that it is told why.
// The workers end what it has running when they get the policy with its new peers.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "userspace/base/clock.h"
#include "userspace/daemon/daemon.h"

namespace tollgate::daemon {
namespace {

using nlohmann::json;

constexpr std::string_view kUser = "user";
constexpr std::string_view kAddress = "address";

// As to_string writes it, so that fd99::2 and FD99:0::2 are one subject.
std::string address_in(const std::string& text) {
  const auto prefix = parse_prefix(text);
  return prefix ? to_string(*prefix) : std::string();
}

bool names(const ledger::Revocation& revocation, const std::string& text) {
  return revocation.subject == (revocation.scope == kUser ? text : address_in(text));
}

}  // namespace

Status Daemon::load_revocations() {
  auto revocations = journal_->revocations();
  if (!revocations) return std::move(revocations).forward();
  const bool none_before = revoked_.empty();
  std::erase_if(revoked_, [](const Revoked& revoked) { return revoked.not_durable.empty(); });
  for (ledger::Revocation& revocation : *revocations)
    revoked_.push_back({std::move(revocation), {}});
  if (!none_before || !revoked_.empty()) follow_peers();
  return {};
}

const Daemon::Revoked* Daemon::revocation_of(const policy::Peer& peer) const {
  const auto found = std::find_if(revoked_.begin(), revoked_.end(), [&](const Revoked& revoked) {
    const ledger::Revocation& entry = revoked.entry;
    return entry.subject == (entry.scope == kUser ? peer.user : to_string(peer.address));
  });
  return found == revoked_.end() ? nullptr : &*found;
}

void Daemon::mark_revoked(std::vector<policy::Peer>& peers) const {
  for (policy::Peer& peer : peers) {
    const Revoked* revoked = revocation_of(peer);
    peer.revoked = revoked != nullptr;
    peer.revoked_why = revoked != nullptr ? revoked->entry.reason : std::string();
  }
}

// A user of a peer or of a group, or a peer's address; of the configuration, too, as a peer whose
// tunnel is away now may come back.
Result<ledger::Revocation> Daemon::find_subject(const std::string& text) const {
  const std::string address = address_in(text);
  const auto is_named = [&](const auto& peer) { return peer.user == text; };
  const auto& peers = snapshot_->policy->peers();
  const auto& groups = snapshot_->policy->groups();
  if (std::any_of(peers.begin(), peers.end(), is_named) ||
      std::any_of(config_.peers.begin(), config_.peers.end(), is_named) ||
      std::any_of(groups.begin(), groups.end(), [&](const policy::Group& group) {
        return std::find(group.members.begin(), group.members.end(), text) != group.members.end();
      })) {
    return ledger::Revocation{std::string(kUser), text, 0, 0, {}};
  }
  if (std::any_of(peers.begin(), peers.end(),
                  [&](const policy::Peer& peer) { return to_string(peer.address) == address; }) ||
      std::any_of(config_.peers.begin(), config_.peers.end(), [&](const auto& peer) {
        return peer.address && to_string(*peer.address) == address;
      })) {
    return ledger::Revocation{std::string(kAddress), address, 0, 0, {}};
  }
  return Error{Fault::peer, 0, "revoke " + text + ": no such user, and no peer has this address",
               "`tollgate peers` lists both"};
}

// In force first, then on disk: a store that cannot write must not keep the door open. The answer
// says whether it outlives a restart.
Result<json> Daemon::revoke(const admin::RevokeRequest& request, uint32_t uid) {
  auto subject = find_subject(request.subject);
  if (!subject) return subject.error();
  Revoked fresh{*std::move(subject), {}};
  fresh.entry.made_unix_ms = wall_unix_ms();
  fresh.entry.uid = uid;
  fresh.entry.reason = request.reason;
  auto known = std::find_if(revoked_.begin(), revoked_.end(), [&](const Revoked& revoked) {
    return revoked.entry.scope == fresh.entry.scope && revoked.entry.subject == fresh.entry.subject;
  });
  if (known == revoked_.end()) known = revoked_.insert(known, Revoked{});
  *known = std::move(fresh);
  follow_peers();
  if (const Status recorded = journal_->revoke(known->entry); !recorded) {
    known->not_durable = recorded.error().text;
    spdlog::error("revocation of {} {} is in force and not on disk: {}", known->entry.scope,
                  known->entry.subject, known->not_durable);
  }
  tell_predecessor(Reload{});
  return describe(*known);
}

// On disk first: until then nobody was let in again.
Result<json> Daemon::restore(const admin::RestoreRequest& request, uint32_t) {
  const auto found = std::find_if(revoked_.begin(), revoked_.end(), [&](const Revoked& revoked) {
    return names(revoked.entry, request.subject);
  });
  if (found == revoked_.end()) {
    return Error{Fault::peer, 0, "restore " + request.subject + ": nothing was revoked",
                 "`tollgate status` lists what is"};
  }
  if (Status removed = journal_->restore(found->entry.scope, found->entry.subject); !removed) {
    return removed.error();
  }
  const json answer = {{"scope", found->entry.scope}, {"subject", found->entry.subject}};
  revoked_.erase(found);
  follow_peers();
  tell_predecessor(Reload{});
  return answer;
}

json Daemon::describe(const Revoked& revoked) const {
  const ledger::Revocation& entry = revoked.entry;
  const auto& peers = snapshot_->policy->peers();
  json addresses = json::array();
  for (const policy::Peer& peer : peers) {
    if (entry.subject == (entry.scope == kUser ? peer.user : to_string(peer.address))) {
      addresses.push_back(to_string(peer.address));
    }
  }
  return {{"scope", entry.scope},
          {"subject", entry.subject},
          {"since_unix_ms", entry.made_unix_ms},
          {"uid", entry.uid},
          {"reason", entry.reason},
          {"addresses", std::move(addresses)},
          {"durable", revoked.not_durable.empty()},
          {"error", revoked.not_durable}};
}

json Daemon::revocations() const {
  json list = json::array();
  for (const Revoked& revoked : revoked_)
    list.push_back(describe(revoked));
  return list;
}

void Daemon::append_revocation_problems(std::vector<std::string>& problems) const {
  for (const Revoked& revoked : revoked_) {
    if (revoked.not_durable.empty()) continue;
    problems.push_back("the revocation of " + revoked.entry.subject +
                       " ends with this process, it is not on disk: " + revoked.not_durable +
                       "; revoke again");
  }
}

}  // namespace tollgate::daemon
