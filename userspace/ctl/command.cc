#include "userspace/ctl/command.h"

#include <CLI/CLI.hpp>

#include "userspace/admin/protocol.h"
#include "userspace/base/units.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

constexpr const char* kDefaultConfig = "/etc/tollgate/tollgate.toml";
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

// CLI11 wants what is wrong, or nothing.
std::string not_an_outcome(const std::string& name) {
  if (ringbuf::parse_outcome(name)) return {};
  std::string choices;
  for (uint8_t i = 1; i <= static_cast<uint8_t>(ringbuf::Outcome::recovered); ++i) {
    choices += i == 1 ? "" : ", ";
    choices += ringbuf::to_string(static_cast<ringbuf::Outcome>(i));
  }
  return "\"" + name + "\" is none of " + choices;
}

std::optional<int64_t> amount_of(const std::string& unit, const std::string& text) {
  if (unit == "usd") {
    const Result<NanoUsd> dollars = parse_usd(text);
    return dollars ? std::optional(dollars->value) : std::nullopt;
  }
  int64_t count = 0;
  return CLI::detail::lexical_cast(text, count) ? std::optional(count) : std::nullopt;
}

std::string not_an_amount(const std::string& unit, const std::string& text) {
  const std::optional<int64_t> amount = amount_of(unit, text);
  if (amount && *amount > 0 && *amount <= admin::kGrantAmountMax) return {};
  return "\"" + text + "\" is no amount of " + unit +
         (unit == "usd" ? ", write 10.00" : ", write a whole number");
}

std::string not_a_grant_time(const std::string& text) {
  const std::optional<int64_t> ms = parse_duration_ms(text);
  if (ms && *ms <= admin::kGrantSecondsMax * 1000) return {};
  return "\"" + text + "\" is not a time from 1s to 31d";
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
  records->add_option("--outcome", command.outcome, "Only those that ended so: refused, cut, ...")
      ->check(not_an_outcome);
  records->footer(
      "\nExamples:\n  tollgate usage records --since 7d --json\n"
      "  tollgate usage records --user alice@example.com --outcome client_abort");
}

void add_sessions(CLI::App& app, Command& command) {
  CLI::Option* recovered = app.add_flag("--recovered", command.recovered,
                                        "Requests that ended with the gateway, not by themselves");
  app.add_option("--since", command.since, "Of those: 24h, 7d, 2026-11-20 ... (default 31d)")
      ->needs(recovered);
  add_json(app, command);
}

void add_limits(CLI::App& app, Command& command) {
  app.add_option("USER", command.user, "Only what binds this user; shows also what is held");
  add_json(app, command);
}

void add_subject(CLI::App& app, Command& command) {
  CLI::Option* user = app.add_option("USER", command.user, "Whose limits");
  app.add_option("--group", command.group, "A group's limits instead of a user's")->excludes(user);
  app.add_option("--reason", command.reason, "Why; kept with it");
  app.add_flag("--dry-run", command.dry_run, "Show the limits it is about, change nothing");
  add_json(app, command);
}

void add_amount(CLI::App& app, Command& command, const std::string& unit, const char* help) {
  app.add_option_function<std::string>(
         "--" + unit,
         [&command, unit](const std::string& text) {
           command.amount = amount_of(unit, text).value_or(0);
           command.unit = unit;
         },
         help)
      ->check([unit](const std::string& text) { return not_an_amount(unit, text); });
}

void add_grant(CLI::App& app, Command& command) {
  add_subject(app, command);
  add_amount(app, command, "usd", "Dollars: 10.00");
  add_amount(app, command, "tokens", "Tokens, input and output together");
  add_amount(app, command, "requests", "Requests");
  app.add_option("--for", command.time, "For how long, 31d at most (default 24h)")
      ->check(not_a_grant_time);
}

void add_restore(CLI::App& app, Command& command) {
  app.add_option("USER|ADDRESS", command.subject, "A user, or one peer's address")->required();
  add_json(app, command);
}

void add_revoke(CLI::App& app, Command& command) {
  add_restore(app, command);
  app.add_option("--why", command.reason, "Told to whom it concerns; kept with it");
}

void add_explain(CLI::App& app, Command& command) {
  app.add_option("USER", command.user, "Whose request")->required();
  app.add_option("--model", command.model, "Asking for this model");
  app.add_option("--body-bytes", command.body_bytes, "With a request this large (default 40000)")
      ->check(CLI::Range(int64_t{1}, static_cast<int64_t>(admin::kBodyBytesMax)));
  add_json(app, command);
}

void add_doctor(CLI::App& app, Command& command) {
  command.file = kDefaultConfig;
  app.add_option("FILE", command.file,
                 std::string("Configuration (default ") + kDefaultConfig + ")");
  add_json(app, command);
}

void add_unmetered(CLI::App& app, Command& command) {
  app.add_flag("--acknowledge", command.acknowledge,
               "You know of them: admit requests again, empty the list");
  add_json(app, command);
}

void add_client_config(CLI::App& app, Command& command) {
  add_doctor(app, command);
  app.add_option("--user", command.user, "For this user, with a model that they may use");
  app.add_option("--ca", command.ca, "The CA that signed the gateway's certificate, as PEM");
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
    {Kind::sessions, "sessions", "Requests running now", add_sessions,
     "  tollgate sessions\n  tollgate sessions --recovered --since 7d"},
    {Kind::peers, "peers", "Who is known behind which address", add_json,
     "  tollgate peers\n  tollgate peers --json"},
    {Kind::explain, "explain", "May this user ask this model, and why", add_explain,
     "  tollgate explain alice@example.com\n"
     "  tollgate explain alice@example.com --model gpt-5.5"},
    {Kind::limits, "limits", "What is used, held and left of each limit", add_limits,
     "  tollgate limits\n  tollgate limits alice@example.com"},
    {Kind::grant, "grant", "Give a user or a group more for a while", add_grant,
     "  tollgate grant alice@example.com --usd 10.00 --for 24h --reason \"demo day\"\n"
     "  tollgate grant --group engineering --tokens 100000 --for 7d"},
    {Kind::reset, "reset", "Let a user's or a group's limits start at zero", add_subject,
     "  tollgate reset alice@example.com --dry-run\n  tollgate reset --group engineering"},
    {Kind::revoke, "revoke", "Take access away, now; `restore` gives it back", add_revoke,
     "  tollgate revoke alice@example.com --why \"laptop lost\"\n  tollgate revoke 10.99.0.2"},
    {Kind::restore, "restore", "Give a revoked user's access back", add_restore,
     "  tollgate restore alice@example.com\n  tollgate restore 10.99.0.2"},
    {Kind::audit, "audit", "Grants and resets, and who made them", add_json,
     "  tollgate audit\n  tollgate audit --json"},
    {Kind::unmetered, "unmetered", "Traffic to providers without a record (an alarm)",
     add_unmetered, "  tollgate unmetered\n  tollgate unmetered --acknowledge"},
    {Kind::check, "check", "Check a configuration file (no daemon needed)", add_check,
     "  tollgate check tollgate.toml\n  tollgate check /etc/tollgate/tollgate.toml"},
    {Kind::doctor, "doctor", "What this host lacks (no daemon needed)", add_doctor,
     "  tollgate doctor\n  tollgate doctor ./tollgate.toml --json"},
    {Kind::client_config, "client-config", "What Codex on a client needs, and whether it works",
     add_client_config,
     "  tollgate client-config --user alice@example.com\n"
     "  tollgate client-config --ca /etc/tollgate/tls/ca.pem --json"},
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

// What CLI11 cannot see in one option alone: the mistake, or nothing.
std::string finish(const CLI::App& chosen, Command& command) {
  if (command.kind == Kind::usage && !chosen.get_subcommands().empty()) {
    command.kind = Kind::usage_records;
    if (chosen.count("--by") > 0 || command.csv) {
      return "--by and --csv are for `tollgate usage`, not for records";
    }
  }
  if (command.kind == Kind::sessions && command.recovered) {
    command.kind = Kind::usage_records;
    command.outcome = ringbuf::to_string(ringbuf::Outcome::recovered);
    if (chosen.count("--since") == 0) command.since = "31d";
  }
  const bool changes = command.kind == Kind::grant || command.kind == Kind::reset;
  if (changes && command.user.empty() && command.group.empty()) {
    return "USER or --group is missing";
  }
  if (command.kind != Kind::grant) return {};
  const size_t amounts =
      chosen.count("--usd") + chosen.count("--tokens") + chosen.count("--requests");
  return amounts == 1 ? "" : "exactly one of --usd, --tokens and --requests is needed";
}

// The library leaves two empty lines between some parts of a help; one screen has no room for that.
std::string single_spaced(std::string help) {
  for (size_t at = help.find("\n\n\n"); at != help.npos; at = help.find("\n\n\n"))
    help.erase(at, 1);
  return help;
}

}  // namespace

std::variant<Command, int> parse_command(Env& env, const std::vector<std::string>& args) {
  Command command;
  command.socket = env.socket.empty() ? kDefaultSocket : env.socket;
  // No description: with it and --version, which is a command, too, the help leaves the screen.
  CLI::App app("", "tollgate");
  // Not in the help, where it would push the commands off the screen: whoever cannot reach the
  // daemon is told of it.
  app.add_option("--socket", command.socket)->group("");
  bool own_version = false;
  app.add_flag("--version", own_version, "Print this program's version")->group("");
  app.get_help_ptr()->group("");
  app.require_subcommand(0, 1);
  app.footer(
      "Examples:\n  tollgate usage --by user --since 7d\n"
      "  tollgate explain alice@example.com --model gpt-5.5");
  for (const CommandRow& row : kCommands) {
    CLI::App* sub = app.add_subcommand(row.name, row.line);
    if (row.kind == Kind::restore) sub->group("");  // `revoke` names it; a screen is short
    sub->fallthrough();                             // --socket is accepted behind the command, too
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
    env.out << single_spaced(deepest->help(parent.substr(0, parent.find_last_not_of(' ') + 1)));
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
  if (const std::string mistake = finish(*chosen, command); !mistake.empty()) {
    return usage_error(env, mistake, help);
  }
  return command;
}

}  // namespace tollgate::ctl
