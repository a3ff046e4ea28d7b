#include "tests/bench/loadgen/options.h"

#include <charconv>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string_view>

#include "tests/bench/common/start.h"

namespace tollgate::bench {
namespace {

WatchOption parse_watch(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos) die("not name=pid[,pid]: " + text);
  WatchOption watch{text.substr(0, equals), {}};
  const char* at = text.data() + equals + 1;
  const char* end = text.data() + text.size();
  while (at < end) {
    int pid = 0;
    auto result = std::from_chars(at, end, pid);
    if (result.ec != std::errc() || pid <= 0) die("not name=pid[,pid]: " + text);
    watch.pids.push_back(pid);
    at = result.ptr + 1;
  }
  return watch;
}

void replace_once(std::string& body, std::string_view what, const std::string& with) {
  size_t at = body.find(what);
  if (at == std::string::npos) die("the body has no " + std::string(what));
  body.replace(at, with.size(), with);
}

// The numbers have fixed widths, so that every run sends a body of the same size.
std::string mock_plan(const Options& options) {
  char text[160];
  std::snprintf(text, sizeof text,
                "\"mock\":\"e=%06llu;d=%08llu;s=%06llu;b=%03llu;r=0001024;p=0000000;f=%llu",
                static_cast<unsigned long long>(options.events),
                static_cast<unsigned long long>(options.delay_us),
                static_cast<unsigned long long>(options.delta_bytes),
                static_cast<unsigned long long>(options.events_per_write),
                static_cast<unsigned long long>(options.fault));
  return text;
}

}  // namespace

Options read_options(int argc, char** argv) {
  Options options;
  std::string target;
  std::vector<std::string> watches;
  CLI::App app(
      "Drives a gateway with Codex-like traffic and prints one JSON line of measurements.\n"
      "Exit: 0 all answers were right, 1 some were not, 2 wrong usage.");
  app.add_option("--target", target, "address:port")->required();
  app.add_flag("--tls", options.tls);
  app.add_option("--token", options.token, "bearer token to send");
  app.add_option("--body", options.body_file, "request body, made by make_bodies.py")->required();
  app.add_option("--mode", options.mode, "req, sse or hs (a new connection for each request)")
      ->check(CLI::IsMember({"req", "sse", "hs"}));
  app.add_option("--label", options.label);
  app.add_option("--conns", options.connections)->check(CLI::Range(1, 20000));
  app.add_option("--secs", options.seconds);
  app.add_option("--warm", options.warm_seconds);
  app.add_option("--rate", options.rate, "requests per second; 0: each after the last");
  app.add_flag("--mem", options.look_at_memory, "look at memory in the middle of the window");
  app.add_option("--events", options.events);
  app.add_option("--delay-us", options.delay_us, "between writes of the mock");
  app.add_option("--size", options.delta_bytes, "text in one event");
  app.add_option("--batch", options.events_per_write, "events in one write; 0: fill a record");
  app.add_option("--fault", options.fault, "1: wrong usage, 2: a missing event");
  app.add_option("--watch", watches, "name=pid[,pid]: process trees to measure");
  parse_options(app, argc, argv);
  options.target = endpoint_or_die(target);
  for (const std::string& watch : watches)
    options.watches.push_back(parse_watch(watch));
  return options;
}

std::string make_request(const Options& options) {
  std::ifstream file(options.body_file, std::ios::binary);
  std::string body{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (body.empty()) die("read the body: " + options.body_file);
  replace_once(body, "\"stream\":", options.streams() ? "\"stream\":true " : "\"stream\":false");
  replace_once(body, "\"mock\":\"", mock_plan(options));
  std::string head =
      "POST /v1/responses HTTP/1.1\r\nHost: localhost:" + std::to_string(options.target.port) +
      "\r\nUser-Agent: codex_cli_rs/0.130.0 (Debian 12; x86_64)\r\noriginator: codex_cli_rs\r\n"
      "session_id: 0198f3c2-7c1e-7d52-9b7e-3f0f0c8b2a11\r\nAccept: " +
      (options.streams() ? "text/event-stream" : "application/json") +
      "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n";
  if (!options.token.empty()) head += "Authorization: Bearer " + options.token + "\r\n";
  return head + "\r\n" + body;
}

}  // namespace tollgate::bench
