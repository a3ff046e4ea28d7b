// The kernel half as the daemon sees it: loads and attaches the BPF objects, keeps the maps, reads
// tags by socket. Needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON for load(); later calls only use held
// map fds and work without capabilities.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ringbuf/record.h"
#include "userspace/base/fd.h"
#include "userspace/base/ids.h"
#include "userspace/base/ip.h"
#include "userspace/base/result.h"

namespace tollgate::kernel {

struct PeerEntry {
  std::string tunnel;  // interface name, resolved to an ifindex when the set is written
  IpPrefix address;
  PeerTag tag;
};

struct SteeringOptions {
  std::vector<Endpoint> endpoints;     // what clients connect to
  std::vector<IpPrefix> intercepts{};  // and what of others' addresses, on port 443
  std::vector<std::string> tunnels;
  std::string bpffs = "/sys/fs/bpf";    // mounted here if it is not a bpffs (in a private mount ns)
  std::string pin_folder = "tollgate";  // below bpffs, per network namespace inode
};

// Of what is pinned. A daemon takes over from one that says the same.
uint32_t abi_version();

class Steering {
 public:
  // Loads, pins and attaches to this network namespace and to the process's own cgroup (found in
  // mountinfo, made when the process sits in the root cgroup; must run before the listeners are
  // created). Replaces an older pinned set atomically. Nothing is left behind on an error.
  static Result<std::unique_ptr<Steering>> load(const SteeringOptions& options);
  virtual ~Steering() = default;

  // One listening socket per family of a SO_REUSEPORT group; the kernel spreads over the group.
  virtual Status set_listeners(int v4_fd, int v6_fd) = 0;  // -1: none of this family
  // Replaces the whole set in one swap. An interface that does not exist is an error with its name;
  // its peers have no identity until the next call.
  virtual Status set_peers(std::span<const PeerEntry> peers) = 0;
  // What sock_ops tagged the accepted connection with; nothing: unknown peer.
  virtual std::optional<PeerTag> tag_of(int socket_fd) const = 0;

  // Every early return in the BPF programs, by name ("steer.not_tunnel", "flow.reserve_failed").
  virtual std::vector<std::pair<std::string, uint64_t>> counters() const = 0;
  // Flow events; call poll_flows when flow_fd() is readable.
  virtual int flow_fd() const = 0;
  virtual void poll_flows(const std::function<void(const ringbuf::FlowRecord&)>& visit) = 0;
  // Whether the kernel accepts the objects: loads them, attaches and pins nothing.
  static Status try_load();
  // For the process that takes over: with it comes the pinned set.
  virtual int lock_fd() const = 0;

  // Beside the daemon `running`, which gave us its lock: the programs are loaded anew onto its maps
  // and put into its links, which never run without one. This process moves into its cgroup. On an
  // error everything stays as it was. The listeners are those of before; so are the peers, until
  // set_peers().
  static Result<std::unique_ptr<Steering>> take_over(const SteeringOptions& options, pid_t running,
                                                     UniqueFd lock);
  // Removes links and pins (`tollgated --uninstall`).
  static Status uninstall(const SteeringOptions& options);
};

}  // namespace tollgate::kernel
