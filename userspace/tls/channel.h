// The record layer of one connection, sans-I/O: wire bytes in, plaintext out, and the reverse. The
// OpenSSL channel works over memory (no BIO pair, no socket) and may hand its keys to the kernel
// after the handshake (move_to_kernel); the plain one only passes. Callers see one interface and
// the same tests run on all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"
#include "userspace/tls/ktls.h"

namespace tollgate::tls {

using Bytes = std::vector<std::byte>;

class KernelChannel;

// How often a peer may change its keys in one connection. Each costs us a derivation and perhaps an
// answer, and an honest peer does so once in millions of records.
constexpr uint32_t kKeyUpdatesMax = 32;

class Channel {
 public:
  enum class State : uint8_t { handshaking, open, closed, failed };

  virtual ~Channel() = default;
  // Client side: the first flight. Server side: nothing to send yet.
  virtual void start(Bytes& wire_out) = 0;
  // Feeds what the socket delivered. Plaintext is passed to `plain` (valid in the call only), in
  // order, possibly several times; answers (handshake, alerts) are appended to wire_out, also on
  // failure, and must be sent. After an Error the state is failed. `plain` must not call back into
  // this channel's receive.
  virtual Status receive(std::span<const std::byte> wire,
                         const std::function<void(std::span<const std::byte>)>& plain,
                         Bytes& wire_out) = 0;
  // Appends the records that carry `plain`. Only while open.
  virtual Status send(std::span<const std::byte> plain, Bytes& wire_out) = 0;
  // Appends close_notify, once.
  virtual void close(Bytes& wire_out) = 0;

  virtual State state() const = 0;
  // The peer said close_notify: an end without it is a truncation.
  virtual bool peer_closed() const = 0;
  // What the client asked for by SNI; empty: nothing, or not a TLS server.
  virtual std::string_view server_name() const { return {}; }
  virtual std::string_view protocol() const = 0;  // "TLSv1.3", "plain"
  virtual std::string_view path() const = 0;      // "openssl", "ktls", "plain": for `status`

  // The way into the kernel. While wants_kernel(), the caller reads by single receives of at most
  // receive_bytes(), so that none is outstanding and no record is half read when the kernel takes
  // over. Once kernel_ready(), and when all of wire_out is with the kernel, move_to_kernel() makes
  // the channel that takes this one's place. It may fail and leave this one open: it then goes on
  // in userspace and wants the kernel no more.
  virtual bool wants_kernel() const { return false; }
  virtual size_t receive_bytes() const { return SIZE_MAX; }
  virtual bool kernel_ready() const { return false; }
  virtual Result<std::unique_ptr<KernelChannel>> move_to_kernel(int fd);
};

std::unique_ptr<Channel> make_plain_channel();

// Certificates and settings of our side; thread-safe, one for all workers. TLS 1.3 and 1.2, ALPN
// http/1.1 only (no ALPN accepted; a list without http/1.1 is refused), no tickets, no resumption,
// AEAD ciphers only, no renegotiation, small buffers released when idle.
class ServerContext {
 public:
  virtual ~ServerContext() = default;
  // For our own address: the certificate of the host that SNI names, else the gateway's own.
  virtual std::unique_ptr<Channel> make_channel() const = 0;
  // For an address of somebody else: a host of the list, or an alert unrecognized_name (RFC 6066).
  virtual std::unique_ptr<Channel> make_intercepted_channel() const = 0;
  virtual int64_t certificate_expires_unix_s() const = 0;  // of the one that expires first
};
// A certificate for a host that is not the gateway: a provider's, intercepted.
struct HostCertificate {
  std::string host;  // in lower case
  std::string certificate;
  std::string private_key;
};
Result<std::shared_ptr<const ServerContext>> make_server_context(
    const std::string& certificate, const std::string& private_key, const KernelUse& kernel = {},
    const std::vector<HostCertificate>& hosts = {});

// The upstream side: verifies chain and host name, sends SNI (not for an IP literal), ALPN
// http/1.1. No resumption: connections are pooled. ca_file empty: the system's roots.
class ClientContext {
 public:
  virtual ~ClientContext() = default;
  virtual std::unique_ptr<Channel> make_channel() const = 0;
};
Result<std::shared_ptr<const ClientContext>> make_client_context(const std::string& host,
                                                                 const std::string& ca_file,
                                                                 const KernelUse& kernel = {});

// True when the Error of Channel::receive means that the peer's certificate was not accepted.
bool is_certificate_error(const Error& error);
// True when it means that the client asked for a host that is not intercepted, or for none.
bool is_name_error(const Error& error);

}  // namespace tollgate::tls
