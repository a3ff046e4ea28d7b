#include "userspace/identity/peer_table.h"

#include <utility>

#include "userspace/base/result.h"

namespace tollgate::identity {

void PeerTable::assign(std::vector<policy::Peer>& peers) {
  std::map<std::pair<std::string, IpAddress>, Entry> next;
  for (policy::Peer& peer : peers) {
    const std::pair key(peer.tunnel, peer.address);
    const auto known = entries_.find(key);
    Entry entry;
    if (known != entries_.end()) {
      entry = known->second;
      const bool same = entry.user == peer.user && entry.groups == peer.groups;
      if (!same) entry.tag.generation = next_generation_++;
    } else {
      entry.tag = {next_id_++, next_generation_++};
    }
    // Wrapping round would hand one peer's tag to another: rather stop.
    TG_ASSERT(next_id_ != 0 && next_generation_ != 0);
    entry.user = peer.user;
    entry.groups = peer.groups;
    peer.tag = entry.tag;
    // Two peers on one (tunnel, address) are a bug of the caller; neither may speak for the other.
    TG_ASSERT(next.emplace(key, std::move(entry)).second);
  }
  // A peer that left is forgotten: should it come back, it is somebody new.
  entries_ = std::move(next);
}

}  // namespace tollgate::identity
