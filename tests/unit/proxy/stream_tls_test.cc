// What a stream makes of everything that a TLS 1.3 peer can send, lawful or not: on each path the
// bytes are the same, the end is of the same kind, and nothing hangs.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "tests/unit/proxy/stream_tls_lab.h"

namespace tollgate::proxy {
namespace {

using tls::RawAnswer;
using tls::RawPeer;

constexpr int kCloseNotify = 0;
constexpr size_t kBulkBytes = 3'000'001;

// As records of every size, in segments that have nothing to do with them.
void send_bulk(RawPeer& peer, const std::string& bytes) {
  constexpr size_t kRecords[] = {1, 16'384, 77, 1400, 16'383, 8192, 300, 5001};
  size_t turn = 0;
  for (size_t at = 0; at < bytes.size(); ++turn) {
    const size_t size = std::min(kRecords[turn % std::size(kRecords)], bytes.size() - at);
    // Padding counts: content, type and zeroes are 2^14 + 1 bytes at most (RFC 8446, 5.4).
    const size_t padding = turn % 5 == 0 ? std::min(turn % 200, 16'384 - size) : 0;
    peer.data(std::string_view(bytes).substr(at, size), padding);
    at += size;
    if (turn % 3 == 0) peer.send(10'007);
  }
  peer.send(10'007);
}

TEST_P(StreamTlsTest, CarriesMegabytesBothWaysAtOnce) {
  const std::string down = noise(kBulkBytes, 1);
  const std::string up = noise(kBulkBytes, 2);
  for (const bool lasting : {false, true}) {
    RawAnswer answer;
    Conduct conduct;
    conduct.send = down;
    conduct.lasting = lasting;
    const Seen seen = run(
        [&](RawPeer& peer) {
          std::thread reader([&] { answer = peer.read_to_end(); });
          send_bulk(peer, up);
          peer.close_notify().send();
          peer.send_fin();
          reader.join();
        },
        conduct);
    EXPECT_EQ(sha256(seen.received), sha256(up)) << seen.received.size();
    EXPECT_EQ(sha256(answer.data), sha256(down)) << answer.data.size();
    EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
    EXPECT_EQ(seen.path, GetParam().path());
    EXPECT_GT(seen.drained, 0);
    EXPECT_EQ(answer.alert(), kCloseNotify);
    EXPECT_EQ(answer.ended, "fin");
  }
}

TEST_P(StreamTlsTest, CarriesMegabytesUnderEachSuite) {
  const std::string down = noise(kBulkBytes / 3, 3);
  const std::string up = noise(kBulkBytes / 3, 4);
  for (const char* suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    RawAnswer answer;
    Conduct conduct;
    conduct.send = down;
    RawPeer::Options options;
    options.suite = suite;
    const Seen seen = run(
        [&](RawPeer& peer) {
          std::thread reader([&] { answer = peer.read_to_end(); });
          send_bulk(peer, up);
          peer.close_notify().send();
          reader.join();
        },
        conduct, options);
    EXPECT_EQ(sha256(seen.received), sha256(up)) << suite;
    EXPECT_EQ(sha256(answer.data), sha256(down)) << suite;
    EXPECT_EQ(seen.path, GetParam().path()) << suite;
  }
}

TEST_P(StreamTlsTest, AReaderThatPausesLosesNothing) {
  const std::string up = noise(kBulkBytes / 3, 5);
  Conduct conduct;
  conduct.pauses = true;
  const Seen seen = run(
      [&](RawPeer& peer) {
        send_bulk(peer, up);
        peer.close_notify().send();
        peer.read_to_end();
      },
      conduct);
  EXPECT_EQ(sha256(seen.received), sha256(up));
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
}

TEST_P(StreamTlsTest, EventsAreAnsweredFromInsideTheDelivery) {
  RawAnswer answer;
  std::string said;
  Conduct conduct;
  conduct.echo = true;
  const Seen seen = run(
      [&](RawPeer& peer) {
        for (int i = 0; i < 50; ++i) {
          const std::string event = "data: " + std::to_string(i) + "\n\n";
          said += event;
          peer.data(event).send();
          EXPECT_EQ(peer.read_data(event.size()), event);
        }
        peer.close_notify().send();
        answer = peer.read_to_end();
      },
      conduct);
  EXPECT_EQ(seen.received, said);
  EXPECT_EQ(answer.alert(), kCloseNotify);
}

// Lawful things in the way of two pieces of data, "one" and "two", and then the peer's end.
struct Lawful {
  const char* what;
  std::function<void(RawPeer&)> between;
};

const Lawful kLawful[] = {
    {"nothing", [](RawPeer&) {}},
    {"an empty record", [](RawPeer& peer) { peer.data("").send(); }},
    {"empty records, padded and not",
     [](RawPeer& peer) {
       for (const size_t padding : {0u, 1u, 16'000u, 0u, 255u})
         peer.data("", padding).send();
     }},
    {"several records in a segment",
     [](RawPeer& peer) { peer.data("+").data("").data("+").send(); }},
    {"a record in segments of one byte",
     [](RawPeer& peer) { peer.data(std::string(100, '+'), 30).send(1); }},
    {"a record of the largest size",
     [](RawPeer& peer) { peer.data(std::string(tls::kRawContentBytesMax, '+')).send(); }},
    {"a record that is nearly all padding",
     [](RawPeer& peer) { peer.data("+", tls::kRawContentBytesMax - 1).send(); }},
    {"the header of a record apart from its body",
     [](RawPeer& peer) { peer.data("+++").send(tls::kRawHeaderBytes); }},
};

size_t pluses(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '+'));
}

std::string without_pluses(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), '+'), text.end());
  return text;
}

TEST_P(StreamTlsTest, RecordsOfAnyLawfulShapeCarryTheirBytes) {
  for (const auto& each : kLawful) {
    RawAnswer answer;
    Conduct conduct;
    conduct.echo = true;
    const Seen seen = run(
        [&](RawPeer& peer) {
          peer.data("one").send();
          each.between(peer);
          peer.data("two").close_notify().send();
          answer = peer.read_to_end();
        },
        conduct);
    EXPECT_EQ(without_pluses(seen.received), "onetwo") << each.what;
    EXPECT_EQ(seen.end, StreamEnd::clean) << each.what << ": " << seen.error;
    EXPECT_EQ(seen.path, GetParam().path()) << each.what;
    EXPECT_EQ(without_pluses(answer.data), "onetwo") << each.what;
    EXPECT_EQ(pluses(answer.data), pluses(seen.received)) << each.what;
    EXPECT_EQ(answer.alert(), kCloseNotify) << each.what;
  }
}

TEST_P(StreamTlsTest, FinishedAndTheFirstRecordsMayShareASegment) {
  for (const size_t bytes : {size_t{3}, size_t{2000}, size_t{200'000}}) {
    const std::string early = noise(bytes, 6);
    RawAnswer answer;
    RawPeer::Options options;
    options.with_finished = [&](RawPeer& peer) {
      peer.data("");
      for (size_t at = 0; at < early.size(); at += 9000)
        peer.data(std::string_view(early).substr(at, 9000));
    };
    Conduct conduct;
    conduct.send = "welcome";
    const Seen seen = run(
        [&](RawPeer& peer) {
          EXPECT_EQ(peer.read_data(7), "welcome");
          peer.data("later").close_notify().send();
          answer = peer.read_to_end();
        },
        conduct, options);
    EXPECT_EQ(sha256(seen.received), sha256(early + "later")) << bytes;
    EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
    EXPECT_EQ(seen.path, GetParam().path()) << bytes;
    EXPECT_EQ(answer.alert(), kCloseNotify);
  }
}

TEST_P(StreamTlsTest, AnEndWithinTheSegmentOfFinishedIsTheEnd) {
  RawPeer::Options options;
  options.with_finished = [](RawPeer& peer) { peer.data("last").close_notify(); };
  const Seen seen = run([&](RawPeer& peer) { peer.read_to_end(); }, {}, options);
  EXPECT_EQ(seen.received, "last");
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
}

TEST_P(StreamTlsTest, TicketsOfAServerAreIgnored) {
  if (serves()) return;  // a client sends none
  const std::string ticket = tls::raw_ticket(200);
  const std::string large = tls::raw_ticket(20'000);
  struct {
    const char* what;
    std::function<void(RawPeer&)> put;
  } const cases[] = {
      {"one", [&](RawPeer& peer) { peer.handshake_message(ticket); }},
      {"two in a record", [&](RawPeer& peer) { peer.handshake_message(ticket + ticket); }},
      {"two records",
       [&](RawPeer& peer) { peer.handshake_message(ticket).handshake_message(ticket); }},
      {"one in two records",
       [&](RawPeer& peer) {
         peer.handshake_message(ticket.substr(0, 2)).handshake_message(ticket.substr(2));
       }},
      {"one of 20,000 bytes",
       [&](RawPeer& peer) {
         peer.handshake_message(large.substr(0, 16'000)).handshake_message(large.substr(16'000));
       }},
  };
  for (const auto& each : cases) {
    for (const bool early : {true, false}) {
      RawPeer::Options options;
      if (early) options.with_finished = each.put;
      const Seen seen = run(
          [&](RawPeer& peer) {
            if (!early) each.put(peer);
            peer.data("one").send();
            each.put(peer);
            peer.data("two").close_notify().send();
            peer.read_to_end();
          },
          {}, options);
      EXPECT_EQ(seen.received, "onetwo") << each.what;
      EXPECT_EQ(seen.end, StreamEnd::clean) << each.what << ": " << seen.error;
      // One that is cut by the end of the handshake may last until the peer has left.
      if (!early) {
        EXPECT_EQ(seen.path, GetParam().path()) << each.what;
      }
    }
  }
}

// The first half comes with Finished and is read before the stream's own leaves, the second after
// that: the record path must not change between the two. Nothing is written here: OpenSSL refuses
// to while it has half a message.
TEST_P(StreamTlsTest, ATicketMayBeginWithFinishedAndEndLater) {
  if (serves()) return;
  const std::string ticket = tls::raw_ticket(200);
  RawPeer::Options options;
  options.with_finished = [&](RawPeer& peer) { peer.handshake_message(ticket.substr(0, 100)); };
  const Seen seen = run(
      [&](RawPeer& peer) {
        peer.handshake_message(ticket.substr(100)).data("one").close_notify().send();
        peer.read_to_end();
      },
      {}, options);
  EXPECT_EQ(seen.received, "one");
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
}

TEST_P(StreamTlsTest, Tls12StaysInUserspace) {
  RawPeer::Options options;
  options.tls12 = true;
  Conduct conduct;
  conduct.echo = true;
  const std::string text = noise(100'000, 7);
  const Seen seen = run(
      [&](RawPeer& peer) {
        EXPECT_EQ(sha256(peer.echoed_by_library(text)), sha256(text));
        peer.send_fin();
      },
      conduct, options);
  EXPECT_EQ(seen.end, StreamEnd::truncated) << seen.error;
  EXPECT_EQ(seen.path, "openssl");
}

// How a connection may end, after "one".
TEST_P(StreamTlsTest, EveryEndIsNamed) {
  struct {
    const char* what;
    std::function<void(RawPeer&)> last;
    StreamEnd end;
  } const cases[] = {
      {"close_notify alone", [](RawPeer& peer) { peer.close_notify().send(); }, StreamEnd::clean},
      {"close_notify and FIN",
       [](RawPeer& peer) {
         peer.close_notify().send();
         peer.send_fin();
       },
       StreamEnd::clean},
      {"close_notify and more, which nobody hears",
       [](RawPeer& peer) { peer.close_notify().data("unheard").send(); }, StreamEnd::clean},
      {"FIN alone", [](RawPeer& peer) { peer.send_fin(); }, StreamEnd::truncated},
      {"FIN within a record",
       [](RawPeer& peer) {
         peer.put(peer.seal(tls::kRawData, "never whole").substr(0, 20)).send();
         peer.send_fin();
       },
       StreamEnd::truncated},
      {"FIN within a header",
       [](RawPeer& peer) {
         peer.put(peer.seal(tls::kRawData, "never whole").substr(0, 3)).send();
         peer.send_fin();
       },
       StreamEnd::truncated},
      {"a fatal alert", [](RawPeer& peer) { peer.alert(80).send(); }, StreamEnd::failed},
      {"a reset", [](RawPeer& peer) { peer.reset(); }, StreamEnd::failed},
  };
  for (const auto& each : cases) {
    Conduct conduct;
    conduct.send = "hello";
    const Seen seen = run(
        [&](RawPeer& peer) {
          EXPECT_EQ(peer.read_data(5), "hello") << each.what;
          peer.data("one").send();
          each.last(peer);
          peer.read_to_end();
        },
        conduct);
    // A reset overtakes what came before it.
    if (each.end != StreamEnd::failed) {
      EXPECT_EQ(seen.received, "one") << each.what;
    }
    EXPECT_EQ(seen.end, each.end) << each.what << ": " << seen.error;
    EXPECT_EQ(seen.error.empty(), each.end == StreamEnd::clean) << each.what;
  }
}

// What no peer may send. The stream fails, and nothing after it is heard.
TEST_P(StreamTlsTest, WhatNoPeerMaySendFailsTheStream) {
  using tls::kRawData;
  using tls::kRawHandshake;
  struct {
    const char* what;
    std::function<void(RawPeer&)> put;
  } const cases[] = {
      {"a bad MAC",
       [](RawPeer& peer) {
         std::string record = peer.seal(kRawData, "forged");
         record.back() = static_cast<char>(record.back() ^ 1);
         peer.put(record);
       }},
      {"a record twice",
       [](RawPeer& peer) {
         const std::string record = peer.seal(kRawData, "again");
         peer.put(record + record);
       }},
      {"a record left out",
       [](RawPeer& peer) {
         peer.seal(kRawData, "lost");
         peer.data("found");
       }},
      {"a content type that is none", [](RawPeer& peer) { peer.put(peer.seal(99, "?")); }},
      {"change_cipher_spec inside a record",
       [](RawPeer& peer) { peer.put(peer.seal(20, std::string(1, '\1'))); }},
      {"a client's hello",
       [](RawPeer& peer) { peer.handshake_message(std::string("\1\0\0\2ab", 6)); }},
      {"a handshake message without a byte", [](RawPeer& peer) { peer.handshake_message(""); }},
      {"an alert without a byte", [](RawPeer& peer) { peer.put(peer.seal(tls::kRawAlert, "")); }},
      {"an alert of one byte", [](RawPeer& peer) { peer.put(peer.seal(tls::kRawAlert, "\1")); }},
      {"a key update of another value",
       [](RawPeer& peer) { peer.handshake_message(std::string("\x18\0\0\1\2", 5)); }},
      {"a key update with more behind it in its record",
       [](RawPeer& peer) { peer.handshake_message(std::string("\x18\0\0\1\0x", 6)); }},
      {"a record above the largest size",
       [](RawPeer& peer) { peer.data(std::string(tls::kRawContentBytesMax + 1, '+')); }},
      {"bytes that are no record", [](RawPeer& peer) { peer.put(std::string(100, 'G')); }},
      {"a record in plaintext",
       [](RawPeer& peer) { peer.put(std::string("\x17\3\3\0\5hello", 10)); }},
  };
  for (const auto& each : cases) {
    Conduct conduct;
    conduct.send = "hello";
    RawAnswer answer;
    const Seen seen = run(
        [&](RawPeer& peer) {
          EXPECT_EQ(peer.read_data(5), "hello") << each.what;
          peer.data("one").send();
          each.put(peer);
          peer.data("unheard").send();
          answer = peer.read_to_end();
        },
        conduct);
    EXPECT_EQ(seen.received.substr(0, 3), "one") << each.what;
    EXPECT_EQ(seen.received.find("unheard"), std::string::npos) << each.what;
    EXPECT_EQ(seen.end, StreamEnd::failed) << each.what << ": " << seen.error;
    EXPECT_NE(answer.alert(), kCloseNotify) << each.what << " must not look like a clean end";
  }
}

TEST_P(StreamTlsTest, AFinishedStreamHearsThePeerOut) {
  RawAnswer answer;
  Conduct conduct;
  conduct.send = "all we say";
  conduct.finish_when_sent = true;
  const Seen seen = run(
      [&](RawPeer& peer) {
        answer = peer.read_to_end();
        peer.data("and yet").close_notify().send();
      },
      conduct);
  EXPECT_EQ(answer.data, "all we say");
  EXPECT_EQ(answer.alert(), kCloseNotify);
  EXPECT_EQ(answer.ended, "fin");
  EXPECT_EQ(seen.received, "and yet");
  EXPECT_EQ(seen.end, StreamEnd::clean) << seen.error;
}

TEST_P(StreamTlsTest, ACloseByResetReachesThePeerAsAReset) {
  RawAnswer answer;
  Conduct conduct;
  conduct.close_at = 3;
  const Seen seen = run(
      [&](RawPeer& peer) {
        peer.data("one").send();
        answer = peer.read_to_end();
      },
      conduct);
  EXPECT_EQ(seen.received, "one");
  EXPECT_EQ(seen.end, std::nullopt);
  EXPECT_EQ(answer.ended, "reset");
}

INSTANTIATE_TEST_SUITE_P(Ways, StreamTlsTest, testing::ValuesIn(ways_here()),
                         [](const auto& each) { return name_of(each.param); });

}  // namespace
}  // namespace tollgate::proxy
