// A change in one line for the audit log, without double quotes: the log puts it into some.
#pragma once

#include <string>

#include "userspace/admin/service.h"

namespace tollgate::admin {

// "grant 10.00 usd to user alice@example.com for 86400 s, reason 'demo day'"
std::string audit_text(const GrantRequest& grant);
// "reset group engineering"
std::string audit_text(const ResetRequest& reset);
// "revoke alice@example.com, reason 'laptop lost'"
std::string audit_text(const RevokeRequest& revoke);
// "restore alice@example.com"
std::string audit_text(const RestoreRequest& restore);

}  // namespace tollgate::admin
