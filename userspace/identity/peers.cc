#include "userspace/identity/peers.h"

#include <algorithm>
#include <map>
#include <unordered_map>

namespace tollgate::identity {
namespace {

using policy::ConfiguredPeer;

// What one tunnel says, to be asked once for each configured peer.
struct Owners {
  const Tunnel* tunnel = nullptr;
  std::unordered_map<std::string, const TunnelPeer*> by_key{};
  std::map<IpPrefix, std::vector<const TunnelPeer*>> by_prefix{};
  std::vector<IpPrefix> wide{};  // those that are not single
};

struct Claim {
  policy::Peer peer;
  std::vector<size_t> entries;  // more than one: nobody gets it
};

using Place = std::pair<std::string, IpPrefix>;  // tunnel, address

class Naming {
 public:
  Naming(const std::vector<ConfiguredPeer>& configured, const std::vector<Tunnel>& tunnels);
  PeersInForce take();

 private:
  void claim(size_t entry, const IpPrefix& address, const std::string& public_key);
  void follow(size_t entry);
  void follow_key(size_t entry, const Owners& owners);
  void follow_address(size_t entry, const Owners& owners);
  void claim_allowed(size_t entry, const Owners& owners, const TunnelPeer& owner,
                     const IpPrefix& allowed);
  void tunnel_problem(const Tunnel& tunnel, size_t entry);
  void problem(size_t entry, const std::string& text);
  void drop_conflicts();
  void drop_prefixes_with_strangers();

  const std::vector<ConfiguredPeer>& configured_;
  std::map<std::string, Owners> owners_;
  std::map<Place, Claim> claims_;
  std::map<std::string, PeerProblem> tunnel_problems_;
  std::vector<PeerProblem> problems_;
};

std::string short_key(const std::string& key) {
  return key.substr(0, 8) + "...";
}

std::string name_of(const ConfiguredPeer& entry) {
  std::string name = entry.user;
  if (entry.address) name += " at " + to_string(*entry.address);
  if (!entry.public_key.empty()) name += " by key " + short_key(entry.public_key);
  return name;
}

// The wider ones of a tunnel that this address comes under; nullptr: none.
const IpPrefix* wider_than(const IpPrefix& address, const Owners& owners) {
  for (const IpPrefix& allowed : owners.wide) {
    if (allowed.bits < address.bits && allowed.contains(address.address)) return &allowed;
  }
  return nullptr;
}

std::string wider_text(const IpPrefix& wider) {
  return "only through " + to_string(wider) +
         ", whose addresses may be many machines; give it allowed-ips of single addresses, or "
         "write address = \"" +
         to_string(wider) + "\" and prefix_is_one_user = true";
}

Naming::Naming(const std::vector<ConfiguredPeer>& configured, const std::vector<Tunnel>& tunnels)
    : configured_(configured) {
  for (const Tunnel& tunnel : tunnels) {
    Owners& owners = owners_[tunnel.name];
    owners.tunnel = &tunnel;
    for (const TunnelPeer& peer : tunnel.peers) {
      owners.by_key.emplace(peer.public_key, &peer);
      for (const IpPrefix& allowed : peer.allowed) {
        owners.by_prefix[allowed].push_back(&peer);
        if (!allowed.is_single()) owners.wide.push_back(allowed);
      }
    }
  }
}

PeersInForce Naming::take() {
  for (size_t entry = 0; entry < configured_.size(); ++entry)
    follow(entry);
  drop_conflicts();
  drop_prefixes_with_strangers();
  PeersInForce result;
  for (auto& [name, problem] : tunnel_problems_)
    result.problems.push_back(std::move(problem));
  std::move(problems_.begin(), problems_.end(), std::back_inserter(result.problems));
  std::vector<const Claim*> in_order;
  for (const auto& [place, claim] : claims_)
    in_order.push_back(&claim);
  std::stable_sort(in_order.begin(), in_order.end(), [](const Claim* a, const Claim* b) {
    return a->entries.front() < b->entries.front();
  });
  for (const Claim* claim : in_order)
    result.peers.push_back(claim->peer);
  return result;
}

void Naming::follow(size_t index) {
  const ConfiguredPeer& entry = configured_[index];
  const auto found = owners_.find(entry.tunnel);
  const Tunnel* tunnel = found == owners_.end() ? nullptr : found->second.tunnel;
  if (tunnel == nullptr && !owners_.empty()) {
    return problem(index, "nobody watches " + entry.tunnel +
                              " yet; gateway.tunnels takes a restart of tollgated");
  }
  const bool lost = tunnel != nullptr && tunnel->wireguard && !tunnel->unreadable.empty();
  if (tunnel != nullptr && (tunnel->ifindex == 0 || !tunnel->up || lost)) {
    return tunnel_problem(*tunnel, index);
  }
  if (tunnel != nullptr && tunnel->wireguard) {
    return entry.public_key.empty() ? follow_address(index, found->second)
                                    : follow_key(index, found->second);
  }
  if (!entry.public_key.empty()) {
    const std::string why = tunnel != nullptr && !tunnel->unreadable.empty()
                                ? "cannot be asked for its peers: " + tunnel->unreadable
                                : "is not the kernel's WireGuard and names no keys";
    return problem(index, entry.tunnel + " " + why + "; write address = instead of public_key");
  }
  if (tunnel != nullptr && !tunnel->unreadable.empty()) tunnel_problem(*tunnel, index);
  if (entry.address) claim(index, *entry.address, {});
}

void Naming::follow_key(size_t index, const Owners& owners) {
  const ConfiguredPeer& entry = configured_[index];
  const auto found = owners.by_key.find(entry.public_key);
  if (found == owners.by_key.end()) {
    return problem(index, entry.tunnel + " has no peer with that key; add it (wg set " +
                              entry.tunnel +
                              " peer KEY allowed-ips ADDRESS), or correct public_key");
  }
  const TunnelPeer& owner = *found->second;
  if (!entry.address) {
    if (owner.allowed.empty()) {
      problem(index, entry.tunnel + " gives that key no address; set its allowed-ips");
    }
    for (const IpPrefix& allowed : owner.allowed)
      claim_allowed(index, owners, owner, allowed);
    return;
  }
  const auto exact = std::find(owner.allowed.begin(), owner.allowed.end(), *entry.address);
  if (exact != owner.allowed.end()) return claim_allowed(index, owners, owner, *exact);
  for (const IpPrefix& allowed : owner.allowed) {
    if (!allowed.contains(entry.address->address)) continue;
    return problem(index, "that key owns the address " + wider_text(allowed));
  }
  problem(index, entry.tunnel +
                     " does not give that key this address; add it to the key's allowed-ips, or "
                     "correct address");
}

void Naming::follow_address(size_t index, const Owners& owners) {
  const ConfiguredPeer& entry = configured_[index];
  if (!entry.address) return;
  const auto found = owners.by_prefix.find(*entry.address);
  if (found == owners.by_prefix.end()) {
    if (const IpPrefix* wider = wider_than(*entry.address, owners)) {
      return problem(index, entry.tunnel + " knows the address " + wider_text(*wider));
    }
    return problem(index, "no peer of " + entry.tunnel +
                              " owns that address; add it to the allowed-ips of one, or take this "
                              "[[peer]] out");
  }
  if (found->second.size() != 1) {
    return problem(index, "more than one peer of " + entry.tunnel + " owns that address");
  }
  claim_allowed(index, owners, *found->second.front(), *entry.address);
}

void Naming::claim_allowed(size_t index, const Owners& owners, const TunnelPeer& owner,
                           const IpPrefix& allowed) {
  const ConfiguredPeer& entry = configured_[index];
  const auto by_prefix = owners.by_prefix.find(allowed);
  if (by_prefix != owners.by_prefix.end() && by_prefix->second.size() != 1) {
    return problem(index, "more than one peer of " + entry.tunnel + " owns " + to_string(allowed));
  }
  if (!allowed.is_single() && !entry.prefix_is_one_user) {
    return problem(index, entry.tunnel + " gives it " + to_string(allowed) +
                              ", whose addresses may be many machines; give it allowed-ips of "
                              "single addresses, or write prefix_is_one_user = true");
  }
  claim(index, allowed, owner.public_key);
}

void Naming::claim(size_t index, const IpPrefix& address, const std::string& public_key) {
  const ConfiguredPeer& entry = configured_[index];
  Claim& claim = claims_[Place(entry.tunnel, address)];
  claim.entries.push_back(index);
  claim.peer.address = address;
  claim.peer.tunnel = entry.tunnel;
  claim.peer.user = entry.user;
  claim.peer.groups = entry.groups;
  claim.peer.public_key = public_key;
}

void Naming::tunnel_problem(const Tunnel& tunnel, size_t index) {
  const auto [problem, first] = tunnel_problems_.emplace(tunnel.name, PeerProblem{});
  std::string& text = problem->second.text;
  if (tunnel.ifindex == 0) {
    text = tunnel.name +
           " does not exist: its peers are nobody; create it, or take it out of "
           "gateway.tunnels";
  } else if (!tunnel.up) {
    text = tunnel.name + " is down: its peers are nobody; ip link set " + tunnel.name + " up";
  } else if (tunnel.wireguard) {
    text = tunnel.name + ": its peers are nobody: " + tunnel.unreadable;
  } else {
    text = tunnel.name + " cannot be asked for its peers: " + tunnel.unreadable +
           "; addresses are taken as written and a peer's new key goes unnoticed; give tollgated "
           "CAP_NET_ADMIN";
    return;  // they are in force all the same
  }
  problem->second.entries.push_back(index);
}

void Naming::problem(size_t index, const std::string& text) {
  problems_.push_back({name_of(configured_[index]) + " is nobody: " + text, {index}});
}

void Naming::drop_conflicts() {
  for (auto claim = claims_.begin(); claim != claims_.end();) {
    const std::vector<size_t>& entries = claim->second.entries;
    if (entries.size() == 1) {
      ++claim;
      continue;
    }
    std::string users;
    for (const size_t index : entries)
      users += (users.empty() ? "" : " and ") + configured_[index].user;
    problems_.push_back({to_string(claim->first.second) + " on " + claim->first.first +
                             " is nobody: " + users + " claim it; keep one [[peer]] for it",
                         entries});
    claim = claims_.erase(claim);
  }
}

// A part of the prefix that belongs to another key and to no [[peer]] would fall to its user. The
// narrowest first: one that is dropped is a stranger to the wider ones.
void Naming::drop_prefixes_with_strangers() {
  std::vector<Place> prefixes;
  for (const auto& [place, claim] : claims_) {
    if (!place.second.is_single() && !claim.peer.public_key.empty()) prefixes.push_back(place);
  }
  std::stable_sort(prefixes.begin(), prefixes.end(),
                   [](const Place& a, const Place& b) { return a.second.bits > b.second.bits; });
  for (const Place& place : prefixes) {
    const Claim& claim = claims_.at(place);
    for (const auto& [allowed, peers] : owners_.at(place.first).by_prefix) {
      const bool inside =
          allowed.bits > place.second.bits && place.second.contains(allowed.address);
      if (!inside || peers.front()->public_key == claim.peer.public_key ||
          claims_.count(Place(place.first, allowed)) != 0) {
        continue;
      }
      problem(claim.entries.front(), to_string(allowed) + " in its " + to_string(place.second) +
                                         " is of key " + short_key(peers.front()->public_key) +
                                         ", which is nobody; write a [[peer]] for that one too");
      claims_.erase(place);
      break;
    }
  }
}

}  // namespace

bool same_peers(const std::vector<Tunnel>& one, const std::vector<Tunnel>& other) {
  const auto same_peer = [](const TunnelPeer& a, const TunnelPeer& b) {
    return a.public_key == b.public_key && a.allowed == b.allowed;
  };
  const auto same_tunnel = [&](const Tunnel& a, const Tunnel& b) {
    return a.name == b.name && a.ifindex == b.ifindex && a.up == b.up &&
           a.wireguard == b.wireguard && a.unreadable == b.unreadable &&
           std::equal(a.peers.begin(), a.peers.end(), b.peers.begin(), b.peers.end(), same_peer);
  };
  return std::equal(one.begin(), one.end(), other.begin(), other.end(), same_tunnel);
}

PeersInForce peers_in_force(const std::vector<ConfiguredPeer>& configured,
                            const std::vector<Tunnel>& tunnels) {
  return Naming(configured, tunnels).take();
}

}  // namespace tollgate::identity
