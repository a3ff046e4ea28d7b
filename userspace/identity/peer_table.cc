#include "userspace/identity/peer_table.h"

#include <set>
#include <utility>

#include "userspace/base/result.h"

namespace tollgate::identity {

void PeerTable::assign(std::vector<policy::Peer>& peers) {
  std::map<std::pair<std::string, IpPrefix>, Entry> next;
  for (policy::Peer& peer : peers) {
    const std::pair key(peer.tunnel, peer.address);
    const auto known = entries_.find(key);
    Entry entry;
    if (known != entries_.end() && known->second.user == peer.user &&
        known->second.public_key == peer.public_key) {
      entry = known->second;
      const bool same = entry.groups == peer.groups && entry.revoked == peer.revoked;
      if (!same) entry.tag.generation = next_generation_++;
    } else {
      entry.tag = {next_id_++, next_generation_++};
    }
    // Wrapping round would hand one peer's tag to another: rather stop.
    TG_ASSERT(next_id_ != 0 && next_generation_ != 0);
    entry.user = peer.user;
    entry.public_key = peer.public_key;
    entry.groups = peer.groups;
    entry.revoked = peer.revoked;
    peer.tag = entry.tag;
    // Two peers on one (tunnel, address) are a bug of the caller; neither may speak for the other.
    TG_ASSERT(next.emplace(key, std::move(entry)).second);
  }
  // A peer that left is forgotten: should it come back, it is somebody new.
  entries_ = std::move(next);
}

PeerTable::Saved PeerTable::save() const {
  Saved saved;
  const auto behind = [](uint32_t next) {
    constexpr uint32_t kGap = 1 << 20;
    return next > UINT32_MAX - kGap ? 0 : next + kGap;  // 0: from() refuses it
  };
  saved.next_id = behind(next_id_);
  saved.next_generation = behind(next_generation_);
  for (const auto& [key, entry] : entries_) {
    policy::Peer peer;
    peer.tag = entry.tag;
    peer.tunnel = key.first;
    peer.address = key.second;
    peer.user = entry.user;
    peer.public_key = entry.public_key;
    peer.groups = entry.groups;
    peer.revoked = entry.revoked;
    saved.peers.push_back(std::move(peer));
  }
  return saved;
}

Result<PeerTable> PeerTable::from(Saved saved) {
  const auto refuse = [](const std::string& why) {
    return Error{Fault::system, 0, "take over the peers: " + why, {}};
  };
  PeerTable table;
  table.next_id_ = saved.next_id;
  table.next_generation_ = saved.next_generation;
  if (saved.next_id == 0 || saved.next_generation == 0) return refuse("their ids are used up");
  std::set<uint32_t> ids;
  for (policy::Peer& peer : saved.peers) {
    const std::string name = to_string(peer.address) + " on " + peer.tunnel;
    if (peer.tag.peer_id == 0 || peer.tag.peer_id >= saved.next_id || peer.tag.generation == 0 ||
        peer.tag.generation >= saved.next_generation) {
      return refuse(name + " has a tag that was never given");
    }
    if (!ids.insert(peer.tag.peer_id).second) return refuse(name + " shares its id");
    Entry entry;
    entry.tag = peer.tag;
    entry.user = std::move(peer.user);
    entry.public_key = std::move(peer.public_key);
    entry.groups = std::move(peer.groups);
    entry.revoked = peer.revoked;
    const std::pair key(peer.tunnel, peer.address);
    if (!table.entries_.emplace(key, std::move(entry)).second) return refuse(name + " comes twice");
  }
  return table;
}

}  // namespace tollgate::identity
