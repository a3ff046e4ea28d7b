// One non-blocking TCP connection, plain or TLS, and its place in an epoll set. Plain and TLS say
// "not now" and "gone" in the same way, so the tools above know no difference.
#pragma once

#include <openssl/ssl.h>
#include <sys/epoll.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "userspace/base/fd.h"
#include "userspace/base/ip.h"

namespace tollgate::bench {

struct Transfer {
  enum class State { kMoved, kNotNow, kGone };
  State state;
  size_t bytes = 0;
};

class Stream {
 public:
  Stream() = default;
  // For an accepted or connecting socket that is non-blocking already. It joins the epoll set
  // `epoll_fd` at the first watch(); `owner` is what epoll hands back.
  Stream(UniqueFd fd, int epoll_fd, void* owner);

  void start_tls_server(SSL_CTX* context);
  void start_tls_client(SSL_CTX* context, const char* host_name);
  bool handshaking() const { return handshaking_; }
  // One step. kMoved: done. kNotNow: the right interest is set already.
  Transfer::State handshake();

  Transfer read(char* to, size_t size);
  Transfer write(const char* from, size_t size);
  // OpenSSL has bytes that no event will tell of.
  bool has_pending() const;

  void watch(uint32_t mask);
  uint32_t watched() const { return mask_; }
  bool is_open() const { return static_cast<bool>(fd_); }
  bool is_tls() const { return ssl_ != nullptr; }
  int fd() const { return fd_.get(); }

  void close();
  // Ends with a reset: leaves no TIME_WAIT behind when thousands of connections are made.
  void reset();

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { ::SSL_free(ssl); }
  };
  void adopt(SSL_CTX* context);
  Transfer tls_result(int result) const;

  UniqueFd fd_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  int epoll_fd_ = -1;
  void* owner_ = nullptr;
  uint32_t mask_ = 0;
  bool in_set_ = false;
  bool handshaking_ = false;
};

UniqueFd make_epoll();
// The listener's events carry a null owner.
UniqueFd listen_at(const Endpoint& at, int epoll_fd);
// All that wait, up to a bound, so that the open connections get their turn.
std::vector<UniqueFd> accept_waiting(int listener);
// A socket with a connect() under way, from `source` when it is given (port 0: any).
UniqueFd start_connect(const Endpoint& to, const Endpoint* source);

}  // namespace tollgate::bench
