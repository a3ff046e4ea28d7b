// The least that a user-space gateway with OpenSSL can do: it ends TLS and copies bytes both ways,
// to one upstream connection for each client connection. It reads no HTTP and injects no key, so
// it is no gateway; it is the floor that gateways are compared with. One thread, epoll,
// level-triggered, and never more interest than is needed.
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/bench/common/start.h"
#include "tests/bench/common/stream.h"
#include "tests/bench/common/tls_context.h"

namespace tollgate::bench {
namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kRecordBytes = 16 * 1024;
constexpr size_t kQueuedBytesMax = 64 * 1024;  // more than this stops reading from the other side

// One side of a relayed connection. Every function returns false when the pair has to end.
struct Side {
  Side* other = nullptr;
  struct Pair* pair = nullptr;
  Stream stream;
  std::string out;  // waits until this side is writable
  size_t written = 0;

  bool on_event(uint32_t events);
  bool relay();
  bool send(const char* bytes, size_t size);
  bool flush();
};

struct Pair {
  Side client;
  Side upstream;
  bool ended = false;
};

bool Side::on_event(uint32_t events) {
  if (stream.handshaking()) {
    Transfer::State state = stream.handshake();
    if (state != Transfer::State::kMoved) return state == Transfer::State::kNotNow;
    stream.watch(EPOLLIN | (out.empty() ? 0u : static_cast<uint32_t>(EPOLLOUT)));
    events |= EPOLLIN | EPOLLOUT;
  }
  if ((events & EPOLLOUT) != 0 && !flush()) return false;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) return relay();
  return true;
}

bool Side::flush() {
  while (written < out.size()) {
    Transfer sent = stream.write(out.data() + written, out.size() - written);
    if (sent.state == Transfer::State::kGone) return false;
    if (sent.state == Transfer::State::kNotNow) return true;
    written += sent.bytes;
  }
  bool held_back = !out.empty();
  out.clear();
  written = 0;
  stream.watch(stream.watched() & ~static_cast<uint32_t>(EPOLLOUT));
  if (!held_back || other->stream.handshaking()) return true;
  other->stream.watch(other->stream.watched() | EPOLLIN);
  // What OpenSSL has read ahead raises no event.
  return !other->stream.has_pending() || other->relay();
}

// Takes all that is there, then writes once.
bool Side::relay() {
  static std::array<char, kReadBytes> buffer;  // one thread; nothing is kept in it
  while (true) {
    size_t have = 0;
    bool more = true;
    bool gone = false;
    while (more && have + kRecordBytes <= buffer.size()) {
      size_t room = buffer.size() - have;
      Transfer got = stream.read(buffer.data() + have, room);
      have += got.bytes;
      gone = got.state == Transfer::State::kGone;
      more =
          got.state == Transfer::State::kMoved &&
          (stream.is_tls() ? stream.has_pending() || got.bytes == kRecordBytes : got.bytes == room);
    }
    if (have != 0 && !other->send(buffer.data(), have)) return false;
    if (gone) return false;
    if (!more || (stream.watched() & EPOLLIN) == 0) return true;
  }
}

bool Side::send(const char* bytes, size_t size) {
  while (size != 0 && out.empty() && !stream.handshaking()) {
    Transfer sent = stream.write(bytes, size);
    if (sent.state == Transfer::State::kGone) return false;
    if (sent.state == Transfer::State::kNotNow) break;
    bytes += sent.bytes;
    size -= sent.bytes;
  }
  if (size == 0) return true;
  out.append(bytes, size);
  stream.watch(stream.watched() | EPOLLOUT);
  if (out.size() > kQueuedBytesMax)
    other->stream.watch(other->stream.watched() & ~static_cast<uint32_t>(EPOLLIN));
  return true;
}

class Relay {
 public:
  Relay(const Endpoint& at, const Endpoint& to, TlsContext server, TlsContext client)
      : to_(to), server_(std::move(server)), client_(std::move(client)), epoll_(make_epoll()) {
    listener_ = listen_at(at, epoll_.get());
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events;
    while (true) {
      int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        if (event.data.ptr == nullptr) {
          accept();
          continue;
        }
        auto* side = static_cast<Side*>(event.data.ptr);
        if (!side->pair->ended && !side->on_event(event.events)) end(side->pair);
      }
      ended_.clear();  // only now: a later event of the same turn may name the other side
    }
  }

 private:
  void accept() {
    for (UniqueFd& fd : accept_waiting(listener_.get())) {
      UniqueFd up = start_connect(to_, nullptr);
      if (!up) continue;
      auto* pair = new Pair;  // the epoll set holds it, until end() takes it back
      tie(pair->client, pair->upstream, *pair, std::move(fd));
      tie(pair->upstream, pair->client, *pair, std::move(up));
      if (server_) pair->client.stream.start_tls_server(server_.get());
      if (client_) pair->upstream.stream.start_tls_client(client_.get(), "localhost");
      pair->client.stream.watch(EPOLLIN);
      pair->upstream.stream.watch(client_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
  }

  void tie(Side& side, Side& other, Pair& pair, UniqueFd fd) {
    side.other = &other;
    side.pair = &pair;
    side.stream = Stream(std::move(fd), epoll_.get(), &side);
  }

  void end(Pair* pair) {
    pair->ended = true;
    pair->client.stream.close();
    pair->upstream.stream.close();
    ended_.emplace_back(pair);
  }

  Endpoint to_;
  TlsContext server_;
  TlsContext client_;
  UniqueFd epoll_;
  UniqueFd listener_;
  std::vector<std::unique_ptr<Pair>> ended_;
};

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) {
  using namespace tollgate::bench;
  CLI::App app("bare relay: the floor of the bench");
  std::string at;
  std::string to;
  std::string certificate;
  std::string private_key;
  bool upstream_tls = false;
  app.add_option("--listen", at, "address:port")->required();
  app.add_option("--upstream", to, "address:port")->required();
  app.add_option("--certificate", certificate)->required();
  app.add_option("--private-key", private_key)->required();
  app.add_flag("--upstream-tls", upstream_tls, "speak TLS to the upstream");
  parse_options(app, argc, argv);
  prepare_process();
  TlsContext client;
  if (upstream_tls) client = make_client_context();
  Relay(endpoint_or_die(at), endpoint_or_die(to), make_server_context(certificate, private_key),
        std::move(client))
      .run();
}
