// Whose stored responses are whose. The provider knows only the gateway's key, so to it every
// response is the gateway's; without this list, whoever learns an identifier could read, cancel or
// delete another person's answer. In memory alone: what was stored before the last start is
// nobody's, and refused.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tollgate::proxy {

class StoredResponses {
 public:
  struct Stored {
    std::string user;
    std::string model;     // as asked for: what policy decides by
    std::string provider;  // where it is stored
  };
  // The oldest goes when there are this many.
  explicit StoredResponses(size_t count_max = 65'536) : count_max_(count_max) {}

  // From any thread.
  void remember(const std::string& response_id, Stored stored);
  std::optional<Stored> find(const std::string& response_id, std::string_view user) const;

 private:
  const size_t count_max_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, Stored> by_id_;
  std::deque<std::string> order_;
};

}  // namespace tollgate::proxy
