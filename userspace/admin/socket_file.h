// The listening unix socket and its file: a stale file is replaced, a live one refused, and the
// file goes away with its owner.
#pragma once

#include <sys/types.h>

#include <string>

#include "userspace/base/fd.h"
#include "userspace/base/result.h"

namespace tollgate::admin {

class SocketFile {
 public:
  static Result<SocketFile> make(const std::string& path);
  // Descriptors of a SocketFile of another process, which lets go of it: callers wait in the
  // socket's queue meanwhile.
  static SocketFile adopt(std::string path, UniqueFd lock, UniqueFd listener);
  SocketFile(SocketFile&&) noexcept = default;
  SocketFile& operator=(SocketFile&&) = delete;
  // Removes the file, if it is still the one made here.
  ~SocketFile();

  int fd() const { return listener_.get(); }
  int lock_fd() const { return lock_.get(); }
  // The file is somebody else's from now on.
  void let_go();

 private:
  SocketFile(std::string path, UniqueFd lock, UniqueFd listener, dev_t device, ino_t inode)
      : path_(std::move(path)),
        lock_(std::move(lock)),
        listener_(std::move(listener)),
        device_(device),
        inode_(inode) {}

  std::string path_;
  UniqueFd lock_;
  UniqueFd listener_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace tollgate::admin
