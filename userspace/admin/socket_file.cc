#include "userspace/admin/socket_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace tollgate::admin {
namespace {

// Everyone may connect; what a caller may ask is decided by its credentials (README.md, "Why").
constexpr mode_t kSocketMode = 0666;
constexpr int kBacklog = 64;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error{Fault::config, 0,
                 "bind admin socket \"" + path + "\": 1 to 107 bytes are accepted",
                 "choose a shorter run folder"};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Error already_served(const std::string& path) {
  return Error{Fault::config, 0, "bind admin socket " + path + ": another daemon answers there",
               "stop it, or give this one a run folder of its own"};
}

// Two daemons that start at once would each find the other's file stale and remove it; the lock
// decides. It stays beside the socket: removing a lock file is itself a race.
Result<UniqueFd> lock_beside(const std::string& path) {
  UniqueFd lock(::open((path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return system_error(errno, "open " + path + ".lock");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return already_served(path);
    return system_error(errno, "lock " + path + ".lock");
  }
  return lock;
}

UniqueFd unix_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

Status remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return system_error(errno, "look at " + path);
  }
  if (!S_ISSOCK(found.st_mode)) {
    return Error{Fault::config, 0, "bind admin socket " + path + ": there is a file in the way",
                 "move it away, or choose another run folder"};
  }
  const UniqueFd probe = unix_socket();
  if (!probe) return system_error(errno, "open a unix socket");
  // Only "refused" says that nobody listens; a full backlog (EAGAIN) is somebody.
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED) {
    return already_served(path);
  }
  if (::unlink(path.c_str()) != 0) return system_error(errno, "remove stale " + path);
  return {};
}

}  // namespace

Result<SocketFile> SocketFile::make(const std::string& path) {
  auto address = address_of(path);
  if (!address) return std::move(address).forward();
  auto lock = lock_beside(path);
  if (!lock) return std::move(lock).forward();
  if (auto removed = remove_stale(path, *address); !removed) return std::move(removed).forward();

  UniqueFd listener = unix_socket();
  if (!listener) return system_error(errno, "open a unix socket");
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return system_error(errno, "bind admin socket " + path);
  }
  struct stat made {};
  if (::chmod(path.c_str(), kSocketMode) != 0 || ::lstat(path.c_str(), &made) != 0) {
    return system_error(errno, "set the mode of " + path);
  }
  if (::listen(listener.get(), kBacklog) != 0) return system_error(errno, "listen on " + path);
  return SocketFile(path, std::move(lock).value(), std::move(listener), made.st_dev, made.st_ino);
}

SocketFile SocketFile::adopt(std::string path, UniqueFd lock, UniqueFd listener) {
  struct stat made {};
  // Without it the file stays behind at the end, and the next start replaces it.
  if (::lstat(path.c_str(), &made) != 0) made = {};
  return SocketFile(std::move(path), std::move(lock), std::move(listener), made.st_dev,
                    made.st_ino);
}

void SocketFile::let_go() {
  listener_.reset();
  lock_.reset();
}

SocketFile::~SocketFile() {
  struct stat found {};
  if (!listener_ || ::lstat(path_.c_str(), &found) != 0) return;
  if (found.st_dev == device_ && found.st_ino == inode_) ::unlink(path_.c_str());
}

}  // namespace tollgate::admin
