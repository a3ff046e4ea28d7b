#include "userspace/base/secret.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cerrno>

#include "userspace/base/fd.h"

namespace tollgate {

namespace {
constexpr size_t kSecretBytesMax = 4096;
}

void wipe(std::string& bytes) {
  ::explicit_bzero(bytes.data(), bytes.capacity());
  bytes.clear();
}

Secret::Secret(std::string&& bytes) : bytes_(bytes) {
  wipe(bytes);
}

Secret::Secret(Secret&& other) noexcept : bytes_(other.bytes_) {
  wipe(other.bytes_);
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe(bytes_);
    bytes_ = other.bytes_;
    wipe(other.bytes_);
  }
  return *this;
}

Secret::~Secret() {
  wipe(bytes_);
}

Result<Secret> read_secret_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open key file " + path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return system_error(errno, "stat key file " + path);
  if ((info.st_mode & 0007) != 0) {
    return Error{Fault::config, 0, "read key file " + path + ": others may read it",
                 "chmod 0640 " + path};
  }
  std::string bytes(kSecretBytesMax + 1, '\0');
  size_t length = 0;
  while (length < bytes.size()) {
    const ssize_t n = ::read(fd.get(), bytes.data() + length, bytes.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      wipe(bytes);
      return system_error(errno, "read key file " + path);
    }
    if (n == 0) break;
    length += static_cast<size_t>(n);
  }
  const std::string_view all(bytes.data(), length);
  const size_t first = all.find_first_not_of(" \t\r\n");
  const size_t last = all.find_last_not_of(" \t\r\n");
  std::string key =
      first == all.npos ? std::string() : std::string(all.substr(first, last - first + 1));
  const bool too_long = length > kSecretBytesMax;
  wipe(bytes);
  bool visible = !key.empty() && !too_long;
  for (const char c : key)
    visible = visible && c > ' ' && c < '\x7f';
  if (!visible) {
    wipe(key);
    return Error{Fault::config, 0, "read key file " + path + ": not one line of visible ASCII",
                 "put the key alone on the file's first line"};
  }
  return Secret(std::move(key));
}

}  // namespace tollgate
