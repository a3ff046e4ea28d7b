// What the admin socket can ask of the daemon. The server (server.h) turns protocol lines into
// these calls; the daemon implements them. Called on the control thread. JSON shapes are stable:
// fields are only added. They are written down in README.md of this folder.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "userspace/base/result.h"
#include "userspace/ledger/store.h"

namespace tollgate::admin {

// More of a unit for every limit of a subject, until it expires.
struct GrantRequest {
  std::string scope;  // "user" | "group"
  std::string subject;
  std::string unit;    // "usd" | "tokens" | "requests"
  int64_t amount = 0;  // in the unit (usd: nano-USD); 1 to kGrantAmountMax
  int64_t for_s = 0;   // 1 s to 31 days
  std::string reason;  // may be empty
};

// What a subject consumed until now counts no more.
struct ResetRequest {
  std::string scope;
  std::string subject;
  std::string reason;
};

// Nothing passes any more, and what runs ends.
struct RevokeRequest {
  std::string subject;  // a user, or a peer's address
  std::string reason;   // told to whom it concerns; may be empty
};

struct RestoreRequest {
  std::string subject;
};

class Service {
 public:
  virtual ~Service() = default;
  virtual nlohmann::json status() = 0;
  virtual nlohmann::json peers() = 0;
  virtual nlohmann::json sessions() = 0;  // requests running now
  virtual Result<std::vector<ledger::UsageRow>> usage(ledger::GroupBy by,
                                                      const ledger::UsageQuery& query) = 0;
  virtual Status records(const ledger::UsageQuery& query,
                         const std::function<bool(const ringbuf::UsageRecord&)>& visit) = 0;
  // body_bytes: how large a request to suppose.
  virtual Result<nlohmann::json> explain(const std::string& user, const std::string& model,
                                         uint64_t body_bytes) = 0;
  virtual Result<nlohmann::json> limits(const std::string& user) = 0;  // empty: everyone's
  virtual Result<nlohmann::json> adjustments() = 0;                    // grants and resets
  // `uid` is the caller's, as the kernel knows it.
  virtual Result<nlohmann::json> grant(const GrantRequest& grant, uint32_t uid) = 0;
  virtual Result<nlohmann::json> reset(const ResetRequest& reset, uint32_t uid) = 0;
  // Done also where it could not be recorded: "durable" says so.
  virtual Result<nlohmann::json> revoke(const RevokeRequest& revoke, uint32_t uid) = 0;
  virtual Result<nlohmann::json> restore(const RestoreRequest& restore, uint32_t uid) = 0;
  virtual nlohmann::json unmetered() = 0;       // alarms of the detector
  virtual nlohmann::json acknowledge() = 0;     // them: {"acknowledged":n}
  virtual Result<nlohmann::json> reload() = 0;  // {"policies":n,…}; keeps the old policy on error
};

nlohmann::json to_json(const ringbuf::UsageRecord& record);
nlohmann::json to_json(const ledger::UsageRow& row, ledger::GroupBy by);

}  // namespace tollgate::admin
