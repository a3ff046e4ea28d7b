#pragma once

#include <string>

#include "userspace/ctl/ctl.h"

namespace tollgate::ctl {

// Runs `tollgated --check FILE`, which alone knows the configuration; its output and exit code are
// passed on.
int check(Env& env, const std::string& file);
// The host as `tollgated --doctor` sees it; 1 when something is broken.
int doctor(Env& env, const std::string& file, bool json);

}  // namespace tollgate::ctl
