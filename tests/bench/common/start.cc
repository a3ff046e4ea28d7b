#include "tests/bench/common/start.h"

#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

namespace tollgate::bench {

void die(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::exit(1);
}

void parse_options(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
}

Endpoint endpoint_or_die(const std::string& text) {
  auto endpoint = parse_endpoint(text);
  if (!endpoint) die("not an address and port: " + text);
  return *endpoint;
}

void prepare_process() {
  ::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace tollgate::bench
