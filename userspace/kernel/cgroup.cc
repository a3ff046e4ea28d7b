#include "userspace/kernel/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>

namespace tollgate::kernel {
namespace {

constexpr std::string_view kChildPrefix = "tollgate-";

// The mount point of a whole cgroup2 tree; a bind mount of a part would make paths mean other
// things.
std::optional<std::string> mounted_cgroup2() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    const size_t separator = line.find(" - ");
    if (separator == line.npos || line.compare(separator + 3, 8, "cgroup2 ") != 0) continue;
    std::istringstream fields(line);
    std::string id, parent, device, root, point;
    fields >> id >> parent >> device >> root >> point;
    if (root == "/") return point;
  }
  return std::nullopt;
}

Result<UniqueFd> open_cgroup2() {
  if (const auto point = mounted_cgroup2()) {
    UniqueFd fd(::open(point->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd) return fd;
  }
  UniqueFd context(::fsopen("cgroup2", FSOPEN_CLOEXEC));
  if (!context) return system_error(errno, "open cgroup2");
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return system_error(errno, "create a cgroup2 mount");
  }
  UniqueFd fd(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!fd) return system_error(errno, "mount cgroup2");
  return fd;
}

// "0::/system.slice/tollgate.service" → the path below the root; empty: the root itself.
Result<std::string> path_of(const std::string& process) {
  std::ifstream groups("/proc/" + process + "/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (line.compare(0, 4, "0::/") == 0) return line.substr(4);
  }
  return Error{Fault::system, ENOENT,
               "find the cgroup of " + process + ": no line 0:: in /proc/" + process + "/cgroup",
               "cgroup v2 must be enabled in the kernel"};
}

// The daemon that made a cgroup of this name below the root; 0: none did.
pid_t maker_of(std::string_view name) {
  if (name.substr(0, kChildPrefix.size()) != kChildPrefix) return 0;
  pid_t pid = 0;
  const char* end = name.data() + name.size();
  const auto parsed = std::from_chars(name.data() + kChildPrefix.size(), end, pid);
  return parsed.ec == std::errc{} && parsed.ptr == end && pid > 0 ? pid : 0;
}

// Children of daemons that were killed. rmdir refuses those that are in use.
void remove_leftovers(int root) {
  const int listing = ::openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::fdopendir(listing), &::closedir);
  while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
    const pid_t maker = maker_of(entry->d_name);
    if (maker == 0 || ::kill(maker, 0) == 0 || errno != ESRCH) continue;
    ::unlinkat(root, entry->d_name, AT_REMOVEDIR);
  }
}

Status move_into(int cgroup, const std::string& name) {
  const UniqueFd procs(::openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC));
  if (procs && ::write(procs.get(), "0", 1) == 1) return {};
  return system_error(errno, "move into cgroup " + name);
}

}  // namespace

Result<OwnCgroup> OwnCgroup::enter() {
  auto root = open_cgroup2();
  if (!root) return std::move(root).forward();
  auto path = path_of("self");
  if (!path) return std::move(path).forward();
  OwnCgroup group;
  group.root_ = *std::move(root);
  if (!path->empty()) {
    group.own_.reset(
        ::openat(group.root_.get(), path->c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!group.own_) return system_error(errno, "open own cgroup /" + *path);
    return group;
  }
  remove_leftovers(group.root_.get());
  const std::string child = std::string(kChildPrefix) + std::to_string(::getpid());
  if (::mkdirat(group.root_.get(), child.c_str(), 0755) != 0 && errno != EEXIST) {
    return system_error(errno, "make cgroup " + child);
  }
  group.child_ = child;
  group.owner_ = ::getpid();
  group.root_procs_.reset(::openat(group.root_.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
  group.own_.reset(::openat(group.root_.get(), child.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.own_ || !group.root_procs_) return system_error(errno, "open cgroup " + child);
  if (Status moved = move_into(group.own_.get(), child); !moved) return std::move(moved).forward();
  return group;
}

Result<OwnCgroup> OwnCgroup::join(pid_t running) {
  auto root = open_cgroup2();
  if (!root) return std::move(root).forward();
  auto path = path_of(std::to_string(running));
  if (!path) return std::move(path).forward();
  OwnCgroup group;
  group.root_ = *std::move(root);
  const std::string relative = path->empty() ? "." : *path;
  group.own_.reset(
      ::openat(group.root_.get(), relative.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!group.own_) return system_error(errno, "open cgroup /" + *path);
  if (Status moved = move_into(group.own_.get(), relative); !moved) {
    return std::move(moved).forward();
  }
  if (maker_of(*path) == 0) return group;
  group.root_procs_.reset(::openat(group.root_.get(), "cgroup.procs", O_WRONLY | O_CLOEXEC));
  if (!group.root_procs_) return system_error(errno, "open the root cgroup");
  group.child_ = *path;
  group.owner_ = ::getpid();
  return group;
}

OwnCgroup::~OwnCgroup() {
  if (child_.empty() || !root_) return;
  // A forked child that inherits this object must not move itself or remove what is its parent's.
  if (owner_ != ::getpid()) return;
  if (root_procs_ && ::write(root_procs_.get(), "0", 1) != 1) return;
  own_.reset();
  ::unlinkat(root_.get(), child_.c_str(), AT_REMOVEDIR);
}

}  // namespace tollgate::kernel
