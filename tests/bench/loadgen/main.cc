// The load generator: one thread, epoll, OpenSSL client. See README.md for what the figures mean.
#include <cstdio>

#include "tests/bench/common/start.h"
#include "tests/bench/loadgen/load.h"

int main(int argc, char** argv) {
  using namespace tollgate::bench;
  Options options = read_options(argc, argv);
  prepare_process();
  Run run(options);
  run.go();
  std::printf("%s\n", run.to_json().dump().c_str());
  return run.all_right() ? 0 : 1;
}
