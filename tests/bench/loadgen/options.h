// What the load generator is asked to do, and the one request that all its connections send.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "userspace/base/ip.h"

namespace tollgate::bench {

struct WatchOption {
  std::string name;
  std::vector<int> pids;
};

struct Options {
  Endpoint target;
  bool tls = false;
  std::string token;      // empty: the gateway has to inject the key
  std::string body_file;  // from make_bodies.py
  std::string mode = "req";
  std::string label;
  int connections = 16;
  double seconds = 5;  // of measuring
  double warm_seconds = 1;
  double rate = 0;  // requests per second, open loop; 0: closed loop
  bool look_at_memory = false;
  uint64_t events = 100;
  uint64_t delay_us = 0;
  uint64_t delta_bytes = 32;
  uint64_t events_per_write = 1;
  uint64_t fault = 0;  // what the mock is to do wrong, for the self-check
  std::vector<WatchOption> watches;

  bool streams() const { return mode == "sse"; }
  bool new_connection_each() const { return mode == "hs"; }
};

Options read_options(int argc, char** argv);
// Head and body, ready to send.
std::string make_request(const Options& options);

}  // namespace tollgate::bench
