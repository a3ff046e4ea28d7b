#pragma once

#include <string>

#include "userspace/ctl/command.h"
#include "userspace/ctl/ctl.h"

namespace tollgate::ctl {

// Runs `tollgated --check FILE`, which alone knows the configuration; its output and exit code are
// passed on.
int check(Env& env, const std::string& file);
// The host as `tollgated --doctor` sees it; 1 when something is broken.
int doctor(Env& env, const std::string& file, bool json);

// What clients need, as `tollgated --client-config` says it; 1 when it would not work.
int client_config(Env& env, const Command& command);

}  // namespace tollgate::ctl
