#include "userspace/daemon/metadata_key.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "userspace/base/fd.h"

namespace tollgate::daemon {
namespace {

constexpr size_t kKeyBytes = 32;

Secret make_key() {
  unsigned char random[kKeyBytes];
  TG_ASSERT(::getrandom(random, sizeof random, 0) == ssize_t{sizeof random});
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * kKeyBytes);
  for (const unsigned char byte : random) {
    text += kHex[byte >> 4];
    text += kHex[byte & 0xf];
  }
  return Secret(std::move(text));
}

// Whole or not at all: a key cut short by a full disk would be one that is easily guessed.
Status write_key(const Secret& key, const std::string& path) {
  const std::string beside = path + ".new";
  const UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return system_error(errno, "make " + beside);
  const std::string_view text = key.reveal();
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      ::fsync(fd.get()) != 0) {
    return system_error(errno, "write " + beside);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return system_error(errno, "make " + path);
  return {};
}

}  // namespace

Status give_metadata_key(const policy::Config& config, proxy::Snapshot& snapshot) {
  const bool hashes =
      std::any_of(config.rules.begin(), config.rules.end(), [](const policy::Rule& rule) {
        return rule.guards.turn_metadata == policy::TurnMetadata::hash;
      });
  if (!hashes) return {};
  const std::string path = config.gateway.state_dir + "/turn_metadata.key";
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    if (Status made = write_key(make_key(), path); !made) return made;
  }
  auto key = read_secret_file(path);
  if (!key) return std::move(key).forward();
  snapshot.metadata_key = std::make_shared<const Secret>(*std::move(key));
  return {};
}

}  // namespace tollgate::daemon
