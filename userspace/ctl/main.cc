#include <array>
#include <climits>
#include <cstdlib>
#include <iostream>

#include <unistd.h>

#include "userspace/base/clock.h"
#include "userspace/ctl/ctl.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string{} : std::string{value};
}

std::string own_path() {
  std::array<char, PATH_MAX> path{};
  const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
  return length < 0 ? std::string{} : std::string(path.data(), static_cast<size_t>(length));
}

}  // namespace

int main(int argc, char** argv) {
  tollgate::ctl::Env env{.out = std::cout,
                         .err = std::cerr,
                         .now_unix_ms = tollgate::wall_unix_ms(),
                         .socket = variable("TOLLGATE_SOCKET"),
                         .own_path = own_path(),
                         .path = variable("PATH")};
  return tollgate::ctl::run(env, std::vector<std::string>(argv + 1, argv + argc));
}
