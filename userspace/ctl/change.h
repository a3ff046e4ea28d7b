// `grant`, `reset`, `revoke` and `restore`: what is asked of the daemon, and what is printed of it.
#pragma once

#include <ostream>

#include <nlohmann/json.hpp>

#include "userspace/ctl/command.h"

namespace tollgate::ctl {

// The arguments of the change or, with --dry-run, of the `limits` that it is about.
nlohmann::json change_arguments(const Command& command);
// Also says what became of it, where `revoke` could not be recorded; then false.
bool show_revocation(Env& env, const Command& command, const nlohmann::json& done);
void show_change(std::ostream& out, const Command& command, const nlohmann::json& done);
// Of the daemon's `limits`, those that the change would reach.
void show_dry_run(std::ostream& out, const Command& command, const nlohmann::json& limits,
                  int64_t now_unix_ms);

}  // namespace tollgate::ctl
