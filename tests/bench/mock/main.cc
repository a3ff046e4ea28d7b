// The mock provider: OpenAI's POST /v1/responses over HTTP/1.1, plain or TLS, one thread, epoll.
// Each request says in its body what it wants answered (mock/answers.h). It takes only the upstream
// key, which the gateway alone is supposed to know: a run that passes shows that the key was
// injected.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <queue>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/bench/common/start.h"
#include "tests/bench/common/stream.h"
#include "tests/bench/common/tls_context.h"
#include "tests/bench/mock/session.h"
#include "userspace/base/clock.h"

namespace tollgate::bench {
namespace {

class Server {
 public:
  Server(const Endpoint& at, TlsContext tls, std::string key)
      : tls_(std::move(tls)), key_(std::move(key)), epoll_(make_epoll()) {
    listener_ = listen_at(at, epoll_.get());
  }

  [[noreturn]] void run() {
    std::array<epoll_event, 512> events;
    while (true) {
      int count = ::epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                 until_next(), nullptr);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        if (event.data.ptr == nullptr) {
          accept();
        } else {
          on_event(static_cast<Session*>(event.data.ptr), event.events);
        }
      }
      run_due();
    }
  }

 private:
  struct Entry {
    std::unique_ptr<Session> session;
    uint64_t serial = 0;    // tells a session from a later one at the same address
    int64_t queued_ns = 0;  // the due time that the queue holds for it
  };
  struct Due {
    int64_t at_ns;
    Session* session;
    uint64_t serial;
    bool operator>(const Due& other) const { return at_ns > other.at_ns; }
  };

  const timespec* until_next() {
    if (due_.empty()) return nullptr;
    int64_t left = std::max<int64_t>(0, due_.top().at_ns - monotonic_ns());
    timeout_ = {left / 1'000'000'000, left % 1'000'000'000};
    return &timeout_;
  }

  void accept() {
    for (UniqueFd& fd : accept_waiting(listener_.get())) {
      auto session = std::make_unique<Session>(std::move(fd), epoll_.get(), tls_.get(), key_);
      Session* key = session.get();
      sessions_[key] = {std::move(session), ++serial_, 0};
    }
  }

  // epoll tells of a connection at most once a turn, and only its own event deletes a session
  // there, so `session` is alive.
  void on_event(Session* session, uint32_t events) {
    Entry& entry = sessions_.find(session)->second;
    if (session->on_event(events)) {
      queue(entry);
    } else {
      sessions_.erase(session);
    }
  }

  void queue(Entry& entry) {
    int64_t due = entry.session->due_ns();
    if (due == 0 || due == entry.queued_ns) return;
    entry.queued_ns = due;
    due_.push({due, entry.session.get(), entry.serial});
  }

  void run_due() {
    int64_t now = monotonic_ns();
    while (!due_.empty() && due_.top().at_ns <= now) {
      Due due = due_.top();
      due_.pop();
      auto found = sessions_.find(due.session);
      if (found == sessions_.end() || found->second.serial != due.serial) continue;
      if (found->second.session->on_due()) {
        queue(found->second);
      } else {
        sessions_.erase(found);
      }
    }
  }

  TlsContext tls_;
  std::string key_;
  UniqueFd epoll_;
  UniqueFd listener_;
  std::unordered_map<Session*, Entry> sessions_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  uint64_t serial_ = 0;
  timespec timeout_{};
};

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) {
  using namespace tollgate::bench;
  CLI::App app("mock provider for the bench");
  std::string at = "127.0.0.1:9000";
  std::string key;
  std::string certificate;
  std::string private_key;
  app.add_option("--listen", at, "address:port");
  app.add_option("--key", key, "the bearer token that it takes")->required();
  auto* tls = app.add_option("--certificate", certificate, "speak TLS with this certificate");
  app.add_option("--private-key", private_key)->needs(tls);
  parse_options(app, argc, argv);
  prepare_process();
  TlsContext context;
  if (!certificate.empty()) context = make_server_context(certificate, private_key);
  Server(endpoint_or_die(at), std::move(context), key).run();
}
