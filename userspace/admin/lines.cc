#include "userspace/admin/lines.h"

namespace tollgate::admin {

std::optional<std::string> LineBuffer::next() {
  if (overflowed_) return std::nullopt;
  const size_t end = buffer_.find('\n', scanned_);
  const size_t length = (end == buffer_.npos ? buffer_.size() : end) - start_;
  if (length > line_bytes_max_) {
    overflowed_ = true;
    return std::nullopt;
  }
  if (end == buffer_.npos) {
    buffer_.erase(0, start_);
    start_ = 0;
    scanned_ = buffer_.size();
    return std::nullopt;
  }
  std::string line = buffer_.substr(start_, length);
  start_ = scanned_ = end + 1;
  return line;
}

}  // namespace tollgate::admin
