// What the kernel says of a TCP socket, by its descriptor.
#pragma once

#include <cstdint>
#include <optional>

#include "userspace/base/ip.h"

namespace tollgate::io {

// Empty when the connection is gone already.
std::optional<Endpoint> peer_of(int fd);
// Of an intercepted connection: where the client meant to go.
std::optional<Endpoint> local_of(int fd);
uint64_t cookie_of(int fd);  // SO_COOKIE: the flow id of the BPF programs; 0: no socket

// Payload, each byte once (TCP_INFO, linux/tcp.h).
struct TcpBytes {
  uint64_t sent = 0;  // taken from us, whether it has left or not
  uint64_t received = 0;
};
std::optional<TcpBytes> tcp_bytes(int fd);

}  // namespace tollgate::io
