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
  virtual Result<nlohmann::json> explain(const std::string& user, const std::string& model) = 0;
  virtual Result<nlohmann::json> reload() = 0;  // {"policies":n,…}; keeps the old policy on error
};

nlohmann::json to_json(const ringbuf::UsageRecord& record);
nlohmann::json to_json(const ledger::UsageRow& row, ledger::GroupBy by);

}  // namespace tollgate::admin
