// The command line as a value.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "userspace/ctl/ctl.h"

namespace tollgate::ctl {

struct Command {
  enum class Kind {
    status,
    usage,
    usage_records,
    tail,
    sessions,
    peers,
    check,
    explain,
    limits,
    grant,
    reset,
    revoke,
    restore,
    audit,
    unmetered,
    doctor,
    client_config,
    reload,
    version,
  };
  Kind kind = Kind::status;
  std::string socket;
  bool json = false;
  bool csv = false;
  std::string by = "user";
  std::string since = "24h";
  std::string user;
  std::string model;
  std::string outcome;       // usage records
  bool recovered = false;    // they are those of `sessions --recovered`
  int64_t body_bytes = 0;    // explain; 0: the daemon's choice
  std::string group;         // grant, reset: of a group, else of `user`
  std::string unit;          // grant
  int64_t amount = 0;        // in the unit; usd: nano-USD
  std::string time = "24h";  // grant: for how long
  std::string subject;       // revoke, restore: a user or an address
  std::string reason;
  bool dry_run = false;
  bool acknowledge = false;  // unmetered
  std::string file;
  std::string ca;  // client-config
};

// Or the exit code, when help was asked for or the arguments are wrong; either has been printed.
std::variant<Command, int> parse_command(Env& env, const std::vector<std::string>& args);

}  // namespace tollgate::ctl
