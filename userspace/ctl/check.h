#pragma once

#include <string>

#include "userspace/ctl/ctl.h"

namespace tollgate::ctl {

// Runs `tollgated --check FILE`, which alone knows the configuration; its output and exit code are
// passed on.
int check(Env& env, const std::string& file);

}  // namespace tollgate::ctl
