// What the three tools do alike when they start: read their options, and leave with one line on
// stderr when they cannot go on. They are tools of one run, so a set-up error ends the process.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "userspace/base/ip.h"

namespace tollgate::bench {

[[noreturn]] void die(const std::string& text);

// Ends the process: with 0 after --help, with 2 after a wrong option.
void parse_options(CLI::App& app, int argc, char** argv);

// "127.0.0.1:9000", or die.
Endpoint endpoint_or_die(const std::string& text);

// SIGPIPE off, and as many file descriptors as the hard limit allows.
void prepare_process();

}  // namespace tollgate::bench
