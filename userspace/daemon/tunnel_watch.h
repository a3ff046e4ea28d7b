// A process of its own that watches the tunnels. WireGuard's peers can be read with CAP_NET_ADMIN
// alone, at each question, and their private key comes with the answer: neither is for the process
// that talks to strangers. So this one is forked before any key is loaded, keeps that capability
// and nothing else, hears nobody, and writes down a pipe who the peers are.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"
#include "userspace/daemon/tunnel_process.h"
#include "userspace/identity/peers.h"

namespace tollgate::daemon {

class TunnelWatch {
 public:
  // Forks, so before there is any other thread, and waits for the first report. `user`: what the
  // process becomes, when we are root.
  static Result<std::unique_ptr<TunnelWatch>> start(std::vector<std::string> names,
                                                    const std::string& user);
  ~TunnelWatch();

  int fd() const { return pipe_.get(); }  // -1: it ended
  // Reads what there is. True: tunnels() is told anew, maybe the same.
  bool step(int64_t now_ms);
  // As last reported. After a silence of kGraceMs nobody behind WireGuard is known any more.
  const std::vector<identity::Tunnel>& tunnels() const { return withdrawn_ ? nobody_ : reported_; }
  // What an administrator must know of the watch itself; empty: all is well.
  const std::string& problem() const { return problem_; }

  static constexpr int64_t kGraceMs = 10'000;

 private:
  TunnelWatch(std::vector<std::string> names, UniqueFd pipe, pid_t child, int64_t now_ms);
  void read_pipe(int64_t now_ms);
  // False: it is not what our process writes.
  bool take_frames(int64_t now_ms);
  bool take_frame(const FrameView& frame, int64_t now_ms);
  void end(const std::string& why);
  void withdraw();

  std::vector<std::string> names_;
  UniqueFd pipe_;
  pid_t child_;
  int64_t heard_ms_;  // a frame that was no complaint
  bool withdrawn_ = false;
  bool changed_ = false;
  std::string received_;
  std::string problem_;
  std::vector<identity::Tunnel> reported_;
  std::vector<identity::Tunnel> nobody_;  // what is left of that after too long a silence
};

}  // namespace tollgate::daemon
