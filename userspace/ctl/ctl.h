// The command line `tollgate`: asks the daemon over the admin socket and prints for a person, or as
// JSON for a program. Everything from outside comes in through Env, so that a test runs the whole
// command.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

namespace tollgate::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitRefused = 3;      // the daemon said no
inline constexpr int kExitUnreachable = 4;  // or it went away before the answer was whole
inline constexpr int kExitNotDurable = 5;   // done, but a restart of the daemon undoes it

struct Env {
  std::ostream& out;
  std::ostream& err;
  int64_t now_unix_ms = 0;
  std::string socket;    // TOLLGATE_SOCKET, empty when unset
  std::string own_path;  // of this program; `check` looks for tollgated beside it
  std::string path;      // PATH
  // A daemon that took the question answers within this; `tail` waits for ever.
  int64_t answer_timeout_ms = 30'000;
};

int run(Env& env, const std::vector<std::string>& args);

}  // namespace tollgate::ctl
