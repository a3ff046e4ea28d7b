#include "userspace/kernel/bpf_resolver.h"

namespace tollgate::kernel {
namespace {

class BpfResolver : public identity::Resolver {
 public:
  explicit BpfResolver(const Steering& steering) : steering_(steering) {}

  std::optional<PeerTag> resolve(int socket_fd, const IpAddress& remote,
                                 const policy::Policy& policy) const override {
    const auto tag = steering_.tag_of(socket_fd);
    if (!tag) return std::nullopt;
    // Two sources that disagree are no identity: a stale tag, or a bug on one side. The generation
    // may be the one before or after the policy's, where a change meets a handshake: the id names
    // the same machine of the same user, and what that one may do is asked of this policy.
    const policy::Peer* peer = policy.peer_by_id(tag->peer_id);
    if (peer == nullptr || !peer->address.contains(remote)) return std::nullopt;
    return peer->tag;
  }
  const char* name() const override { return "bpf"; }

 private:
  const Steering& steering_;
};

}  // namespace

std::unique_ptr<identity::Resolver> make_bpf_resolver(const Steering& steering) {
  return std::make_unique<BpfResolver>(steering);
}

}  // namespace tollgate::kernel
