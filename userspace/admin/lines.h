// Cuts a byte stream into lines of bounded length. How the bytes were split on the way makes no
// difference: not to the lines, and not to which line is too long.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tollgate::admin {

class LineBuffer {
 public:
  explicit LineBuffer(size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

  // The owner reads in chunks, and takes the lines out between them: that bounds the buffer.
  void append(std::string_view bytes) { buffer_.append(bytes); }
  // The next line without its newline. Nothing when there is none yet, or when the next one is over
  // the bound: then overflowed() stays true and no line comes any more.
  std::optional<std::string> next();
  bool has_line() const { return !overflowed_ && buffer_.find('\n', scanned_) != buffer_.npos; }
  bool overflowed() const { return overflowed_; }
  // Bytes after the last line taken: at the end of the stream, a line that was cut off.
  bool empty() const { return start_ == buffer_.size(); }

 private:
  size_t line_bytes_max_;
  std::string buffer_;
  size_t start_ = 0;    // of the next line
  size_t scanned_ = 0;  // no newline before this, so that a long line is not searched twice
  bool overflowed_ = false;
};

}  // namespace tollgate::admin
