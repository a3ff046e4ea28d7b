#include "userspace/ctl/check.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

// Beside this program first: a build tree and an unpacked release check with their own daemon.
std::string find_daemon(const Env& env) {
  const size_t slash = env.own_path.rfind('/');
  if (slash != env.own_path.npos) {
    const std::string beside = env.own_path.substr(0, slash + 1) + "tollgated";
    if (::access(beside.c_str(), X_OK) == 0) return beside;
  }
  std::istringstream folders(env.path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string candidate = folder + "/tollgated";
    // An empty or relative folder would run whatever lies in the current one.
    if (folder.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

}  // namespace

int check(Env& env, const std::string& file) {
  std::string daemon = find_daemon(env);
  if (daemon.empty()) {
    env.err << "tollgate: find tollgated: neither beside this program nor in PATH\n"
            << "hint: install the tollgate package, or run `tollgated --check FILE` where it is\n";
    return kExitUnreachable;
  }
  env.out.flush();
  std::string option = "--check";
  std::string argument = file;
  char* const arguments[] = {daemon.data(), option.data(), argument.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, daemon.c_str(), nullptr, nullptr, arguments, environ);
  if (error != 0) {
    env.err << "tollgate: run " << printable(daemon) << ": " << std::strerror(error) << '\n';
    return kExitUnreachable;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return kExitUnreachable;
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  env.err << "tollgate: " << printable(daemon) << " ended by signal " << WTERMSIG(status) << '\n';
  return kExitUnreachable;
}

}  // namespace tollgate::ctl
