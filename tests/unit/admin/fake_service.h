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
      if (!visit(record)) break;
    }
    return {};
  }
  Result<nlohmann::json> explain(const std::string& user, const std::string& model) override {
    if (user == "nobody")
      return Error{Fault::config, 0, "explain nobody: no such user", "see peers"};
    return nlohmann::json{{"user", user},
                          {"model", model},
                          {"allowed", true},
                          {"policy", "office"},
                          {"provider", "main"},
                          {"groups", {"eng"}},
                          {"steps", {{{"subject", "model"}, {"passed", true}, {"reason", "ok"}}}}};
  }
  Result<nlohmann::json> reload() override {
    ++reloads;
    return nlohmann::json{{"policies", 3}, {"peers", 1200}, {"price_version", "2026-11"}};
  }

  nlohmann::json status_answer = {{"version", "0.1.0"}, {"healthy", true}};
  nlohmann::json peers_answer = nlohmann::json::array();
  nlohmann::json sessions_answer = nlohmann::json::array();
  std::vector<ledger::UsageRow> rows;
  std::vector<ledger::UsageRow> group_rows;
  std::vector<ringbuf::UsageRecord> all_records;
  std::vector<ledger::UsageQuery> asked;
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
