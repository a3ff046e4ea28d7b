#include "tests/unit/proxy/stream_tls_lab.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ostream>
#include <thread>
#include <utility>

#include "tests/unit/tls/certificates.h"

namespace tollgate::proxy {
namespace {

using tls::RawPeer;
using tls::RawRole;

constexpr const char* kHost = "gw.test";
// More than this is not queued at once; the rest follows when it drained.
constexpr size_t kQueuedBytesMax = 1 << 20;
// None is a power of two but those at the border of a record.
constexpr size_t kPieces[] = {1, 100, 333, 4097, 16'384, 16'385, 50'001, 262'147, 5, 16'383};
constexpr uint32_t kTickMs = 100;
// A loop that nothing ends by then has hung; the test should say so, and not ctest for it.
constexpr int64_t kHangMs = 120'000;

const tls::Certificates& certificates() {
  static const tls::Certificates kMade;
  return kMade;
}

const tls::KernelTls& kernel_here() {
  static const tls::KernelTls kFound = [] {
    tls::KernelTls found = tls::probe_kernel_tls();
    std::printf("kernel TLS: %s\n", found.available ? "tried too" : found.reason.c_str());
    return found;
  }();
  return kFound;
}

std::unique_ptr<tls::Channel> make_channel(const Way& way, uint64_t records_per_key_max) {
  tls::KernelUse use = way.kernel ? kernel_here().use : tls::KernelUse{};
  if (records_per_key_max != 0) use.records_per_key_max = records_per_key_max;
  if (way.peer == RawRole::client) {
    return (*tls::make_server_context(certificates().certificate(), certificates().key(), use))
        ->make_channel();
  }
  return (*tls::make_client_context(kHost, certificates().ca(), use))->make_channel();
}

Endpoint bound_to(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return *endpoint_from_sockaddr(storage);
}

class Owner final : StreamEvents {
 public:
  Owner(io::Loop& loop, FlushList& flush_list, const Conduct& conduct)
      : stream(loop, flush_list, *this), loop_(loop), conduct_(conduct) {}

  // From another thread: what comes in is the stream's from here on.
  void wait_open() const { settled_.wait(false); }

  Stream stream;
  Seen seen;

  std::string describe() const {
    return std::string(stream.channel().path()) + ", " + std::to_string(seen.received.size()) +
           " B received, " + std::to_string(written_) + " of " +
           std::to_string(conduct_.send.size()) + " B written, " +
           std::to_string(stream.queued_bytes()) + " B queued, " +
           (seen.end ? "ended" : "not ended") + (stream.closing() ? ", closing" : "");
  }

 private:
  void settle() {
    settled_ = true;
    settled_.notify_all();
  }
  void on_stream_open() override {
    seen.opened = true;
    settle();
    write_more();
  }
  void on_stream_data(std::span<const std::byte> plain) override {
    seen.received.append(reinterpret_cast<const char*>(plain.data()), plain.size());
    if (conduct_.echo) stream.write(plain);
    if (seen.received.size() >= conduct_.close_at) stream.close(/*reset=*/true);
    if (!conduct_.pauses || stream.closing()) return;
    stream.pause();
    loop_.post([this] {
      if (!stream.closing()) stream.resume();
    });
  }
  void on_stream_end(StreamEnd end, const Error& error) override {
    settle();
    seen.end = end;
    seen.error = error.text;
    seen.path = stream.channel().path();
    seen.wire_received = stream.wire_received();
    seen.wire_sent = stream.wire_sent();
    const bool lost = error.sys_errno == ECONNRESET || error.sys_errno == EPIPE;
    if (lost || conduct_.finish_when_sent) {
      stream.close();
    } else if (end == StreamEnd::failed || !stream.open() || all_written()) {
      stream.finish();  // behind the alert that says why
    }
  }
  void on_stream_drained() override {
    if (!seen.opened) return;  // a flight of the handshake
    ++seen.drained;
    write_more();
  }
  void on_stream_closed() override { loop_.stop(); }

  bool all_written() const { return written_ == conduct_.send.size(); }

  void write_more() {
    const bool was_all = all_written();
    while (!all_written() && stream.queued_bytes() < kQueuedBytesMax) {
      const auto piece = std::as_bytes(std::span(conduct_.send))
                             .subspan(written_)
                             .first(std::min(kPieces[piece_++ % std::size(kPieces)],
                                             conduct_.send.size() - written_));
      written_ += piece.size();
      if (conduct_.lasting) {
        stream.write_lasting(piece);
        break;
      }
      stream.write(piece);
    }
    if (all_written() && (conduct_.finish_when_sent || (seen.end && !was_all))) stream.finish();
  }

  io::Loop& loop_;
  const Conduct conduct_;
  std::atomic<bool> settled_{false};
  size_t written_ = 0;
  size_t piece_ = 0;
};

// A TCP connection over 127.0.0.1: the stream's end is taken from a listener, or dialled by it.
UniqueFd loopback_listener() {
  return std::move(*io::listen_tcp({.at = {*parse_ip("127.0.0.1"), 0}}));
}

UniqueFd dial(const Endpoint& to) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(to, storage);
  TG_ASSERT(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0);
  return fd;
}

// Waits, though the listener does not.
UniqueFd take(int listener, int flags = 0) {
  while (true) {
    UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | flags));
    if (fd) return fd;
    TG_ASSERT(errno == EAGAIN || errno == EINTR);
    std::this_thread::yield();
  }
}

}  // namespace

std::string name_of(const Way& way) {
  std::string name = way.kernel ? "Kernel" : "Userspace";
  name += way.backend == io::Loop::Backend::io_uring ? "IoUring" : "Poll";
  return name + (way.peer == RawRole::client ? "Server" : "Client");
}

void PrintTo(const Way& way, std::ostream* out) {
  *out << name_of(way);
}

void PrintTo(StreamEnd end, std::ostream* out) {
  *out << (end == StreamEnd::clean ? "clean" : end == StreamEnd::failed ? "failed" : "truncated");
}

const std::vector<Way>& ways_here() {
  static const auto kWays = [] {
    std::vector<Way> ways;
    for (const auto backend : {io::Loop::Backend::io_uring, io::Loop::Backend::poll}) {
      if ((*io::Loop::make({.backend = backend}))->backend() != backend) continue;
      for (const auto peer : {RawRole::client, RawRole::server}) {
        ways.push_back({false, backend, peer});
        if (kernel_here().available) ways.push_back({true, backend, peer});
      }
    }
    return ways;
  }();
  return kWays;
}

bool follows_key_updates(const Way& way) {
  return !way.kernel || kernel_here().use.rekey;
}

std::string sha256(const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

std::string noise(size_t bytes, uint64_t seed) {
  std::string made(bytes, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (char& each : made) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    each = static_cast<char>(state);
  }
  return made;
}

void StreamTlsTest::SetUp() {
  loop_ = std::move(*io::Loop::make({.backend = GetParam().backend}));
  loop_->every(kTickMs, [this, until = loop_->now_monotonic_ms() + kHangMs] {
    if (loop_->now_monotonic_ms() < until) return;
    ADD_FAILURE() << "nothing ended the stream: " << (describe_ ? describe_() : "not begun");
    std::abort();  // the peer's thread waits too
  });
}

Seen StreamTlsTest::run(const Script& script, const Conduct& conduct, RawPeer::Options options) {
  Owner owner(*loop_, flush_list_, conduct);
  describe_ = [&owner] { return owner.describe(); };
  const UniqueFd listener = loopback_listener();
  const Way way = GetParam();
  UniqueFd ours;
  UniqueFd theirs;
  if (serves()) {
    theirs = dial(bound_to(listener.get()));
    ours = take(listener.get(), way.backend == io::Loop::Backend::poll ? SOCK_NONBLOCK : 0);
  }
  std::thread peer([&] {
    if (!serves()) theirs = take(listener.get());
    RawPeer raw(way.peer, std::move(theirs), certificates(), std::move(options));
    EXPECT_TRUE(raw.handshake());
    // Only what options.with_finished queued may come with the handshake: what comes later meets
    // the record path of this way.
    owner.wait_open();
    script(raw);
  });
  {
    const FlushList::Turn turn(flush_list_);
    if (serves()) {
      owner.stream.accept(std::move(ours), make_channel(way, conduct.records_per_key_max));
    } else {
      EXPECT_TRUE(owner.stream.connect(bound_to(listener.get()),
                                       make_channel(way, conduct.records_per_key_max)));
    }
  }
  loop_->run();
  peer.join();
  EXPECT_TRUE(owner.seen.opened);
  return std::move(owner.seen);
}

}  // namespace tollgate::proxy
