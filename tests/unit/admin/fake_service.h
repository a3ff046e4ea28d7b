// A daemon behind the admin socket that answers from plain fields, and a folder for its socket.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "userspace/admin/service.h"

namespace tollgate::admin {

class FakeService : public Service {
 public:
  nlohmann::json status() override { return status_answer; }
  nlohmann::json peers() override { return peers_answer; }
  nlohmann::json sessions() override { return sessions_answer; }
  Result<std::vector<ledger::UsageRow>> usage(ledger::GroupBy by,
                                              const ledger::UsageQuery& query) override {
    asked.push_back(query);
    return by == ledger::GroupBy::group ? group_rows : rows;
  }
  Status records(const ledger::UsageQuery& query,
                 const std::function<bool(const ringbuf::UsageRecord&)>& visit) override {
    for (const auto& record : all_records) {
      if (record.started_unix_ms < query.since_unix_ms) continue;
      if (query.outcome && record.outcome != *query.outcome) continue;
      if (!visit(record)) break;
    }
    return {};
  }
  Result<nlohmann::json> explain(const std::string& user, const std::string& model,
                                 uint64_t body_bytes) override {
    if (user == "nobody")
      return Error{Fault::config, 0, "explain nobody: no such user", "see peers"};
    nlohmann::json answer = {
        {"user", user},
        {"model", model},
        {"allowed", true},
        {"policy", "office"},
        {"provider", "main"},
        {"groups", {"eng"}},
        {"steps", {{{"subject", "model"}, {"passed", true}, {"reason", "ok"}}}}};
    answer.update(explained);
    if (answer.contains("hold")) answer["hold"]["body_bytes"] = body_bytes;
    return answer;
  }
  Result<nlohmann::json> limits(const std::string& user) override {
    limits_asked.push_back(user);
    return limits_answer;
  }
  Result<nlohmann::json> adjustments() override { return adjustments_answer; }
  Result<nlohmann::json> grant(const GrantRequest& grant, uint32_t uid) override {
    if (grant.subject == "nobody") {
      return Error{Fault::config, 0, "grant nobody: no such user", "see `tollgate peers`"};
    }
    grants.emplace_back(grant, uid);
    return nlohmann::json{{"id", 7},
                          {"scope", grant.scope},
                          {"subject", grant.subject},
                          {"unit", grant.unit},
                          {"amount", grant.amount},
                          {"until_unix_s", 1'795'320'000}};
  }
  Result<nlohmann::json> reset(const ResetRequest& reset, uint32_t uid) override {
    resets.emplace_back(reset, uid);
    return nlohmann::json{{"id", 8}, {"scope", reset.scope}, {"subject", reset.subject}};
  }
  Result<nlohmann::json> revoke(const RevokeRequest& revoke, uint32_t uid) override {
    if (revoke.subject == "nobody") {
      return Error{Fault::config, 0, "revoke nobody: no such user", "see `tollgate peers`"};
    }
    revokes.emplace_back(revoke, uid);
    return nlohmann::json{{"scope", "user"},
                          {"subject", revoke.subject},
                          {"reason", revoke.reason},
                          {"addresses", {"10.99.0.2"}},
                          {"durable", store_error.empty()},
                          {"error", store_error}};
  }
  Result<nlohmann::json> restore(const RestoreRequest& restore, uint32_t uid) override {
    restores.emplace_back(restore, uid);
    return nlohmann::json{{"scope", "user"}, {"subject", restore.subject}};
  }
  nlohmann::json unmetered() override { return unmetered_answer; }
  nlohmann::json acknowledge() override {
    ++acknowledged;
    return {{"acknowledged", 2}};
  }
  Result<nlohmann::json> reload() override {
    ++reloads;
    return nlohmann::json{{"policies", 3}, {"peers", 1200}, {"price_version", "2026-11"}};
  }

  nlohmann::json status_answer = {{"version", "0.1.0"}, {"healthy", true}};
  nlohmann::json peers_answer = nlohmann::json::array();
  nlohmann::json sessions_answer = nlohmann::json::array();
  nlohmann::json explained = nlohmann::json::object();  // more of the answer of explain
  nlohmann::json limits_answer = {{"limits", nlohmann::json::array()},
                                  {"estimates", nlohmann::json::array()}};
  nlohmann::json adjustments_answer = nlohmann::json::array();
  std::vector<std::string> limits_asked;
  std::vector<std::pair<GrantRequest, uint32_t>> grants;
  std::vector<std::pair<ResetRequest, uint32_t>> resets;
  std::vector<std::pair<RevokeRequest, uint32_t>> revokes;
  std::vector<std::pair<RestoreRequest, uint32_t>> restores;
  std::string store_error;
  std::vector<ledger::UsageRow> rows;
  std::vector<ledger::UsageRow> group_rows;
  std::vector<ringbuf::UsageRecord> all_records;
  std::vector<ledger::UsageQuery> asked;
  nlohmann::json unmetered_answer = {{"refusing", false}, {"flows", nlohmann::json::array()}};
  int acknowledged = 0;
  int reloads = 0;
};

inline ringbuf::UsageRecord record_at(uint64_t number, int64_t started_unix_ms) {
  ringbuf::UsageRecord record;
  record.id = {1, number};
  record.started_unix_ms = started_unix_ms;
  record.user = "alice@example.com";
  record.model_served = "gpt-5.5";
  record.http_status = 200;
  record.cost = {12'400'000'000};
  return record;
}

// Others may enter, so that a test can connect as another uid.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "tollgate-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    ::chmod(path_.c_str(), 0755);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace tollgate::admin
