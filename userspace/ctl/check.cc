#include "userspace/ctl/check.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <sstream>
#include <vector>

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

int run_daemon(Env& env, std::vector<std::string> options) {
  std::string daemon = find_daemon(env);
  if (daemon.empty()) {
    env.err << "tollgate: find tollgated: neither beside this program nor in PATH\n"
            << "hint: install the tollgate package, or run `tollgated " << options.front()
            << " FILE` where it is\n";
    return kExitUnreachable;
  }
  env.out.flush();
  std::vector<char*> arguments = {daemon.data()};
  for (std::string& option : options)
    arguments.push_back(option.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawn(&child, daemon.c_str(), nullptr, nullptr, arguments.data(), environ);
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

}  // namespace

int check(Env& env, const std::string& file) {
  return run_daemon(env, {"--check", file});
}

int doctor(Env& env, const std::string& file, bool json) {
  std::vector<std::string> options = {"--doctor", file};
  if (json) options.emplace_back("--json");
  return run_daemon(env, std::move(options));
}

int client_config(Env& env, const Command& command) {
  std::vector<std::string> options = {"--client-config", command.file};
  // In one word: a value that begins with a dash stays a value.
  if (!command.user.empty()) options.push_back("--user=" + command.user);
  if (!command.ca.empty()) options.push_back("--ca=" + command.ca);
  if (command.json) options.emplace_back("--json");
  return run_daemon(env, std::move(options));
}

}  // namespace tollgate::ctl
