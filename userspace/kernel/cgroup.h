// The process's own cgroup: sock_ops is attached there, so that no other service is touched.
// Sockets belong to the cgroup that their listener was created in, so this comes before the
// listeners.
#pragma once

#include <sys/types.h>

#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::kernel {

class OwnCgroup {
 public:
  // Finds cgroup2 in mountinfo, else mounts it on a descriptor that no mount table shows. A process
  // in the root cgroup is moved into a new child "tollgate-PID".
  static Result<OwnCgroup> enter();
  // Moves the process into the cgroup of a running daemon, whose listeners belong there. Whoever of
  // the two ends last removes it.
  static Result<OwnCgroup> join(pid_t running);
  OwnCgroup() = default;
  OwnCgroup(OwnCgroup&&) = default;
  OwnCgroup& operator=(OwnCgroup&&) = default;
  // Moves back and removes the child, as far as the remaining privileges allow; what stays empty is
  // removed by the next enter().
  ~OwnCgroup();

  int fd() const { return own_.get(); }
  bool made() const { return !child_.empty(); }

 private:
  UniqueFd root_;
  UniqueFd root_procs_;  // opened early: the kernel checks the opener's rights, not the writer's
  UniqueFd own_;
  std::string child_;  // empty: the cgroup was there before us
  pid_t owner_ = 0;    // a forked child that inherits this object is not it
};

}  // namespace tollgate::kernel
