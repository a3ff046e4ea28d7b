#include "userspace/admin/protocol.h"
#include "userspace/ctl/change.h"
#include "userspace/ctl/check.h"
#include "userspace/ctl/command.h"
#include "userspace/ctl/connection.h"
#include "userspace/ctl/ctl.h"
#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

using admin::Answer;
using admin::Verb;
using Kind = Command::Kind;

int unreachable(Env& env, const Command& command, const Error& error) {
  env.err << "tollgate: " << printable(error.text) << '\n'
          << "hint: is the daemon running? `systemctl start tollgated`; tried "
          << printable(command.socket) << ", another socket by --socket or TOLLGATE_SOCKET\n";
  return kExitUnreachable;
}

int refused(Env& env, const admin::Failure& failure) {
  env.err << "tollgate: " << admin::to_string(failure.code) << ": " << printable(failure.text)
          << '\n';
  if (!failure.hint.empty()) env.err << "hint: " << printable(failure.hint) << '\n';
  return kExitRefused;
}

Verb verb_of(const Command& command) {
  if (command.dry_run) return Verb::limits;
  switch (command.kind) {
    case Kind::usage:
      return Verb::usage;
    case Kind::usage_records:
      return Verb::records;
    case Kind::tail:
      return Verb::tail;
    case Kind::sessions:
      return Verb::sessions;
    case Kind::peers:
      return Verb::peers;
    case Kind::explain:
      return Verb::explain;
    case Kind::limits:
      return Verb::limits;
    case Kind::grant:
      return Verb::grant;
    case Kind::reset:
      return Verb::reset;
    case Kind::revoke:
      return Verb::revoke;
    case Kind::restore:
      return Verb::restore;
    case Kind::audit:
      return Verb::adjustments;
    case Kind::unmetered:
      return command.acknowledge ? Verb::acknowledge : Verb::unmetered;
    case Kind::reload:
      return Verb::reload;
    case Kind::version:
      return Verb::version;
    case Kind::status:
    case Kind::check:
    case Kind::doctor:
    case Kind::client_config:
      break;
  }
  return Verb::status;
}

nlohmann::json arguments_of(const Command& command, const Since& since) {
  if (command.kind == Kind::grant || command.kind == Kind::reset || !command.subject.empty()) {
    return change_arguments(command);
  }
  nlohmann::json args = nlohmann::json::object();
  if (command.kind == Kind::usage) args["by"] = command.by;
  if (command.kind == Kind::usage || command.kind == Kind::usage_records) {
    args["since_unix_ms"] = since.unix_ms;
  }
  if (!command.user.empty()) args["user"] = command.user;
  if (!command.model.empty()) args["model"] = command.model;
  if (!command.outcome.empty()) args["outcome"] = command.outcome;
  if (command.body_bytes > 0) args["body_bytes"] = command.body_bytes;
  return args;
}

void show_reload(std::ostream& out, const nlohmann::json& loaded) {
  out << "Configuration loaded: " << thousands(number_of(loaded, "policies")) << " policies, "
      << thousands(number_of(loaded, "peers")) << " peers, price version "
      << text_of(loaded, "price_version") << ".\n";
}

void show(Env& env, const Command& command, const Since& since, const nlohmann::json& data) {
  if (command.kind == Kind::usage && command.csv) return show_usage_csv(env.out, data);
  if (command.dry_run) return show_dry_run(env.out, command, data, env.now_unix_ms);
  if (command.json && command.kind != Kind::version) {
    env.out << json_text(data, 2) << '\n';
    return;
  }
  switch (command.kind) {
    case Kind::status:
      return show_status(env.out, data, env.now_unix_ms);
    case Kind::usage:
      return show_usage(env.out, data, since.label);
    case Kind::sessions:
      return show_sessions(env.out, data, env.now_unix_ms);
    case Kind::peers:
      return show_peers(env.out, data, env.now_unix_ms);
    case Kind::explain:
      return show_explanation(env.out, data);
    case Kind::limits:
      return show_limits(env.out, data, command.user, env.now_unix_ms);
    case Kind::grant:
    case Kind::reset:
      return show_change(env.out, command, data);
    case Kind::audit:
      return show_adjustments(env.out, data);
    case Kind::unmetered:
      if (command.acknowledge) return show_acknowledged(env.out, data);
      return show_unmetered(env.out, data);
    case Kind::reload:
      return show_reload(env.out, data);
    case Kind::version:
      if (command.json) {
        env.out << json_text({{"tollgate", TOLLGATE_VERSION}, {"tollgated", data}}, 2) << '\n';
      } else {
        env.out << "tollgated " << text_of(data, "version") << '\n';
      }
      return;
    case Kind::revoke:
    case Kind::restore:
    case Kind::usage_records:
    case Kind::tail:
    case Kind::check:
    case Kind::doctor:
    case Kind::client_config:
      return;  // printed while they stream, or by another program
  }
}

void finish_stream(Env& env, const Command& command, const Since& since, uint64_t items,
                   const nlohmann::json& data) {
  if (command.kind == Kind::tail) {
    env.err << "tollgate: the tail ended: " << text_of(data, "reason") << '\n';
  } else if (items == 0 && !command.json) {
    env.out << (command.recovered ? "No recovered requests " : "No records ") << since.label
            << ".\n";
  }
}

void show_item(Env& env, const Command& command, bool first, const nlohmann::json& item) {
  if (command.json) {
    env.out << json_text(item, -1) << '\n';
    return;
  }
  if (command.recovered && first) {
    env.out << "Requests that were running when the gateway died; each was charged what was held "
               "for it.\n";
  }
  show_record(env.out, item);
}

int ask(Env& env, const Command& command, const Since& since) {
  const bool streams = command.kind == Kind::tail || command.kind == Kind::usage_records;
  auto connection =
      Connection::open(command.socket, command.kind == Kind::tail ? 0 : env.answer_timeout_ms);
  if (!connection) return unreachable(env, command, connection.error());
  connection->send(admin::request_line(verb_of(command), arguments_of(command, since)));
  for (uint64_t items = 0;;) {
    const Result<Answer> answer = connection->next();
    if (!answer) return unreachable(env, command, answer.error());
    switch (answer->kind) {
      case Answer::Kind::error:
        return refused(env, answer->failure);
      case Answer::Kind::ok:
        if (command.kind == Kind::revoke || command.kind == Kind::restore) {
          return show_revocation(env, command, answer->body) ? kExitOk : kExitNotDurable;
        }
        if (streams) {
          finish_stream(env, command, since, items, answer->body);
        } else {
          show(env, command, since, answer->body);
        }
        env.out.flush();
        return kExitOk;
      case Answer::Kind::lost:
        env.err << "tollgate: " << thousands(static_cast<int64_t>(answer->lost))
                << " records came too fast to be shown; `tollgate usage records` has them\n";
        break;
      case Answer::Kind::item:
        show_item(env, command, ++items == 1, answer->body);
        if (command.kind == Kind::tail) env.out.flush();
        // Whoever read our output is gone: nothing is left to do.
        if (!env.out) return kExitOk;
        break;
    }
  }
}

}  // namespace

int run(Env& env, const std::vector<std::string>& args) {
  const std::variant<Command, int> parsed = parse_command(env, args);
  if (const int* exit_code = std::get_if<int>(&parsed)) return *exit_code;
  const Command& command = std::get<Command>(parsed);
  if (command.kind == Kind::check) return check(env, command.file);
  if (command.kind == Kind::doctor) return doctor(env, command.file, command.json);
  if (command.kind == Kind::client_config) return client_config(env, command);
  const Result<Since> since = parse_since(command.since, env.now_unix_ms);
  if (!since) {
    env.err << "tollgate: " << printable(since.error().text);
    if (!since.error().hint.empty()) env.err << "; " << since.error().hint;
    env.err << '\n';
    return kExitUsage;
  }
  // Our own version is known whether or not a daemon answers.
  if (command.kind == Kind::version && !command.json) {
    env.out << "tollgate " << TOLLGATE_VERSION << '\n';
    env.out.flush();
  }
  return ask(env, command, *since);
}

}  // namespace tollgate::ctl
