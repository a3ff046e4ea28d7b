// A pull reader for HTTP/1.1 messages of both directions, as much of it as the bench needs: the
// mock reads requests with it and the load generator answers. It is lenient on purpose; the strict
// parser is the gateway's.
//
//   reader.start(Kind::kRequest);
//   while (true) switch (reader.next(bytes)) { kMore: read again; kHead; kBody: piece(); kEnd; ...
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tollgate::bench {

bool equal_ignoring_case(std::string_view a, std::string_view b);

class HttpMessage {
 public:
  enum class Kind { kRequest, kResponse };
  enum class Event { kMore, kHead, kBody, kEnd, kBad };

  void start(Kind kind);
  // Takes bytes off the front of `bytes` up to the next event.
  Event next(std::string_view& bytes);
  // After kBody: the decoded bytes, a view into what next() was given.
  std::string_view piece() const { return piece_; }

  // From kHead on.
  std::string_view start_line() const { return std::string_view(head_).substr(0, line_size_); }
  std::string_view field(std::string_view name) const;  // empty when absent
  bool keeps_alive() const;
  int status() const;  // 0 when there is none
  // The body ends when the connection does.
  bool ends_with_connection() const { return state_ == State::kUntilClose; }

 private:
  enum class State { kHead, kSized, kUntilClose, kChunkSize, kChunk, kChunkEnd, kTrailers, kEnd };
  Event read_head(std::string_view& bytes);
  Event read_sized(std::string_view& bytes, State after);
  bool read_line(std::string_view& bytes);
  Event choose_framing();

  Kind kind_ = Kind::kRequest;
  State state_ = State::kHead;
  std::string head_;  // each line with its CRLF, without the empty one at the end
  size_t line_size_ = 0;
  std::string line_;  // a chunk-size or trailer line, which may arrive in parts
  uint64_t left_ = 0;
  std::string_view piece_;
};

}  // namespace tollgate::bench
