// Whether io_uring is to be had here, and why not.
#include <liburing.h>

#include <cerrno>

#include "userspace/io/backend.h"

namespace tollgate::io {

// A ring that answers a NOP: seccomp filters may let the setup through and no more.
int probe_uring() {
  io_uring ring{};
  if (const int failed = io_uring_queue_init(2, &ring, 0); failed != 0) return -failed;
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_nop(sqe);
  int result = io_uring_submit(&ring);
  io_uring_cqe* cqe = nullptr;
  if (result == 1) result = io_uring_wait_cqe(&ring, &cqe);
  if (result == 0) io_uring_cqe_seen(&ring, cqe);
  io_uring_queue_exit(&ring);
  return result < 0 ? -result : 0;
}

std::string explain_probe_failure(int sys_errno) {
  switch (sys_errno) {
    case ENOSYS:
      return "the kernel or a seccomp filter knows no io_uring (ENOSYS)";
    case EPERM:
    case EACCES:
      return "io_uring is forbidden here: see sysctl kernel.io_uring_disabled and the seccomp "
             "profile (EPERM)";
    case ENOMEM:
      return "io_uring found no memory to lock: raise LimitMEMLOCK (ENOMEM)";
    default:
      return system_error(sys_errno, "set up io_uring").text;
  }
}

}  // namespace tollgate::io
