#include "userspace/kernel/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

namespace tollgate::kernel {
namespace {

bool is_bpffs(const std::string& path) {
  struct statfs info {};
  return ::statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

Status make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return system_error(errno, "make " + path);
}

// Who holds the flock, from /proc/locks; empty when the kernel does not tell (another pid
// namespace).
std::string holder_of(int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return {};
  char inode[64];
  std::snprintf(inode, sizeof inode, "%02x:%02x:%lu", major(info.st_dev), minor(info.st_dev),
                static_cast<unsigned long>(info.st_ino));
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream fields(line);
    std::string number, kind, mode, access, pid, where;
    fields >> number >> kind >> mode >> access >> pid >> where;
    if (kind == "FLOCK" && where == inode) return pid;
  }
  return {};
}

Result<UniqueFd> lock_folder(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return system_error(errno, "lock " + path);
  const std::string pid = holder_of(fd.get());
  return Error{Fault::config, EBUSY,
               "lock " + path + ": another tollgated steers this network namespace" +
                   (pid.empty() ? "" : ", pid " + pid),
               pid.empty() ? "stop the other daemon first" : "stop it first: kill " + pid};
}

}  // namespace

Result<unsigned long> netns_inode() {
  struct stat info {};
  // The calling thread's: load() may run in a thread that entered another namespace.
  if (::stat("/proc/thread-self/ns/net", &info) != 0) return system_error(errno, "stat ns/net");
  return static_cast<unsigned long>(info.st_ino);
}

Result<PinFolder> PinFolder::lock(const std::string& bpffs, const std::string& folder) {
  auto inode = netns_inode();
  if (!inode) return std::move(inode).forward();
  if (!is_bpffs(bpffs)) {
    if (auto made = make_folder(bpffs); !made) return std::move(made).forward();
    if (::mount("bpf", bpffs.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
      return system_error(errno, "mount a bpffs on " + bpffs);
    }
  }
  PinFolder pins;
  pins.path_ = bpffs + "/" + folder;
  if (auto made = make_folder(pins.path_); !made) return std::move(made).forward();
  pins.path_ += "/" + std::to_string(*inode);
  if (auto made = make_folder(pins.path_); !made) return std::move(made).forward();
  auto locked = lock_folder(pins.path_);
  if (!locked) return std::move(locked).forward();
  pins.lock_ = *std::move(locked);
  return pins;
}

Result<PinFolder> PinFolder::lock_existing(const std::string& bpffs, const std::string& folder) {
  auto inode = netns_inode();
  if (!inode) return std::move(inode).forward();
  PinFolder pins;
  pins.path_ = bpffs + "/" + folder + "/" + std::to_string(*inode);
  struct stat info {};
  if (!is_bpffs(bpffs) || ::stat(pins.path_.c_str(), &info) != 0) return pins;
  auto locked = lock_folder(pins.path_);
  if (!locked) return std::move(locked).forward();
  pins.lock_ = *std::move(locked);
  return pins;
}

Result<PinFolder> PinFolder::adopt(const std::string& bpffs, const std::string& folder,
                                   UniqueFd lock) {
  auto inode = netns_inode();
  if (!inode) return std::move(inode).forward();
  PinFolder pins;
  pins.path_ = bpffs + "/" + folder + "/" + std::to_string(*inode);
  struct stat there {};
  struct stat given {};
  if (::stat(pins.path_.c_str(), &there) != 0) return system_error(errno, "open " + pins.path_);
  if (::fstat(lock.get(), &given) != 0) return system_error(errno, "look at the lock given to us");
  // Whoever has another file's lock, or none, does not steer here.
  const bool same = there.st_dev == given.st_dev && there.st_ino == given.st_ino;
  if (!same || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error{Fault::config, EBUSY,
                 "take over " + pins.path_ + ": the lock given to us is not its lock",
                 "run this in the network namespace of the daemon that is to be replaced, with the "
                 "same gateway.bpffs"};
  }
  pins.lock_ = std::move(lock);
  return pins;
}

UniqueFd PinFolder::open_pinned(const std::string& set, const std::string& name) const {
  return UniqueFd(bpf_obj_get((path_ + "/" + set + "/" + name).c_str()));
}

Status PinFolder::pin_new(const std::vector<std::pair<std::string, int>>& objects) {
  if (auto removed = remove_set("new"); !removed) return removed;
  if (auto made = make_folder(path_ + "/new"); !made) return made;
  for (const auto& [name, fd] : objects) {
    const std::string pin = path_ + "/new/" + name;
    if (bpf_obj_pin(fd, pin.c_str()) == 0) continue;
    auto failure = system_error(errno, "pin " + pin);
    discard_new();
    return failure;
  }
  return {};
}

Status PinFolder::publish() {
  const std::string fresh = path_ + "/new";
  const std::string current = path_ + "/set";
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, current.c_str(), RENAME_NOREPLACE) == 0) {
    return {};
  }
  if (errno != EEXIST) return system_error(errno, "rename " + fresh);
  if (::renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, current.c_str(), RENAME_EXCHANGE) != 0) {
    return system_error(errno, "exchange " + fresh + " and " + current);
  }
  // In force already; an old set that does not go away is removed by the next load.
  discard_new();
  return {};
}

void PinFolder::discard_new() {
  static_cast<void>(remove_set("new").has_value());
}

void PinFolder::abandon() {
  discard_new();
  // rmdir refuses a folder that holds a set in force, or another namespace's folder.
  if (::rmdir(path_.c_str()) == 0) ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
}

Status PinFolder::remove_set(const char* set) {
  const std::string path = path_ + "/" + set;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), &::closedir);
  if (!entries) return errno == ENOENT ? Status{} : system_error(errno, "open " + path);
  while (const dirent* entry = ::readdir(entries.get())) {
    if (entry->d_name[0] == '.') continue;
    if (::unlinkat(::dirfd(entries.get()), entry->d_name, 0) != 0) {
      return system_error(errno, "unpin " + path + "/" + entry->d_name);
    }
  }
  if (::rmdir(path.c_str()) != 0) return system_error(errno, "remove " + path);
  return {};
}

Status PinFolder::remove_all() {
  for (const char* set : {"new", "set"}) {
    if (auto removed = remove_set(set); !removed) return removed;
  }
  if (::rmdir(path_.c_str()) != 0) return system_error(errno, "remove " + path_);
  // Other namespaces' folders keep it.
  ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
  return {};
}

}  // namespace tollgate::kernel
