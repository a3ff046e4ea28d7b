#include "userspace/identity/peer_table.h"

namespace tollgate::identity {
namespace {

// The address of the connection is all there is to go by: the tunnel guarantees it (AllowedIPs),
// this process cannot see which interface it came in by. An address on two tunnels is nobody.
class UserspaceResolver : public Resolver {
 public:
  std::optional<PeerTag> resolve(int, const IpAddress& remote,
                                 const policy::Policy& policy) const override {
    const policy::Peer* peer = policy.peer_by_address(remote);
    if (peer == nullptr) return std::nullopt;
    return peer->tag;
  }
  const char* name() const override { return "userspace"; }
};

}  // namespace

std::unique_ptr<Resolver> make_userspace_resolver() {
  return std::make_unique<UserspaceResolver>();
}

}  // namespace tollgate::identity
