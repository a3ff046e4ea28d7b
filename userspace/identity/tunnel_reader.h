// Asks the kernel about the tunnels: which exist, which are up, and who WireGuard's peers are, for
// which each question needs CAP_NET_ADMIN.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/identity/peers.h"
#include "userspace/identity/wireguard.h"

namespace tollgate::identity {

class TunnelReader {
 public:
  static Result<std::unique_ptr<TunnelReader>> make(std::vector<std::string> names);
  ~TunnelReader();  // wipes the buffer

  Result<std::vector<Tunnel>> read();
  // Readable after a change of an interface or an address; WireGuard itself tells no changes.
  int events_fd() const { return events_.get(); }
  void drain_events();

 private:
  explicit TunnelReader(std::vector<std::string> names);
  Result<Tunnel> read_one(const std::string& name);
  Result<std::vector<TunnelPeer>> read_peers(uint32_t ifindex);
  // Sends, and leaves the first answer in the buffer.
  Result<std::span<const std::byte>> ask(UniqueFd& socket, int protocol, const Bytes& question);
  Result<std::span<const std::byte>> receive(const UniqueFd& socket);

  std::vector<std::string> names_;
  UniqueFd events_;
  UniqueFd route_;
  UniqueFd generic_;
  uint16_t family_ = 0;  // 0: not asked yet
  Bytes buffer_;
};

}  // namespace tollgate::identity
