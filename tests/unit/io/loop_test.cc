// Both backends behind one interface: every test runs on io_uring (where the kernel lets us) and on
// epoll. Sockets are on 127.0.0.1, port 0.
#include "userspace/io/loop.h"
#include "userspace/io/tcp_info.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tollgate::io {
namespace {

Endpoint bound_to(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  return *endpoint_from_sockaddr(storage);
}

UniqueFd listening() {
  return std::move(*listen_tcp({.at = {*parse_ip("127.0.0.1"), 0}}));
}

// A blocking client of the test's own.
UniqueFd dial(const Endpoint& to) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(to, storage);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
  return fd;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A connection that records what happens to it.
struct Peer final : SocketEvents {
  explicit Peer(Loop& loop) : socket(loop, *this) {}
  void on_connected(int sys_errno) override {
    connected = sys_errno;
    if (then) then(*this);
  }
  void on_received(std::span<const std::byte> bytes) override {
    EXPECT_FALSE(closed);
    received += text_of(bytes);
    ++deliveries;
    if (then) then(*this);
  }
  void on_receive_end(int sys_errno) override {
    end = sys_errno;
    if (then) then(*this);
  }
  void on_sent(int sys_errno) override {
    sent = sys_errno;
    if (then) then(*this);
  }
  void on_closed() override {
    closed = true;
    if (after_close) after_close();
  }
  void send(std::string text) {
    outgoing = std::move(text);
    socket.send(std::as_bytes(std::span(outgoing)));
  }

  Socket socket;
  std::string received;
  std::string outgoing;
  int deliveries = 0;
  int connected = -1;
  int end = -1;
  int sent = -1;
  bool closed = false;
  std::function<void(Peer&)> then;
  std::function<void()> after_close;
};

// Accepts into peers.
struct Door final : ListenerEvents {
  Door(Loop& in, UniqueFd fd) : loop(in), listener(in, *this, std::move(fd)) {
    at = bound_to(listener.fd());
  }
  void on_accepted(UniqueFd connection) override {
    peers.push_back(std::make_unique<Peer>(loop));
    peers.back()->socket.adopt(std::move(connection));
    if (accepted) accepted(*peers.back());
  }
  void on_accept_error(int sys_errno) override {
    error = sys_errno;
    if (failed) failed();
  }
  void on_listener_closed() override { closed = true; }

  Loop& loop;
  Listener listener;
  Endpoint at;
  std::list<std::unique_ptr<Peer>> peers;
  std::function<void(Peer&)> accepted;
  std::function<void()> failed;
  int error = 0;
  bool closed = false;
};

class LoopTest : public testing::TestWithParam<Loop::Backend> {
 protected:
  void SetUp() override { make({.backend = GetParam()}); }
  void make(const Loop::Options& options) {
    loop_ = std::move(*Loop::make(options));
    if (loop_->backend() != GetParam()) {
      GTEST_SKIP() << "io_uring is not to be had here: " << loop_->fallback_reason();
    }
  }
  // Runs until `done` says so; a test that hangs is ended by ctest's limit.
  void run_until(std::function<bool()> done) {
    loop_->every(1, [this, done = std::move(done)] {
      if (done()) loop_->stop();
    });
    loop_->run();
  }
  void close_all(Door& door) {
    for (auto& peer : door.peers)
      peer->socket.close();
    door.listener.close();
    run_until([&] {
      return door.closed && std::all_of(door.peers.begin(), door.peers.end(),
                                        [](const auto& peer) { return peer->closed; });
    });
  }

  std::unique_ptr<Loop> loop_;
};

TEST_P(LoopTest, EchoesAndReportsTheFin) {
  Door door(*loop_, listening());
  door.accepted = [](Peer& peer) {
    peer.then = [](Peer& self) {
      if (self.received == "ping" && self.sent == -1 && !self.socket.sending()) self.send("pong");
    };
    peer.socket.start_receiving();
  };
  door.listener.start();
  std::string answer;
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    EXPECT_EQ(::send(fd.get(), "ping", 4, 0), 4);
    char buffer[8] = {};
    answer.assign(buffer, static_cast<size_t>(::recv(fd.get(), buffer, sizeof buffer, 0)));
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end == 0; });
  client.join();
  EXPECT_EQ(answer, "pong");
  EXPECT_EQ(door.peers.front()->sent, 0);
  close_all(door);
}

TEST_P(LoopTest, AResetIsNotAFin) {
  Door door(*loop_, listening());
  door.accepted = [](Peer& peer) { peer.socket.start_receiving(); };
  door.listener.start();
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    const linger reset{1, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end != -1; });
  client.join();
  EXPECT_EQ(door.peers.front()->end, ECONNRESET);
  close_all(door);
}

TEST_P(LoopTest, SendsMoreThanTheBuffersTakeToASlowReader) {
  Door door(*loop_, listening());
  const std::string big(16 << 20, 'm');
  door.accepted = [&](Peer& peer) { peer.send(big); };
  door.listener.start();
  size_t got = 0;
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    std::vector<char> buffer(1000);
    while (got < big.size()) {
      const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
      if (n <= 0) break;
      got += static_cast<size_t>(n);
    }
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->sent != -1; });
  client.join();
  EXPECT_EQ(door.peers.front()->sent, 0);
  EXPECT_EQ(got, big.size());
  close_all(door);
}

TEST_P(LoopTest, StoppedReceivingLosesNothing) {
  Door door(*loop_, listening());
  std::string expected;
  for (int i = 0; i < 20'000; ++i)
    expected += std::to_string(i) + ";";
  door.accepted = [&](Peer& peer) {
    peer.then = [this](Peer& self) {
      // Stops after each delivery and goes on from another turn of the loop.
      self.socket.stop_receiving();
      loop_->post([&self] {
        if (!self.closed) self.socket.start_receiving();
      });
    };
    peer.socket.start_receiving();
  };
  door.listener.start();
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    size_t sent = 0;
    while (sent < expected.size()) {
      const ssize_t n = ::send(fd.get(), expected.data() + sent,
                               std::min<size_t>(expected.size() - sent, 3000), MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end == 0; });
  client.join();
  door.peers.front()->then = nullptr;
  EXPECT_EQ(door.peers.front()->received, expected);
  close_all(door);
}

TEST_P(LoopTest, MoreConnectionsThanBuffersLoseNothing) {
  make({.backend = GetParam(), .buffers = 4, .buffer_bytes = 1024});
  constexpr size_t kClients = 100;
  const std::string message(10'000, 'b');
  Door door(*loop_, listening());
  door.accepted = [](Peer& peer) { peer.socket.start_receiving(); };
  door.listener.start();
  std::vector<UniqueFd> clients;
  std::thread sender([&] {
    for (size_t i = 0; i < kClients; ++i)
      clients.push_back(dial(door.at));
    for (const UniqueFd& fd : clients) {
      EXPECT_EQ(::send(fd.get(), message.data(), message.size(), 0),
                static_cast<ssize_t>(message.size()));
    }
  });
  run_until([&] {
    return door.peers.size() == kClients &&
           std::all_of(door.peers.begin(), door.peers.end(),
                       [&](const auto& peer) { return peer->received.size() == message.size(); });
  });
  sender.join();
  close_all(door);
}

TEST_P(LoopTest, CountsWhatTcpHasTaken) {
  Door door(*loop_, listening());
  const std::string text(100'000, 't');
  door.accepted = [&](Peer& peer) {
    EXPECT_EQ(tcp_bytes(peer.socket.fd())->sent, 0u);
    peer.send(text);
  };
  door.listener.start();
  Peer dialler(*loop_);
  ASSERT_TRUE(dialler.socket.connect(door.at));
  dialler.then = [&](Peer& self) {
    if (self.connected == 0 && self.sent == -1 && !self.socket.sending()) {
      self.socket.start_receiving();
      self.send("hello");
    }
  };
  run_until([&] {
    return !door.peers.empty() && door.peers.front()->sent == 0 && dialler.sent == 0 &&
           dialler.received.size() == text.size();
  });
  EXPECT_EQ(tcp_bytes(door.peers.front()->socket.fd())->sent, text.size());
  EXPECT_EQ(tcp_bytes(dialler.socket.fd())->sent, 5u);
  dialler.socket.close();
  close_all(door);
}

TEST_P(LoopTest, ConnectsOrSaysWhyNot) {
  Door door(*loop_, listening());
  door.listener.start();
  Peer good(*loop_);
  ASSERT_TRUE(good.socket.connect(door.at));
  // A port that was free a moment ago: bound, not listening.
  const UniqueFd unused(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint({*parse_ip("127.0.0.1"), 0}, storage);
  ASSERT_EQ(::bind(unused.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
  Peer bad(*loop_);
  ASSERT_TRUE(bad.socket.connect(bound_to(unused.get())));
  run_until([&] { return good.connected != -1 && bad.connected != -1; });
  EXPECT_EQ(good.connected, 0);
  EXPECT_EQ(bad.connected, ECONNREFUSED);
  good.socket.close();
  bad.socket.close();
  close_all(door);
  EXPECT_TRUE(good.closed);
  EXPECT_TRUE(bad.closed);
}

TEST_P(LoopTest, CloseWithOperationsInFlightIsTheLastCall) {
  Door door(*loop_, listening());
  const std::string big(8 << 20, 'x');  // more than the socket buffers take
  door.accepted = [&](Peer& peer) {
    peer.socket.start_receiving();
    peer.send(big);
    peer.socket.close();
    peer.socket.close();  // idempotent
    EXPECT_FALSE(peer.closed) << "on_closed must not be nested in close()";
  };
  door.listener.start();
  UniqueFd client;
  std::thread dialler([&] { client = dial(door.at); });
  run_until([&] { return !door.peers.empty() && door.peers.front()->closed; });
  dialler.join();
  EXPECT_EQ(door.peers.front()->sent, -1);
  EXPECT_EQ(door.peers.front()->end, -1);
  close_all(door);
}

TEST_P(LoopTest, TheOwnerMayFreeTheSocketInOnClosed) {
  Door door(*loop_, listening());
  size_t freed = 0;
  door.accepted = [&](Peer& peer) {
    peer.socket.start_receiving();
    peer.then = [](Peer& self) { self.socket.close(); };
    peer.after_close = [&] {
      // Frees whatever is closed, this very function's owner among it: nothing captured is touched
      // afterwards.
      size_t& count = freed;
      const size_t now = std::erase_if(door.peers, [](const auto& each) { return each->closed; });
      count += now;
    };
  };
  door.listener.start();
  constexpr size_t kRounds = 2000;  // descriptors are used again and again
  std::thread client([&] {
    for (size_t i = 0; i < kRounds; ++i) {
      const UniqueFd fd = dial(door.at);
      ::send(fd.get(), "x", 1, MSG_NOSIGNAL);
      char byte = 0;
      ::recv(fd.get(), &byte, 1, 0);
    }
  });
  run_until([&] { return freed == kRounds; });
  client.join();
  close_all(door);
}

TEST_P(LoopTest, AcceptingGoesOnWhenDescriptorsComeBack) {
  Door door(*loop_, listening());
  UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(::dup(0));
  ::close(static_cast<int>(none.rlim_cur));
  sockaddr_storage storage{};
  const socklen_t length = sockaddr_from_endpoint(door.at, storage);
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
  ::setrlimit(RLIMIT_NOFILE, &none);
  door.failed = [&] { ::setrlimit(RLIMIT_NOFILE, &before); };
  door.listener.start();
  run_until([&] { return door.peers.size() == 1; });
  EXPECT_EQ(door.error, EMFILE);
  ::setrlimit(RLIMIT_NOFILE, &before);
  close_all(door);
}

TEST_P(LoopTest, TasksComeFromOtherThreadsInOrder) {
  std::vector<int> seen;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i)
      loop_->post([&seen, i] { seen.push_back(i); });
    loop_->post([this] { loop_->stop(); });
  });
  loop_->run();
  other.join();
  ASSERT_EQ(seen.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST_P(LoopTest, WatchesADescriptorUntilUnwatched) {
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const uint64_t one = 1;
  int calls = 0;
  loop_->watch(event.get(), [&] {
    uint64_t count = 0;
    EXPECT_EQ(::read(event.get(), &count, sizeof count), ssize_t{sizeof count});
    if (++calls == 3) {
      loop_->unwatch(event.get());
      loop_->post([this] { loop_->stop(); });
    }
    EXPECT_EQ(::write(event.get(), &one, sizeof one), ssize_t{sizeof one});
  });
  EXPECT_EQ(::write(event.get(), &one, sizeof one), ssize_t{sizeof one});
  loop_->run();
  EXPECT_EQ(calls, 3);
}

TEST_P(LoopTest, HalfClosedConnectionStillReceives) {
  Door door(*loop_, listening());
  door.accepted = [](Peer& peer) {
    peer.socket.start_receiving();
    peer.socket.shutdown_send();
  };
  door.listener.start();
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    char byte = 0;
    EXPECT_EQ(::recv(fd.get(), &byte, 1, 0), 0);
    EXPECT_EQ(::send(fd.get(), "late", 4, 0), 4);
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end == 0; });
  client.join();
  EXPECT_EQ(door.peers.front()->received, "late");
  close_all(door);
}

TEST_P(LoopTest, ReceivesOnceAndThenNothingUntilAskedAgain) {
  Door door(*loop_, listening());
  std::vector<size_t> pieces;
  door.accepted = [&](Peer& peer) {
    // 5, 100 and 3000 bytes; then all that is left, as ever.
    static constexpr size_t kSteps[] = {5, 100, 3000};
    peer.then = [&pieces, last = size_t{0}](Peer& self) mutable {
      if (self.end != -1) return;
      pieces.push_back(self.received.size() - last);
      last = self.received.size();
      size_t step = 0;
      for (size_t sum = 0; step < std::size(kSteps) && sum + kSteps[step] <= last; ++step)
        sum += kSteps[step];
      const size_t begun = step == 0 ? 0 : step == 1 ? 5 : 105;
      if (step < std::size(kSteps)) {
        self.socket.receive_once(kSteps[step] - (last - begun));
      } else {
        self.socket.start_receiving();
      }
    };
    peer.socket.receive_once(kSteps[0]);
  };
  door.listener.start();
  std::string sent;
  for (int i = 0; i < 10'000; ++i)
    sent += std::to_string(i);
  std::thread client([&] {
    const UniqueFd fd = dial(door.at);
    EXPECT_EQ(::send(fd.get(), sent.data(), sent.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(sent.size()));
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end == 0; });
  client.join();
  EXPECT_EQ(door.peers.front()->received, sent);
  size_t sum = 0;
  for (const size_t piece : pieces) {
    EXPECT_TRUE(sum >= 3105 || sum + piece <= 3105) << "a receive took more than it should";
    sum += piece;
  }
  close_all(door);
}

TEST_P(LoopTest, ASingleReceiveLeavesTheRestInTheKernel) {
  Door door(*loop_, listening());
  bool asked = false;
  door.accepted = [](Peer& peer) { peer.socket.receive_once(4); };
  door.listener.start();
  UniqueFd fd;
  std::thread client([&] {
    fd = dial(door.at);
    EXPECT_EQ(::send(fd.get(), "onetwo", 6, MSG_NOSIGNAL), 6);
  });
  int left = 0;
  run_until([&] {
    if (door.peers.empty() || door.peers.front()->received.size() < 4) return false;
    ::ioctl(door.peers.front()->socket.fd(), FIONREAD, &left);
    if (!std::exchange(asked, true)) {
      EXPECT_EQ(door.peers.front()->received, "onet");
      return false;  // another turn: nothing may read meanwhile
    }
    return true;
  });
  client.join();
  EXPECT_EQ(left, 2);
  EXPECT_EQ(door.peers.front()->deliveries, 1);
  close_all(door);
}

TEST_P(LoopTest, ASingleReceiveMayBeStoppedAndAskedForAgain) {
  Door door(*loop_, listening());
  door.accepted = [&](Peer& peer) {
    peer.socket.receive_once(100);
    loop_->post([&peer] {
      peer.socket.stop_receiving();
      peer.socket.receive_once(100);
      peer.socket.receive_once(100);  // idempotent
    });
  };
  door.listener.start();
  UniqueFd fd;
  std::thread client([&] {
    fd = dial(door.at);
    EXPECT_EQ(::send(fd.get(), "once", 4, MSG_NOSIGNAL), 4);
  });
  run_until([&] { return !door.peers.empty() && door.peers.front()->received == "once"; });
  client.join();
  EXPECT_EQ(door.peers.front()->end, -1);
  close_all(door);
}

TEST_P(LoopTest, ASingleReceiveSeesTheFin) {
  Door door(*loop_, listening());
  door.accepted = [](Peer& peer) { peer.socket.receive_once(SIZE_MAX); };
  door.listener.start();
  std::thread client([&] { dial(door.at); });
  run_until([&] { return !door.peers.empty() && door.peers.front()->end == 0; });
  client.join();
  close_all(door);
}

INSTANTIATE_TEST_SUITE_P(Backends, LoopTest,
                         testing::Values(Loop::Backend::io_uring, Loop::Backend::poll),
                         [](const auto& each) {
                           return each.param == Loop::Backend::io_uring ? "IoUring" : "Poll";
                         });

TEST(Listen, SaysWhichAddressIsInUse) {
  const UniqueFd first = listening();
  const auto second = listen_tcp({.at = bound_to(first.get()), .reuse_port = false});
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().text.find(to_string(bound_to(first.get()))), std::string::npos);
  EXPECT_EQ(second.error().sys_errno, EADDRINUSE);
}

}  // namespace
}  // namespace tollgate::io
