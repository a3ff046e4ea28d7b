// What two daemons say to each other: every message comes back as it was, however it was split, and
// nothing else is taken.
#include "userspace/daemon/handover.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

namespace tollgate::daemon {
namespace {

std::vector<Message> one_of_each() {
  Hello hello;
  hello.protocol = 1;
  hello.records = 2;
  hello.bpf_abi = 3;
  hello.ledger = 4;
  hello.release = "1.2.3";
  hello.steering = "bpf";
  hello.listen = {"10.99.0.1:443", "[fd99::1]:443"};
  State state;
  policy::Peer peer;
  peer.tag = {7, 9};
  peer.tunnel = "wg0";
  peer.address = *parse_prefix("10.99.0.0/24");
  peer.user = "alice@example.com";
  peer.public_key = "a2V5";
  peer.groups = {"eng", "on \"call\""};
  peer.revoked = true;
  state.peers.peers = {peer, peer};
  state.peers.next_id = 4'000'000'000;
  state.peers.next_generation = 12;
  state.workers = 2;
  state.notify_socket = "@/org/freedesktop/systemd1/notify";
  return {
      hello,    Refused{"text", "hint"}, Take{}, state, Listeners{}, Ready{}, Quiet{}, Running{200},
      Reload{}, Finish{30'000}};
}

TEST(HandoverText, EveryMessageComesBackAsItWas) {
  for (const Message& message : one_of_each()) {
    const std::string text = to_text(message);
    const auto read = parse_message(text);
    ASSERT_TRUE(read) << text << ": " << read.error().text;
    EXPECT_EQ(read->index(), message.index()) << text;
    EXPECT_EQ(to_text(*read), text);
  }
  const auto state = parse_message(to_text(one_of_each()[3]));
  const policy::Peer& peer = std::get<State>(*state).peers.peers.at(1);
  EXPECT_EQ(peer.tag, (PeerTag{7, 9}));
  EXPECT_EQ(to_string(peer.address), "10.99.0.0/24");
  EXPECT_EQ(peer.groups.at(1), "on \"call\"");
  EXPECT_TRUE(peer.revoked);
}

TEST(HandoverText, RefusesWhatNoDaemonSays) {
  const struct {
    const char* description;
    const char* text;
    bool good;
  } rows[] = {
      {"a number of requests", R"({"kind":"running","requests":3})", true},
      {"a field that a later version adds", R"({"kind":"running","requests":3,"x":[]})", true},
      {"nothing", "", false},
      {"no object", "[]", false},
      {"no JSON", R"({"kind":"running")", false},
      {"no kind", R"({"requests":3})", false},
      {"an unknown kind", R"({"kind":"sing"})", false},
      {"a kind that is no text", R"({"kind":7})", false},
      {"a field is missing", R"({"kind":"running"})", false},
      {"below zero", R"({"kind":"running","requests":-3})", false},
      {"half a request", R"({"kind":"running","requests":3.5})", false},
      {"text for a number", R"({"kind":"running","requests":"3"})", false},
      {"over the range", R"({"kind":"finish","within_ms":9223372036854775808})", false},
      {"a peer at no address",
       R"({"kind":"state","next_id":2,"next_generation":2,"workers":1,"notify_socket":"",)"
       R"("peers":[{"id":1,"generation":1,"tunnel":"t","address":"here","user":"u",)"
       R"("public_key":"","groups":[],"revoked":false}]})",
       false},
      {"a peer that is no object",
       R"({"kind":"state","next_id":2,"next_generation":2,"workers":1,"notify_socket":"",)"
       R"("peers":[1]})",
       false},
  };
  for (const auto& row : rows)
    EXPECT_EQ(parse_message(row.text).has_value(), row.good) << row.description;
}

UniqueFd some_fd() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

TEST(HandoverFrames, AreTheSameHoweverTheyWereSplit) {
  const std::string first = frame_head(5, 0) + "first";
  const std::string second = frame_head(6, 1) + "second";
  const std::string both = first + second;
  for (size_t split = 0; split <= both.size(); ++split) {
    FrameReader reader;
    std::vector<Frame> frames;
    const auto take = [&] {
      for (auto frame = reader.next(); frame && *frame; frame = reader.next())
        frames.push_back(std::move(**frame));
    };
    reader.append(std::string_view(both).substr(0, split));
    // With the first byte of its frame.
    if (split > first.size()) reader.append(some_fd());
    take();
    if (split <= first.size()) reader.append(some_fd());
    reader.append(std::string_view(both).substr(split));
    take();
    ASSERT_EQ(frames.size(), 2u) << split;
    EXPECT_EQ(frames[0].text, "first");
    EXPECT_TRUE(frames[0].fds.empty());
    EXPECT_EQ(frames[1].text, "second");
    ASSERT_EQ(frames[1].fds.size(), 1u) << split;
  }
}

TEST(HandoverFrames, RefusesWhatIsTooLargeOrHasOtherDescriptorsThanItSays) {
  const struct {
    const char* description;
    std::string bytes;
    size_t fds;
    bool good;
  } rows[] = {
      {"whole", frame_head(2, 1) + "ab", 1, true},
      {"not whole yet", frame_head(2, 1) + "a", 1, true},
      {"empty", frame_head(0, 0), 0, true},
      {"as large as can be, not here yet", frame_head(kFrameBytesMax, 0), 0, true},
      {"larger", frame_head(kFrameBytesMax + 1, 0), 0, false},
      {"more descriptors than a message has", frame_head(2, kFrameFdsMax + 1) + "ab", 0, false},
      {"fewer than it says", frame_head(2, 2) + "ab", 1, false},
      {"descriptors alone", "", 1, false},
      {"descriptors without end", frame_head(9, 1) + "a", 2 * kFrameFdsMax + 1, false},
  };
  for (const auto& row : rows) {
    FrameReader reader;
    reader.append(row.bytes);
    for (size_t i = 0; i < row.fds; ++i)
      reader.append(some_fd());
    EXPECT_EQ(reader.next().has_value(), row.good) << row.description;
  }
}

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    one.emplace(UniqueFd(fds[0]));
    other.emplace(UniqueFd(fds[1]));
  }
  std::optional<Connection> one, other;
};

TEST(HandoverConnection, CarriesMessagesWithTheirDescriptors) {
  Pair pair;
  ASSERT_TRUE(pair.one->send(Take{}));
  const UniqueFd fd = some_fd();
  const std::vector<int> many(kFrameFdsMax, fd.get());
  ASSERT_TRUE(pair.one->send(Listeners{}, many));
  ASSERT_TRUE(pair.one->send(Running{7}));
  auto take = pair.other->wait(1000);
  ASSERT_TRUE(take) << take.error().text;
  EXPECT_TRUE(std::holds_alternative<Take>(take->message));
  auto listeners = pair.other->wait(1000);
  ASSERT_TRUE(listeners) << listeners.error().text;
  ASSERT_EQ(listeners->fds.size(), kFrameFdsMax);
  struct stat sent {};
  struct stat got {};
  ASSERT_EQ(::fstat(fd.get(), &sent), 0);
  ASSERT_EQ(::fstat(listeners->fds.back().get(), &got), 0);
  EXPECT_EQ(sent.st_ino, got.st_ino);
  EXPECT_NE(::fcntl(listeners->fds.back().get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(std::get<Running>(pair.other->wait(1000)->message).requests, 7u);
  const auto nothing = pair.other->receive();
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(*nothing);
}

TEST(HandoverConnection, CarriesMoreThanASocketHoldsAndTellsTheEnd) {
  Pair pair;
  State state;
  for (uint32_t i = 1; i <= 20'000; ++i) {
    policy::Peer peer;
    peer.tag = {i, i};
    peer.tunnel = "wg0";
    peer.address = *parse_ip("10.99.0.2");
    peer.user = "somebody-with-a-name@example.com";
    state.peers.peers.push_back(peer);
  }
  std::thread sender([&] {
    EXPECT_TRUE(pair.one->send(state));
    pair.one.reset();
  });
  const auto got = pair.other->wait(10'000);
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(std::get<State>(got->message).peers.peers.size(), 20'000u);
  sender.join();
  EXPECT_FALSE(pair.other->wait(1000));
}

}  // namespace
}  // namespace tollgate::daemon
