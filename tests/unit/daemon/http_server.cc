#include "tests/unit/daemon/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "userspace/base/result.h"

namespace tollgate::daemon {
namespace {

// Head and body; what there is when the client goes away before.
std::string read_request(int fd) {
  std::string request;
  size_t wanted = std::string::npos;
  char buffer[4096];
  while (request.size() < wanted) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) return request;
    request.append(buffer, static_cast<size_t>(got));
    const size_t head_end = request.find("\r\n\r\n");
    const size_t length = request.find("Content-Length: ");
    if (head_end == std::string::npos) continue;
    wanted = head_end + 4;
    if (length < head_end) wanted += std::strtoul(request.c_str() + length + 16, nullptr, 10);
  }
  return request;
}

}  // namespace

HttpServer::HttpServer(std::vector<std::string> answers)
    : answers_(std::move(answers)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  auto* address = reinterpret_cast<sockaddr*>(&at);
  TG_ASSERT(::bind(listener_.get(), address, length) == 0);
  TG_ASSERT(::listen(listener_.get(), 16) == 0);
  TG_ASSERT(::getsockname(listener_.get(), address, &length) == 0);
  port_ = ::ntohs(at.sin_port);
  thread_ = std::thread([this] { run(); });
}

HttpServer::~HttpServer() {
  const uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

std::string HttpServer::url(const std::string& path) const {
  return "http://127.0.0.1:" + std::to_string(port_) + path;
}

std::vector<std::string> HttpServer::requests(size_t at_least) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, std::chrono::seconds(10), [&] { return requests_.size() >= at_least; });
  return requests_;
}

void HttpServer::run() {
  while (true) {
    pollfd fds[] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[1].revents != 0) return;
    UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection) serve(std::move(connection));
  }
}

void HttpServer::serve(UniqueFd connection) {
  std::string request = read_request(connection.get());
  std::unique_lock lock(mutex_);
  const std::string& answer = answers_[std::min(requests_.size(), answers_.size() - 1)];
  requests_.push_back(std::move(request));
  lock.unlock();
  // Before the test is told: what it then does shall meet a server that is done with this one.
  if (answer.empty()) {
    open_.push_back(std::move(connection));
  } else {
    (void)!::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  }
  arrived_.notify_all();
}

}  // namespace tollgate::daemon
