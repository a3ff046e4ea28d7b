// A peer that changes its keys under way (RFC 8446, 4.6.3): bytes stay right wherever the record
// path can follow; where it cannot, the stream says close_notify, fails, and never hangs.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "tests/unit/proxy/stream_tls_lab.h"

namespace tollgate::proxy {
namespace {

using tls::RawAnswer;
using tls::RawPeer;

constexpr int kCloseNotify = 0;
constexpr size_t kBulkBytes = 1'000'003;
// Once a peer has read this, the record path of the stream is settled.
constexpr std::string_view kReady = "ready";

class KeyUpdateTest : public StreamTlsTest {};

size_t key_updates(const RawAnswer& answer) {
  return static_cast<size_t>(
      std::count_if(answer.others.begin(), answer.others.end(), [](const tls::RawRecord& each) {
        return each.type == tls::kRawHandshake && each.content == std::string("\x18\0\0\1\0", 5);
      }));
}

// What a stream says that cannot follow.
void expect_given_up(const Seen& seen, const RawAnswer& answer) {
  EXPECT_EQ(seen.end, StreamEnd::failed);
  EXPECT_FALSE(seen.error.empty());
  EXPECT_EQ(answer.alert(), kCloseNotify);
  EXPECT_EQ(key_updates(answer), 0u) << "answered with a key that it cannot use";
}

TEST_P(KeyUpdateTest, DataGoesOnUnderTheNewKeys) {
  for (const bool request : {false, true}) {
    RawAnswer answer;
    Conduct conduct;
    conduct.echo = true;
    conduct.send = kReady;
    const Seen seen = run(
        [&](RawPeer& peer) {
          EXPECT_EQ(peer.read_data(kReady.size()), kReady);
          peer.data("one").key_update(request).data("two").send();
          if (peer.read_data(6) == "onetwo") peer.key_update(request).data("three").send();
          peer.close_notify().send();
          answer = peer.read_to_end();
        },
        conduct);
    EXPECT_EQ(seen.path, GetParam().path());
    if (!follows_key_updates(GetParam())) {
      EXPECT_EQ(seen.received, "one");
      expect_given_up(seen, answer);
      continue;
    }
    EXPECT_EQ(seen.received, "onetwothree");
    EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
    EXPECT_EQ(answer.data, "three");
    EXPECT_EQ(key_updates(answer), request ? 1u : 0u);
    EXPECT_EQ(answer.alert(), kCloseNotify);
  }
}

TEST_P(KeyUpdateTest, BulkBothWaysStaysRight) {
  const std::string down = noise(kBulkBytes, 11);
  const std::string up = noise(kBulkBytes, 12);
  RawAnswer answer;
  Conduct conduct;
  conduct.send = std::string(kReady) + down;
  const Seen seen = run(
      [&](RawPeer& peer) {
        const std::string begun = peer.read_data(kReady.size());
        std::thread reader([&] { answer = peer.read_to_end(); });
        for (size_t at = 0, turn = 0; at < up.size(); ++turn) {
          const size_t size = std::min<size_t>(997 + turn * 1013 % 15'000, up.size() - at);
          peer.data(std::string_view(up).substr(at, size));
          at += size;
          if (turn % 8 == 3) peer.key_update(turn % 16 == 3);
          peer.send(9973);
        }
        peer.close_notify().send();
        reader.join();
        answer.data.insert(0, begun);
      },
      conduct);
  if (!follows_key_updates(GetParam())) {
    EXPECT_EQ(seen.end, StreamEnd::failed);
    EXPECT_EQ(up.compare(0, seen.received.size(), seen.received), 0);
    EXPECT_EQ(conduct.send.compare(0, answer.data.size(), answer.data), 0);
    EXPECT_EQ(key_updates(answer), 0u);
    return;
  }
  EXPECT_EQ(sha256(seen.received), sha256(up)) << seen.received.size();
  EXPECT_EQ(sha256(answer.data), sha256(conduct.send)) << answer.data.size();
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
  EXPECT_GT(key_updates(answer), 0u);
}

TEST_P(KeyUpdateTest, OneInTheSegmentOfFinishedIsFollowedOnEveryKernel) {
  for (const bool request : {false, true}) {
    RawAnswer answer;
    RawPeer::Options options;
    options.with_finished = [&](RawPeer& peer) {
      peer.data("one").key_update(request).data("two");
    };
    Conduct conduct;
    conduct.echo = true;
    const Seen seen = run(
        [&](RawPeer& peer) {
          EXPECT_EQ(peer.read_data(6), "onetwo");
          peer.data("three").close_notify().send();
          answer = peer.read_to_end();
        },
        conduct, options);
    EXPECT_EQ(seen.received, "onetwothree");
    EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
    EXPECT_EQ(answer.data, "three");
  }
}

TEST_P(KeyUpdateTest, SomeAreFollowedAFloodEndsTheConnection) {
  for (const bool request : {false, true}) {
    for (const bool flood : {false, true}) {
      const size_t updates = flood ? 500 : 20;
      RawAnswer answer;
      Conduct conduct;
      conduct.send = kReady;
      const Seen seen = run(
          [&](RawPeer& peer) {
            EXPECT_EQ(peer.read_data(kReady.size()), kReady);
            std::thread reader([&] { answer = peer.read_to_end(); });
            for (size_t i = 0; i < updates; ++i)
              peer.key_update(request).send();
            peer.data("after all").close_notify().send();
            reader.join();
          },
          conduct);
      const bool followed = !flood && follows_key_updates(GetParam());
      EXPECT_EQ(seen.end, followed ? StreamEnd::clean : StreamEnd::failed) << updates;
      EXPECT_EQ(seen.received, followed ? "after all" : "") << updates;
      EXPECT_LT(key_updates(answer), 100u);
    }
  }
}

// OpenSSL has no such limit and needs none here: 2^24.5 records of one connection are far off.
TEST_P(KeyUpdateTest, OurOwnKeyIsChangedBeforeItIsUsedUp) {
  const std::string down = noise(kBulkBytes, 13);
  RawAnswer answer;
  Conduct conduct;
  conduct.send = down;
  conduct.records_per_key_max = 20;
  conduct.finish_when_sent = true;
  const Seen seen = run(
      [&](RawPeer& peer) {
        answer = peer.read_to_end();
        peer.close_notify().send();
      },
      conduct);
  if (!follows_key_updates(GetParam())) {
    EXPECT_EQ(seen.end, StreamEnd::failed);
    EXPECT_EQ(answer.alert(), kCloseNotify);
    return;
  }
  EXPECT_EQ(sha256(answer.data), sha256(down));
  EXPECT_EQ(key_updates(answer) > 0, GetParam().kernel);
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
  EXPECT_EQ(answer.alert(), kCloseNotify);
}

INSTANTIATE_TEST_SUITE_P(Ways, KeyUpdateTest, testing::ValuesIn(ways_here()),
                         [](const auto& each) { return name_of(each.param); });

}  // namespace
}  // namespace tollgate::proxy
