// One connection to the mock provider: reads a request, answers it, reads the next.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tests/bench/common/http_message.h"
#include "tests/bench/common/stream.h"
#include "tests/bench/mock/answers.h"

namespace tollgate::bench {

class Session {
 public:
  // `upstream_key`: what a request must carry as a bearer token; 401 otherwise.
  Session(UniqueFd fd, int epoll_fd, SSL_CTX* tls, const std::string& upstream_key);
  Session(const Session&) = delete;

  // Both: false when the connection has ended. The caller deletes it.
  bool on_event(uint32_t events);
  bool on_due();
  // When the next event of a paced stream is due; 0: nothing is.
  int64_t due_ns() const { return due_ns_; }

 private:
  bool read_input();
  bool take(std::string_view bytes);
  void remember_tail(std::string_view piece);
  bool answer();
  void append_json(const char* status, const std::string& body);
  void start_stream();
  bool advance();
  bool flush();

  Stream stream_;
  const std::string& upstream_key_;
  HttpMessage request_;
  std::string tail_;  // the end of the body
  std::string out_;
  size_t written_ = 0;
  std::optional<StreamText> text_;  // a stream is being sent
  Plan plan_;
  int64_t due_ns_ = 0;
};

}  // namespace tollgate::bench
