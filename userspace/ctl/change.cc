#include "userspace/ctl/change.h"

#include "userspace/base/units.h"
#include "userspace/ctl/limit_text.h"
#include "userspace/ctl/show.h"
#include "userspace/ctl/since.h"
#include "userspace/ctl/text.h"

namespace tollgate::ctl {
namespace {

using nlohmann::json;

struct Subject {
  const char* scope;
  const std::string& name;
};
Subject subject_of(const Command& command) {
  if (command.group.empty()) return {"user", command.user};
  return {"group", command.group};
}

std::string grant_text(const std::string& unit, int64_t amount) {
  return amount_text(unit, amount) + (unit == "usd" ? "" : " " + unit);
}

// Those of its subject that a grant of this unit or a reset is counted into.
bool reaches(const Command& command, const json& limit) {
  const Subject subject = subject_of(command);
  const std::string unit = text_of(limit, "unit");
  const bool counts =
      command.kind == Command::Kind::grant ? unit == command.unit : unit != "concurrent";
  return counts && text_of(limit, "scope") == subject.scope &&
         text_of(limit, "subject") == printable(subject.name);
}

}  // namespace

json change_arguments(const Command& command) {
  if (!command.subject.empty()) {
    json args = {{"subject", command.subject}};
    if (!command.reason.empty()) args["reason"] = command.reason;
    return args;
  }
  const Subject subject = subject_of(command);
  if (command.dry_run) {
    return command.group.empty() ? json{{"user", command.user}} : json::object();
  }
  json args = {{"scope", subject.scope}, {"subject", subject.name}};
  if (!command.reason.empty()) args["reason"] = command.reason;
  if (command.kind == Command::Kind::reset) return args;
  args["unit"] = command.unit;
  args["amount"] = command.unit == "usd" ? format_usd_exact(NanoUsd{command.amount})
                                         : std::to_string(command.amount);
  args["for_s"] = parse_duration_ms(command.time).value_or(0) / 1000;
  return args;
}

void show_change(std::ostream& out, const Command& command, const json& done) {
  const int64_t id = number_of(done, "id");
  if (command.kind == Command::Kind::grant) {
    out << "Granted " << grant_text(text_of(done, "unit"), number_of(done, "amount")) << " to "
        << subject_text(done) << " until " << utc_time(number_of(done, "until_unix_s") * 1000)
        << " UTC (number " << id << " in `tollgate audit`).\n";
  } else {
    out << "Reset " << subject_text(done) << ": its limits start at zero (number " << id
        << " in `tollgate audit`).\n";
  }
}

bool show_revocation(Env& env, const Command& command, const json& done) {
  if (command.json) {
    env.out << json_text(done, 2) << '\n';
  } else if (command.kind == Command::Kind::restore) {
    env.out << "Restored " << subject_text(done) << ": its requests are decided by policy again.\n";
  } else {
    const std::string addresses = list_of(done, "addresses");
    env.out << "Revoked " << subject_text(done) << (addresses.empty() ? "" : " at " + addresses)
            << ": what it has running ends now, and its requests are refused.\n";
  }
  if (command.kind == Command::Kind::restore || truth_of(done, "durable")) return true;
  env.err << "tollgate: in force, but it ends with the daemon: it could not be recorded: "
          << text_of(done, "error") << "\nhint: revoke again when `tollgate status` is healthy\n";
  return false;
}

void show_dry_run(std::ostream& out, const Command& command, const json& limits,
                  int64_t now_unix_ms) {
  json reached = json::array();
  if (const json& rows = part_of(limits, "limits"); rows.is_array()) {
    for (const auto& limit : rows) {
      if (reaches(command, limit)) reached.push_back(limit);
    }
  }
  if (command.json) {
    out << json_text({{"dry_run", true}, {"limits", reached}}, 2) << '\n';
    return;
  }
  const Subject subject = subject_of(command);
  const std::string name = std::string(subject.scope) + " " + printable(subject.name);
  const bool grants = command.kind == Command::Kind::grant;
  if (grants) {
    out << "Would grant " << grant_text(command.unit, command.amount) << " to " << name << " for "
        << command.time << ". ";
  } else {
    out << "Would reset " << name << ". ";
  }
  if (reached.empty()) {
    out << "No limit of " << name << (grants ? " counts " + command.unit : " is known")
        << ": nothing would change.\n";
    return;
  }
  out << (grants ? "These limits would grow:\n\n" : "These limits would start at zero:\n\n");
  show_limits(out, {{"limits", reached}}, {}, now_unix_ms);
}

}  // namespace tollgate::ctl
