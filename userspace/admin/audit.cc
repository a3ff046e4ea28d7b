#include "userspace/admin/audit.h"

#include <algorithm>

namespace tollgate::admin {
namespace {

std::string finished(std::string text, const std::string& reason) {
  if (!reason.empty()) text += ", reason '" + reason + "'";
  std::replace(text.begin(), text.end(), '"', '\'');
  return text;
}

}  // namespace

std::string audit_text(const GrantRequest& grant) {
  const std::string amount =
      grant.unit == "usd" ? format_usd_exact(NanoUsd{grant.amount}) : std::to_string(grant.amount);
  return finished("grant " + amount + " " + grant.unit + " to " + grant.scope + " " +
                      grant.subject + " for " + std::to_string(grant.for_s) + " s",
                  grant.reason);
}

std::string audit_text(const ResetRequest& reset) {
  return finished("reset " + reset.scope + " " + reset.subject, reset.reason);
}

std::string audit_text(const RevokeRequest& revoke) {
  return finished("revoke " + revoke.subject, revoke.reason);
}

std::string audit_text(const RestoreRequest& restore) {
  return finished("restore " + restore.subject, {});
}

}  // namespace tollgate::admin
