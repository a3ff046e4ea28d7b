#include "userspace/ctl/command.h"

#include <CLI/CLI.hpp>

#include "userspace/admin/protocol.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

constexpr const char* kDefaultSocket = "/run/tollgate/admin.sock";

void add_json(CLI::App& app, Command& command) {
  app.add_flag("--json", command.json, "Print JSON, for programs");
}

void add_records_options(CLI::App& app, Command& command) {
  app.add_option("--since", command.since, "24h, 7d, 2026-11-20 or RFC 3339 (default 24h)");
  app.add_option("--user", command.user, "Only this user");
  app.add_option("--model", command.model, "Only this model, as served");
  add_json(app, command);
}

void add_usage(CLI::App& app, Command& command) {
  add_records_options(app, command);
  app.add_option("--by", command.by, "user, group, model, policy, day or session (default user)")
      ->check([](const std::string& value) {
        for (const std::string_view key : admin::kUsageKeys) {
          if (key == value) return std::string{};
        }
        return "\"" + value + "\" is not user, group, model, policy, day or session";
      });
  app.add_flag("--csv", command.csv, "Print comma-separated values")
      ->excludes(app.get_option("--json"));
  CLI::App* records = app.add_subcommand("records", "Single requests, oldest first");
  add_records_options(*records, command);
  records->footer(
      "\nExamples:\n  tollgate usage records --since 7d --json\n"
      "  tollgate usage records --user alice@example.com");
}

void add_explain(CLI::App& app, Command& command) {
  app.add_option("USER", command.user, "Whose request")->required();
  app.add_option("--model", command.model, "Asking for this model");
  add_json(app, command);
}

void add_check(CLI::App& app, Command& command) {
  app.add_option("FILE", command.file, "Configuration file to check")->required();
}

struct CommandRow {
  Command::Kind kind;
  const char* name;
  const char* line;
  void (*add_options)(CLI::App&, Command&);
  const char* examples;
};

using Kind = Command::Kind;
constexpr CommandRow kCommands[] = {
    {Kind::status, "status", "Is the gateway well, and what does it do", add_json,
     "  tollgate status\n  tollgate status --json"},
    {Kind::usage, "usage", "Tokens and money; `usage records` lists requests", add_usage,
     "  tollgate usage --by model --since 7d\n  tollgate usage --by day --since 2026-11-01 --csv"},
    {Kind::tail, "tail", "Requests as they end, until Ctrl-C", add_json,
     "  tollgate tail\n  tollgate tail --json"},
    {Kind::sessions, "sessions", "Requests running now", add_json,
     "  tollgate sessions\n  tollgate sessions --json"},
    {Kind::peers, "peers", "Who is known behind which address", add_json,
     "  tollgate peers\n  tollgate peers --json"},
    {Kind::explain, "explain", "May this user ask this model, and why", add_explain,
     "  tollgate explain alice@example.com\n"
     "  tollgate explain alice@example.com --model gpt-5.5"},
    {Kind::check, "check", "Check a configuration file (no daemon needed)", add_check,
     "  tollgate check tollgate.toml\n  tollgate check /etc/tollgate/tollgate.toml"},
    {Kind::reload, "reload", "Load the configuration anew", add_json,
     "  tollgate reload\n  tollgate reload --json"},
    {Kind::version, "version", "Versions of this program and of the daemon", add_json,
     "  tollgate version\n  tollgate version --json"},
};

// What was typed can hold anything, too.
int usage_error(Env& env, const std::string& text, const std::string& help) {
  env.err << "tollgate: " << printable(text) << "; see " << help << " --help\n";
  return kExitUsage;
}

// CLI11's words where they name the argument, ours where they do not.
std::string problem_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> extra = app.remaining(true);
  if (!extra.empty() && app.get_subcommands().empty()) return "unknown command " + extra.front();
  if (!extra.empty()) return "unknown argument " + extra.front();
  if (app.get_subcommands().empty()) return "a command is missing";
  std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace

std::variant<Command, int> parse_command(Env& env, const std::vector<std::string>& args) {
  Command command;
  command.socket = env.socket.empty() ? kDefaultSocket : env.socket;
  CLI::App app("Reads and steers a running tollgated.", "tollgate");
  app.add_option("--socket", command.socket, "Admin socket (or TOLLGATE_SOCKET)");
  bool own_version = false;
  app.add_flag("--version", own_version, "Print this program's version");
  app.require_subcommand(0, 1);
  app.footer(
      "\nExamples:\n  tollgate usage --by user --since 7d\n"
      "  tollgate explain alice@example.com --model gpt-5.5");
  for (const CommandRow& row : kCommands) {
    CLI::App* sub = app.add_subcommand(row.name, row.line);
    sub->fallthrough();  // --socket is accepted behind the command, too
    row.add_options(*sub, command);
    sub->footer(std::string("\nExamples:\n") + row.examples);
  }
  std::string help = "tollgate";
  const CLI::App* deepest = &app;
  const auto descend = [&] {
    while (!deepest->get_subcommands().empty()) {
      deepest = deepest->get_subcommands().front();
      help += " " + deepest->get_name();
    }
  };
  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));
  } catch (const CLI::CallForHelp&) {
    descend();
    const std::string parent = help.substr(0, help.size() - deepest->get_name().size());
    env.out << deepest->help(parent.substr(0, parent.find_last_not_of(' ') + 1));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    descend();
    return usage_error(env, problem_of(app, error), help);
  }
  descend();
  if (own_version) {
    env.out << "tollgate " << TOLLGATE_VERSION << '\n';
    return kExitOk;
  }
  if (app.get_subcommands().empty()) return usage_error(env, "a command is missing", help);
  CLI::App* chosen = app.get_subcommands().front();
  for (const CommandRow& row : kCommands) {
    if (chosen->get_name() == row.name) command.kind = row.kind;
  }
  if (command.kind == Kind::usage && !chosen->get_subcommands().empty()) {
    command.kind = Kind::usage_records;
    if (chosen->count("--by") > 0 || command.csv) {
      return usage_error(env, "--by and --csv are for `tollgate usage`, not for records", help);
    }
  }
  return command;
}

}  // namespace tollgate::ctl
