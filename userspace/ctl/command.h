// The command line as a value.
#pragma once

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
  std::string file;
};

// Or the exit code, when help was asked for or the arguments are wrong; either has been printed.
std::variant<Command, int> parse_command(Env& env, const std::vector<std::string>& args);

}  // namespace tollgate::ctl
