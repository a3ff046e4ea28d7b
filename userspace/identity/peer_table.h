// Peer → tag. Gives each (tunnel, address, user, groups) its id and generation, so that whatever
// stands behind a tag can change only by changing the tag: a connection tagged before a change is
// nobody's after it. Ids are not reused while the process lives.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "policy/policy.h"

namespace tollgate::identity {

class PeerTable {
 public:
  // Sets the tags of `peers`: the same peer with the same user and groups keeps its tag.
  void assign(std::vector<policy::Peer>& peers);

 private:
  struct Entry {
    PeerTag tag;
    std::string user;
    std::vector<std::string> groups;
    bool operator==(const Entry&) const = default;
  };
  std::map<std::pair<std::string, IpAddress>, Entry> entries_;  // by tunnel and address
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
