#include "tests/unit/tls/raw_peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "userspace/base/result.h"

namespace tollgate::tls {
namespace {

constexpr uint8_t kNewSessionTicket = 4;
constexpr uint8_t kKeyUpdate = 24;
// A test whose peer waits this long has failed; it should say so itself, and not ctest for it.
constexpr timeval kSilence = {60, 0};

std::string from_hex(std::string_view hex) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1]));
  }
  return bytes;
}

std::string drained(BIO* bio) {
  std::string bytes(BIO_ctrl_pending(bio), '\0');
  if (!bytes.empty()) BIO_read(bio, bytes.data(), static_cast<int>(bytes.size()));
  return bytes;
}

}  // namespace

int RawAnswer::alert() const {
  for (auto each = others.rbegin(); each != others.rend(); ++each) {
    if (each->type == kRawAlert && each->content.size() == 2) {
      return static_cast<uint8_t>(each->content[1]);
    }
  }
  return -1;
}

RawPeer::RawPeer(RawRole role, UniqueFd connected, const Certificates& certificates,
                 Options options)
    : role_(role), options_(std::move(options)), fd_(std::move(connected)) {
  const int one = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kSilence, sizeof kSilence);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &kSilence, sizeof kSilence);
  context_ = SSL_CTX_new(role == RawRole::server ? TLS_server_method() : TLS_client_method());
  const int version = options_.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
  SSL_CTX_set_min_proto_version(context_, version);
  SSL_CTX_set_max_proto_version(context_, version);
  TG_ASSERT(SSL_CTX_set_ciphersuites(context_, options_.suite.c_str()) == 1);
  SSL_CTX_set_num_tickets(context_, 0);  // made by hand, where a test wants them
  SSL_CTX_set_keylog_callback(context_, on_secret);
  if (role == RawRole::server) {
    TG_ASSERT(SSL_CTX_use_certificate_chain_file(context_, certificates.certificate().c_str()) ==
              1);
    TG_ASSERT(SSL_CTX_use_PrivateKey_file(context_, certificates.key().c_str(), SSL_FILETYPE_PEM) ==
              1);
  }
  ssl_ = SSL_new(context_);
  SSL_set_app_data(ssl_, this);
  SSL_set_bio(ssl_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  role == RawRole::server ? SSL_set_accept_state(ssl_) : SSL_set_connect_state(ssl_);
}

RawPeer::~RawPeer() {
  SSL_free(ssl_);
  SSL_CTX_free(context_);
}

void RawPeer::on_secret(const SSL* ssl, const char* line) {
  auto& peer = *static_cast<RawPeer*>(SSL_get_app_data(ssl));
  const std::string_view text = line;
  const bool of_client = text.substr(0, 24) == "CLIENT_TRAFFIC_SECRET_0 ";
  if (!of_client && text.substr(0, 24) != "SERVER_TRAFFIC_SECRET_0 ") return;
  RawKeys& keys = of_client == (peer.role_ == RawRole::client) ? peer.out_ : peer.in_;
  keys.set(peer.options_.suite, from_hex(text.substr(text.rfind(' ') + 1)));
}

bool RawPeer::handshake() {
  while (true) {
    const int result = SSL_do_handshake(ssl_);
    if (!send_flight()) return false;
    if (result == 1) return true;
    if (SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ) return false;
    const auto record = read_record();
    if (!record) return false;
    BIO_write(SSL_get_rbio(ssl_), record->data(), static_cast<int>(record->size()));
  }
}

bool RawPeer::send_flight() {
  queued_ = drained(SSL_get_wbio(ssl_));
  if (queued_.empty()) return true;
  // The key for our data is there when our Finished is made, on either side.
  if (out_.known() && !std::exchange(finished_sent_, true) && options_.with_finished) {
    options_.with_finished(*this);
  }
  return send();
}

std::string RawPeer::seal(uint8_t type, std::string_view content, size_t padding) {
  return out_.seal(type, content, padding);
}

RawPeer& RawPeer::put(std::string_view wire) {
  queued_ += wire;
  return *this;
}

RawPeer& RawPeer::data(std::string_view content, size_t padding) {
  return put(seal(kRawData, content, padding));
}

RawPeer& RawPeer::handshake_message(std::string_view content) {
  return put(seal(kRawHandshake, content));
}

RawPeer& RawPeer::alert(uint8_t description) {
  const char level = description == 0 ? 1 : 2;
  return put(seal(kRawAlert, std::string{level, static_cast<char>(description)}));
}

RawPeer& RawPeer::key_update(bool request) {
  handshake_message(std::string{kKeyUpdate, 0, 0, 1, static_cast<char>(request ? 1 : 0)});
  out_.update();
  return *this;
}

bool RawPeer::send(size_t step) {
  const std::string wire = std::exchange(queued_, {});
  for (size_t at = 0; at < wire.size();) {
    const ssize_t sent =
        ::send(fd_.get(), wire.data() + at, std::min(step, wire.size() - at), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<size_t>(sent);
  }
  return true;
}

void RawPeer::send_fin() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void RawPeer::reset() {
  const linger at_once{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd_ = UniqueFd();
}

bool RawPeer::read_exactly(char* to, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = ::recv(fd_.get(), to, bytes, 0);
    if (got <= 0) {
      const bool silence = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      ended_ = got == 0 ? "fin" : silence ? "silence" : "reset";
      return false;
    }
    to += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

std::optional<std::string> RawPeer::read_record() {
  std::string record(kRawHeaderBytes, '\0');
  if (!read_exactly(record.data(), record.size())) return {};
  const size_t body =
      static_cast<size_t>(static_cast<uint8_t>(record[3])) * 256 + static_cast<uint8_t>(record[4]);
  record.resize(kRawHeaderBytes + body);
  if (!read_exactly(record.data() + kRawHeaderBytes, body)) return {};
  return record;
}

std::optional<RawRecord> RawPeer::read() {
  const auto wire = read_record();
  if (!wire) return {};
  auto opened = in_.open(*wire);
  if (!opened || opened->content.size() > kRawContentBytesMax) {
    ended_ = "bad record";
    return {};
  }
  if (opened->type == kRawHandshake && !opened->content.empty() &&
      opened->content[0] == kKeyUpdate) {
    in_.update();
  }
  return opened;
}

std::string RawPeer::read_data(size_t bytes) {
  std::string data;
  while (data.size() < bytes) {
    const auto record = read();
    if (!record) break;
    if (record->type == kRawData) data += record->content;
    if (record->type == kRawAlert) alerts_.push_back(*record);
  }
  return data;
}

RawAnswer RawPeer::read_to_end() {
  RawAnswer answer;
  answer.others = std::exchange(alerts_, {});
  while (auto record = read()) {
    if (record->type == kRawData) {
      answer.data += record->content;
    } else {
      answer.others.push_back(std::move(*record));
    }
  }
  answer.ended = ended_;
  return answer;
}

std::string RawPeer::echoed_by_library(std::string_view text) {
  SSL_write(ssl_, text.data(), static_cast<int>(text.size()));
  if (!put(drained(SSL_get_wbio(ssl_))).send()) return {};
  std::string echoed(text.size(), '\0');
  size_t at = 0;
  while (at < echoed.size()) {
    size_t got = 0;
    if (SSL_read_ex(ssl_, echoed.data() + at, echoed.size() - at, &got) == 1) {
      at += got;
      continue;
    }
    const auto record = read_record();
    if (!record) return {};
    BIO_write(SSL_get_rbio(ssl_), record->data(), static_cast<int>(record->size()));
  }
  return echoed;
}

std::string raw_ticket(size_t bytes) {
  const auto two = [](size_t n) {
    return std::string{static_cast<char>(n >> 8), static_cast<char>(n)};
  };
  // Lifetime, age_add, a nonce of one byte, the ticket, no extensions (RFC 8446, 4.6.1).
  const std::string body =
      std::string("\0\0\x1c\x20\1\2\3\4\1\0", 10) + two(bytes) + std::string(bytes, 't') + two(0);
  return std::string{kNewSessionTicket, 0} + two(body.size()) + body;
}

}  // namespace tollgate::tls
