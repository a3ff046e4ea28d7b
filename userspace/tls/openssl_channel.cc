// TLS over memory: one BIO for each connection that reads from the span given to receive() and
// appends to the caller's output. No BIO pair, no copy but OpenSSL's own, no system call.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace/tls/openssl.h"

namespace tollgate::tls {
namespace {

constexpr size_t kRecordBytesMax = 16 * 1024;

class OpensslChannel final : public Channel {
 public:
  explicit OpensslChannel(Owned<SSL> ssl);

  void start(Bytes& wire_out) override;
  Status receive(std::span<const std::byte> wire,
                 const std::function<void(std::span<const std::byte>)>& plain,
                 Bytes& wire_out) override;
  Status send(std::span<const std::byte> plain, Bytes& wire_out) override;
  void close(Bytes& wire_out) override;
  State state() const override { return state_; }
  bool peer_closed() const override { return peer_closed_; }
  std::string_view protocol() const override { return SSL_get_version(ssl_.get()); }
  std::string_view path() const override { return "openssl"; }

  int bio_read(char* to, size_t bytes, size_t* taken);
  void bio_write(const char* from, size_t bytes);

 private:
  Status handshake();
  Status fail(std::string_view what, int result);

  Owned<SSL> ssl_;
  std::span<const std::byte> in_;
  Bytes* out_ = nullptr;
  State state_ = State::handshaking;
  bool peer_closed_ = false;
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

OpensslChannel::OpensslChannel(Owned<SSL> ssl) : ssl_(std::move(ssl)) {
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
  if (state_ == State::handshaking) status = handshake();
  alignas(64) std::byte buffer[kRecordBytesMax];
  while (status && state_ == State::open) {
    ERR_clear_error();
    size_t bytes = 0;
    const int result = SSL_read_ex(ssl_.get(), buffer, sizeof buffer, &bytes);
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
    status = fail("TLS record", result);
  }
  in_ = {};
  out_ = nullptr;
  return status;
}

Status OpensslChannel::send(std::span<const std::byte> plain, Bytes& wire_out) {
  if (state_ != State::open) return Error{Fault::self, 0, "send before the handshake", {}};
  if (plain.empty()) return {};
  // Records and their overhead, at once: growing by halves would copy each record again.
  wire_out.reserve(wire_out.size() + plain.size() + (plain.size() / kRecordBytesMax + 1) * 32);
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
  out_ = &wire_out;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  out_ = nullptr;
}

Status OpensslChannel::fail(std::string_view what, int result) {
  const long verified = SSL_get_verify_result(ssl_.get());
  const bool certificate = SSL_is_server(ssl_.get()) == 0 && verified != X509_V_OK;
  (void)result;
  state_ = State::failed;
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
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

std::unique_ptr<Channel> make_openssl_channel(Owned<SSL> ssl) {
  return std::make_unique<OpensslChannel>(std::move(ssl));
}

bool is_certificate_error(const Error& error) {
  return error.sys_errno == EKEYREJECTED;
}

}  // namespace tollgate::tls
