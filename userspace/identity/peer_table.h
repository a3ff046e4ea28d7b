// Peer → tag. An id stands for one machine of one user: (tunnel, address, user, public key);
// whoever else comes to that address is somebody new. The generation changes with what stands
// behind the id: groups, a revocation. A connection tagged before a change is nobody's after it,
// until the worker has asked the new policy again. Ids are not reused while the process lives.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/policy.h"
#include "userspace/base/result.h"

namespace tollgate::identity {

class PeerTable {
 public:
  // Sets the tags of `peers`.
  void assign(std::vector<policy::Peer>& peers);

  // For the process that takes over: the same peers have the same tags there. Its ids begin far
  // behind ours, since we may go on to give some: one id must not be two people.
  struct Saved {
    std::vector<policy::Peer> peers;
    uint32_t next_id = 1;
    uint32_t next_generation = 1;
  };
  Saved save() const;
  static Result<PeerTable> from(Saved saved);  // refuses what save() cannot have given

 private:
  struct Entry {
    PeerTag tag;
    std::string user;
    std::string public_key;
    std::vector<std::string> groups;
    bool revoked = false;
  };
  std::map<std::pair<std::string, IpPrefix>, Entry> entries_;  // by tunnel and address
  uint32_t next_id_ = 1;
  uint32_t next_generation_ = 1;
};

// Who is at the other end of an accepted socket.
class Resolver {
 public:
  virtual ~Resolver() = default;
  virtual std::optional<PeerTag> resolve(int socket_fd, const IpAddress& remote,
                                         const policy::Policy& policy) const = 0;
  virtual const char* name() const = 0;  // "bpf", "userspace": for `status`
};

// Without BPF: identity from the peer address alone. `status` and the log say so.
std::unique_ptr<Resolver> make_userspace_resolver();

}  // namespace tollgate::identity
