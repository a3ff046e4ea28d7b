// TLS over memory: one BIO for each connection that reads from the span given to receive() and
// appends to the caller's output. No BIO pair, no copy but OpenSSL's own, no system call.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "userspace/tls/kernel_channel.h"
#include "userspace/tls/kernel_way.h"
#include "userspace/tls/openssl.h"

namespace tollgate::tls {
namespace {

constexpr size_t kRecordBytesMax = 16 * 1024;

class OpensslChannel final : public Channel {
 public:
  OpensslChannel(Owned<SSL> ssl, const KernelUse& kernel, std::shared_ptr<const void> owner);

  void start(Bytes& wire_out) override;
  Status receive(std::span<const std::byte> wire,
                 const std::function<void(std::span<const std::byte>)>& plain,
                 Bytes& wire_out) override;
  Status send(std::span<const std::byte> plain, Bytes& wire_out) override;
  void close(Bytes& wire_out) override;
  State state() const override { return state_; }
  bool peer_closed() const override { return peer_closed_; }
  std::string_view server_name() const override {
    const char* name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
    return name != nullptr ? name : std::string_view{};
  }
  std::string_view protocol() const override { return SSL_get_version(ssl_.get()); }
  std::string_view path() const override { return "openssl"; }

  bool wants_kernel() const override { return way_ != nullptr; }
  size_t receive_bytes() const override;
  bool kernel_ready() const override;
  Result<std::unique_ptr<KernelChannel>> move_to_kernel(int fd) override;

  void keep_secret(std::string_view line) {
    if (way_) way_->keep_secret(line);
  }
  void saw_key_update(bool from_peer);
  int bio_read(char* to, size_t bytes, size_t* taken);
  void bio_write(const char* from, size_t bytes);

 private:
  Status handshake();
  Status read_records(const std::function<void(std::span<const std::byte>)>& plain);
  void begin_counting();
  void count(bool received, std::span<const std::byte> wire);
  Status fail(std::string_view what, int result);

  std::shared_ptr<const void> owner_;
  Owned<SSL> ssl_;
  std::span<const std::byte> in_;
  Bytes* out_ = nullptr;
  State state_ = State::handshaking;
  bool peer_closed_ = false;
  uint32_t key_updates_ = 0;        // of the peer
  std::unique_ptr<KernelWay> way_;  // none: the record layer stays here
};

OpensslChannel* channel_of(BIO* bio) {
  return static_cast<OpensslChannel*>(BIO_get_data(bio));
}

int read_ex(BIO* bio, char* to, size_t bytes, size_t* taken) {
  BIO_clear_retry_flags(bio);
  const int read = channel_of(bio)->bio_read(to, bytes, taken);
  if (read == 0) BIO_set_retry_read(bio);
  return read;
}

int write_ex(BIO* bio, const char* from, size_t bytes, size_t* written) {
  BIO_clear_retry_flags(bio);
  channel_of(bio)->bio_write(from, bytes);
  *written = bytes;
  return 1;
}

long control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* memory_method() {
  static const Owned<BIO_METHOD> kMethod = [] {
    Owned<BIO_METHOD> made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tollgate"));
    BIO_meth_set_read_ex(made.get(), read_ex);
    BIO_meth_set_write_ex(made.get(), write_ex);
    BIO_meth_set_ctrl(made.get(), control);
    return made;
  }();
  return kMethod.get();
}

OpensslChannel* channel_of(const SSL* ssl) {
  return channel_of(SSL_get_rbio(ssl));
}

void on_keylog(const SSL* ssl, const char* line) {
  channel_of(ssl)->keep_secret(line);
}

void on_message(int from_us, int, int content_type, const void* bytes, size_t size, SSL* ssl,
                void*) {
  if (content_type != SSL3_RT_HANDSHAKE || size == 0) return;
  if (*static_cast<const unsigned char*>(bytes) != SSL3_MT_KEY_UPDATE) return;
  channel_of(ssl)->saw_key_update(from_us == 0);
}

OpensslChannel::OpensslChannel(Owned<SSL> ssl, const KernelUse& kernel,
                               std::shared_ptr<const void> owner)
    : owner_(std::move(owner)), ssl_(std::move(ssl)) {
  if (kernel.any()) {
    way_ = std::make_unique<KernelWay>();
    way_->use = kernel;
  }
  SSL_set_msg_callback(ssl_.get(), on_message);
  BIO* bio = BIO_new(memory_method());
  TG_ASSERT(bio != nullptr);
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);  // takes the reference
}

int OpensslChannel::bio_read(char* to, size_t bytes, size_t* taken) {
  *taken = std::min(bytes, in_.size());
  if (*taken == 0) return 0;
  std::memcpy(to, in_.data(), *taken);
  in_ = in_.subspan(*taken);
  return 1;
}

void OpensslChannel::bio_write(const char* from, size_t bytes) {
  const auto* begin = reinterpret_cast<const std::byte*>(from);
  if (way_ && state_ != State::handshaking) count(false, {begin, bytes});
  if (out_ != nullptr) out_->insert(out_->end(), begin, begin + bytes);
}

void OpensslChannel::start(Bytes& wire_out) {
  if (SSL_is_server(ssl_.get()) != 0) return;
  out_ = &wire_out;
  (void)handshake();  // the first flight; an error shows in the next receive
  out_ = nullptr;
}

Status OpensslChannel::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    state_ = State::open;
    if (way_) begin_counting();
    return {};
  }
  if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) return {};
  return fail("TLS handshake", result);
}

Status OpensslChannel::receive(std::span<const std::byte> wire,
                               const std::function<void(std::span<const std::byte>)>& plain,
                               Bytes& wire_out) {
  if (state_ == State::failed) return Error{Fault::peer, 0, "TLS connection has failed", {}};
  if (peer_closed_) return {};
  in_ = wire;
  out_ = &wire_out;
  Status status;
  if (state_ == State::handshaking) {
    status = handshake();
  } else if (way_) {
    count(true, wire);
  }
  if (status) status = read_records(plain);
  if (way_ && (!status || peer_closed_)) way_.reset();
  in_ = {};
  out_ = nullptr;
  return status;
}

Status OpensslChannel::read_records(const std::function<void(std::span<const std::byte>)>& plain) {
  alignas(64) std::byte buffer[kRecordBytesMax];
  // Also when we said close_notify: that ends our direction alone (RFC 8446, 6.1).
  while (state_ != State::handshaking) {
    ERR_clear_error();
    size_t bytes = 0;
    const int result = SSL_read_ex(ssl_.get(), buffer, sizeof buffer, &bytes);
    if (key_updates_ > kKeyUpdatesMax) {
      state_ = State::failed;
      return Error{Fault::peer, 0, "TLS peer changes its keys too often", {}};
    }
    if (result == 1) {
      plain({buffer, bytes});
      continue;
    }
    const int why = SSL_get_error(ssl_.get(), result);
    if (why == SSL_ERROR_WANT_READ) break;
    if (why == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
      break;
    }
    return fail("TLS record", result);
  }
  return {};
}

Status OpensslChannel::send(std::span<const std::byte> plain, Bytes& wire_out) {
  if (state_ != State::open) return Error{Fault::self, 0, "send before the handshake", {}};
  if (plain.empty()) return {};
  // Records and their overhead, at once: growing by halves would copy each record again. Where much
  // is queued already, it doubles: room for each write alone would copy the queue each time.
  const size_t needed = wire_out.size() + plain.size() + (plain.size() / kRecordBytesMax + 1) * 32;
  if (needed > wire_out.capacity()) wire_out.reserve(std::max(needed, 2 * wire_out.size()));
  Bytes* const outer = std::exchange(out_, &wire_out);
  ERR_clear_error();
  size_t written = 0;
  const int result = SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written);
  out_ = outer;
  if (result == 1 && written == plain.size()) return {};
  return fail("TLS send", result);
}

void OpensslChannel::close(Bytes& wire_out) {
  if (state_ != State::open) return;
  state_ = State::closed;
  way_.reset();
  out_ = &wire_out;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  out_ = nullptr;
}

// ---- the way into the kernel -------------------------------------------------------------------

std::optional<Suite> suite_of(const SSL* ssl) {
  switch (SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl))) {
    case 0x1301:
      return Suite::aes_128_gcm;
    case 0x1302:
      return Suite::aes_256_gcm;
    case 0x1303:
      return Suite::chacha20_poly1305;
    default:  // TLS 1.2
      return std::nullopt;
  }
}

// The handshake has just ended: what is left of the input has the data's keys.
void OpensslChannel::begin_counting() {
  const auto suite = suite_of(ssl_.get());
  if (suite && way_->can_carry(*suite)) {
    count(true, in_);
  } else {
    way_.reset();
  }
}

void OpensslChannel::count(bool received, std::span<const std::byte> wire) {
  if (!(received ? way_->received : way_->sent).take(wire)) way_.reset();
}

void OpensslChannel::saw_key_update(bool from_peer) {
  way_.reset();  // the secrets are of another generation now
  if (!from_peer || ++key_updates_ <= kKeyUpdatesMax) return;
  in_ = {};  // one read would follow, and answer, all that there are
}

size_t OpensslChannel::receive_bytes() const {
  const size_t missing = way_ && state_ == State::open ? way_->received.missing() : 0;
  return missing == 0 ? SIZE_MAX : missing;
}

bool OpensslChannel::kernel_ready() const {
  // In the middle of a ticket OpenSSL is in its handshake again.
  return way_ && state_ == State::open && way_->received.missing() == 0 &&
         SSL_in_init(ssl_.get()) == 0;
}

Result<std::unique_ptr<KernelChannel>> OpensslChannel::move_to_kernel(int fd) {
  TG_ASSERT(kernel_ready());
  const std::unique_ptr<KernelWay> way = std::move(way_);
  if (Status attached = attach_kernel_tls(fd); !attached) return std::move(attached).forward();
  const bool server = SSL_is_server(ssl_.get()) != 0;
  const Suite suite = *suite_of(ssl_.get());
  auto made = KernelChannel::make(
      server ? KernelChannel::Side::server : KernelChannel::Side::client,
      way->take_keys(suite, server), way->use,
      [fd, suite](Direction direction, const TrafficSecret& secret, uint64_t sequence) {
        return set_kernel_keys(fd, direction, suite, secret, sequence);
      },
      [fd, suite](Direction direction) { return kernel_records(fd, direction, suite); });
  if (made) (*made)->keep_server_name(server_name());
  state_ = made ? State::closed : State::failed;
  return made;
}

Status OpensslChannel::fail(std::string_view what, int result) {
  const long verified = SSL_get_verify_result(ssl_.get());
  const bool certificate = SSL_is_server(ssl_.get()) == 0 && verified != X509_V_OK;
  (void)result;
  state_ = State::failed;
  // The one callback that fails a handshake is the one that looks at SNI.
  if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_CALLBACK_FAILED) {
    take_openssl_reason();
    const std::string asked(server_name());
    return Error{Fault::peer,
                 EADDRNOTAVAIL,
                 asked.empty() ? "TLS handshake: no host name at an intercepted address"
                               : "TLS handshake: " + asked + " is no intercepted host",
                 {}};
  }
  std::string text = std::string(what) + ": ";
  std::string reason = take_openssl_reason();
  if (certificate) reason = std::string("certificate: ") + X509_verify_cert_error_string(verified);
  text += reason.empty() ? "connection ended" : reason;
  Error error{Fault::peer, certificate ? EKEYREJECTED : 0, std::move(text), {}};
  if (reason == "http request") error.hint = "plain HTTP came to a TLS port: use https://";
  return error;
}

}  // namespace

std::string take_openssl_reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return {};
  if (ERR_SYSTEM_ERROR(code)) return std::strerror(ERR_GET_REASON(code));
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

void pass_secrets_to_channels(SSL_CTX* context) {
  SSL_CTX_set_keylog_callback(context, on_keylog);
}

std::unique_ptr<Channel> make_openssl_channel(Owned<SSL> ssl, const KernelUse& kernel,
                                              std::shared_ptr<const void> owner) {
  return std::make_unique<OpensslChannel>(std::move(ssl), kernel, std::move(owner));
}

Result<std::unique_ptr<KernelChannel>> Channel::move_to_kernel(int) {
  return Error{Fault::self, 0, "channel has no keys to move", {}};
}

bool is_certificate_error(const Error& error) {
  return error.sys_errno == EKEYREJECTED;
}

bool is_name_error(const Error& error) {
  return error.sys_errno == EADDRNOTAVAIL;
}

}  // namespace tollgate::tls
