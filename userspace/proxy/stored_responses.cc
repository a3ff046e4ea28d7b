#include "userspace/proxy/stored_responses.h"

#include <utility>

namespace tollgate::proxy {

void StoredResponses::remember(const std::string& response_id, Stored stored) {
  const std::scoped_lock lock(mutex_);
  if (!by_id_.emplace(response_id, std::move(stored)).second) return;
  order_.push_back(response_id);
  if (order_.size() <= count_max_) return;
  by_id_.erase(order_.front());
  order_.pop_front();
}

std::optional<StoredResponses::Stored> StoredResponses::find(const std::string& response_id,
                                                             std::string_view user) const {
  const std::scoped_lock lock(mutex_);
  const auto found = by_id_.find(response_id);
  if (found == by_id_.end() || found->second.user != user) return std::nullopt;
  return found->second;
}

}  // namespace tollgate::proxy
