// A small HTTP server on loopback, on a thread of its own: it keeps what it was sent and answers
// what the test says.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "userspace/base/fd.h"

namespace tollgate::daemon {

class HttpServer {
 public:
  // One answer a request, the last one for all that follow; "": none, the connection stays open.
  explicit HttpServer(std::vector<std::string> answers);
  ~HttpServer();

  std::string url(const std::string& path) const;
  // Once there are that many or ten seconds have passed.
  std::vector<std::string> requests(size_t at_least);

 private:
  void run();
  void serve(UniqueFd connection);

  const std::vector<std::string> answers_;
  UniqueFd listener_;
  UniqueFd stop_;  // eventfd
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<std::string> requests_;
  std::vector<UniqueFd> open_;  // those that wait for an answer that does not come
  std::thread thread_;          // last: it uses the members above
};

}  // namespace tollgate::daemon
