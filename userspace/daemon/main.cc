// tollgated: --config FILE runs in the foreground, with --upgrade in place of the one that runs;
// --check FILE explains a configuration; --doctor FILE looks at the host; --client-config FILE says
// what clients need; --install FILE puts the guard and the routing rules into force, before any
// start; --uninstall FILE removes them and what is pinned in the kernel.
#include <malloc.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <string>

#include "userspace/daemon/client_config.h"
#include "userspace/daemon/daemon.h"
#include "userspace/daemon/doctor.h"
#include "userspace/daemon/interception.h"
#include "userspace/daemon/load.h"

namespace {

using namespace tollgate;

constexpr int kExitOk = 0;
constexpr int kExitUsage = 2;
constexpr int kExitRefused = 3;

int complain(const Error& error) {
  std::fprintf(stderr, "tollgated: %s\n", error.text.c_str());
  if (!error.hint.empty()) std::fprintf(stderr, "  try: %s\n", error.hint.c_str());
  return kExitRefused;
}

int check(const std::string& path) {
  auto config = daemon::load_config(path);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return kExitRefused;
  }
  const auto snapshot = daemon::load_snapshot(*config, {});
  if (!snapshot) return complain(snapshot.error());
  std::printf("%s: ok, %zu policies, %zu peers, prices %s\n", path.c_str(), config->rules.size(),
              config->peers.size(), (*snapshot)->policy->prices().version().c_str());
  return kExitOk;
}

int run(const std::string& path, daemon::Daemon::Start start) {
  auto config = daemon::load_config(path);
  if (!config) {
    std::fprintf(stderr, "%s\n", config.error().text.c_str());
    return kExitRefused;
  }
  auto daemon = daemon::Daemon::make(path, std::move(*config), start);
  if (!daemon) return complain(daemon.error());
  return (*daemon)->run();
}

int install(const std::string& path) {
  auto config = daemon::load_config(path);
  if (!config) return complain(config.error());
  const Status installed = daemon::install_interception(*config);
  return installed ? kExitOk : complain(installed.error());
}

int uninstall(const std::string& path) {
  auto config = daemon::load_config(path);
  if (!config) return complain(config.error());
  // As long as it serves, what keeps its peers on the way stays.
  const Status removed = kernel::Steering::uninstall({.endpoints = config->gateway.listen,
                                                      .tunnels = config->gateway.tunnels,
                                                      .bpffs = config->gateway.bpffs});
  if (!removed) return complain(removed.error());
  const Status opened = daemon::uninstall_interception();
  return opened ? kExitOk : complain(opened.error());
}

// Request bodies and records of some 64 KB come and go thousands of times a second. glibc would
// give each back to the kernel and fault it in again; above these bounds it still does.
void keep_freed_memory() {
  ::mallopt(M_TRIM_THRESHOLD, 8 * 1024 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

}  // namespace

int main(int argc, char** argv) {
  keep_freed_memory();
  CLI::App app{"Tollgate's daemon: meters and polices Codex traffic from a tunnel", "tollgated"};
  std::string config;
  std::string check_file;
  std::string install_file;
  std::string doctor_file;
  daemon::ClientConfigAsk clients;
  bool json = false;
  std::string uninstall_file;
  std::string log_level = "info";
  bool upgrade = false;
  app.add_option("--config", config, "run with this tollgate.toml, in the foreground");
  app.add_flag("--upgrade", upgrade, "with --config: take over from the tollgated that runs");
  app.add_option("--check", check_file, "say what is wrong with this tollgate.toml");
  app.add_option("--install", install_file,
                 "keep peers from this tollgate.toml's providers, also while no daemon runs");
  app.add_option("--uninstall", uninstall_file,
                 "remove what this tollgate.toml pinned and installed");
  app.add_option("--doctor", doctor_file, "say what this host lacks for this tollgate.toml");
  app.add_option("--client-config", clients.config,
                 "say what Codex needs to use this tollgate.toml's gateway");
  app.add_option("--user", clients.user, "with --client-config: for this user");
  app.add_option("--ca", clients.ca,
                 "with --client-config: the CA that signed the gateway's certificate");
  app.add_flag("--json", json, "what --doctor or --client-config says as JSON");
  app.add_option("--log-level", log_level, "error, warn, info or debug")
      ->check(CLI::IsMember({"error", "warn", "info", "debug"}));
  app.set_version_flag("--version", TOLLGATE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kExitOk : kExitUsage;
  }
  auto logger = spdlog::stderr_logger_mt("tollgated");
  logger->set_level(spdlog::level::from_str(log_level));
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_default_logger(std::move(logger));
  if (!check_file.empty()) return check(check_file);
  if (!install_file.empty()) return install(install_file);
  if (!doctor_file.empty()) return daemon::doctor(std::cout, doctor_file, json);
  clients.json = json;
  if (!clients.config.empty()) return daemon::client_config(std::cout, clients);
  if (!uninstall_file.empty()) return uninstall(uninstall_file);
  using Start = daemon::Daemon::Start;
  if (!config.empty()) return run(config, upgrade ? Start::upgrade : Start::alone);
  std::fprintf(stderr, "tollgated: nothing to do; try --config /etc/tollgate/tollgate.toml\n");
  return kExitUsage;
}
