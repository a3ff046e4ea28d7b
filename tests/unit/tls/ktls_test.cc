// What is ours of kernel TLS: keys, counting, and the records that are not data. The kernel's part
// is played by the test, and is real in tests/unit/proxy/stream_tls_test.
#include "userspace/tls/ktls.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "userspace/tls/kernel_channel.h"
#include "userspace/tls/kernel_way.h"

namespace tollgate::tls {
namespace {

using State = Channel::State;

std::vector<unsigned char> from_hex(std::string_view hex) {
  std::vector<unsigned char> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(
        static_cast<unsigned char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

std::vector<unsigned char> expanded(Suite suite, const TrafficSecret& secret, const char* label,
                                    size_t size) {
  std::vector<unsigned char> out(size);
  expand_label(suite, secret, label, out);
  return out;
}

// RFC 8448, 3: the application traffic secrets of the simple handshake.
constexpr const char* kClientSecret =
    "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
constexpr const char* kServerSecret =
    "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";

TEST(ExpandLabel, GivesTheKeysOfRfc8448) {
  struct {
    const char* what;
    const char* secret;
    const char* key;
    const char* iv;
  } const rows[] = {
      {"server", kServerSecret, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
      {"client", kClientSecret, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
  };
  for (const auto& row : rows) {
    const TrafficSecret secret(from_hex(row.secret));
    EXPECT_EQ(expanded(Suite::aes_128_gcm, secret, "key", 16), from_hex(row.key)) << row.what;
    EXPECT_EQ(expanded(Suite::aes_128_gcm, secret, "iv", 12), from_hex(row.iv)) << row.what;
  }
}

TEST(NextSecret, IsAnotherOfTheSameSize) {
  for (const auto& [suite, size] :
       {std::pair{Suite::aes_128_gcm, size_t{32}}, std::pair{Suite::aes_256_gcm, size_t{48}},
        std::pair{Suite::chacha20_poly1305, size_t{32}}}) {
    const std::vector<unsigned char> bytes(size, 7);
    const TrafficSecret first{bytes};
    const TrafficSecret second = next_secret(suite, first);
    const TrafficSecret third = next_secret(suite, second);
    EXPECT_EQ(second.reveal().size(), size);
    EXPECT_FALSE(std::equal(second.reveal().begin(), second.reveal().end(), bytes.begin()));
    EXPECT_FALSE(std::equal(third.reveal().begin(), third.reveal().end(), second.reveal().begin()));
  }
}

TEST(TrafficSecret, IsGoneFromWhereItWasMoved) {
  const auto bytes = from_hex(kClientSecret);
  TrafficSecret first(bytes);
  const TrafficSecret second(std::move(first));
  EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): it is what is asked
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), second.reveal().begin()));
}

// ---- counting records ---------------------------------------------------------------------------

std::string record(size_t bytes, char type = 23) {
  return std::string{type, 3, 3, static_cast<char>(bytes >> 8), static_cast<char>(bytes)} +
         std::string(bytes, 'r');
}

TEST(RecordCounter, CountsAtEverySplitAndKnowsWhatIsMissing) {
  const std::string wire = record(1) + record(300) + record(16'640);
  for (size_t split = 0; split <= wire.size(); split += split < 320 ? 1 : 997) {
    RecordCounter counter;
    const auto bytes = std::as_bytes(std::span(wire));
    ASSERT_TRUE(counter.take(bytes.first(split)));
    // What it asks for completes the record, or the header that tells.
    size_t at = split;
    while (counter.missing() != 0) {
      ASSERT_TRUE(counter.take(bytes.subspan(at, 1)));
      ++at;
    }
    EXPECT_TRUE(at == 0 || at == 6 || at == 311 || at == wire.size()) << split;
    ASSERT_TRUE(counter.take(bytes.subspan(at)));
    EXPECT_EQ(counter.records(), 3u) << split;
    EXPECT_EQ(counter.missing(), 0u) << split;
  }
}

TEST(RecordCounter, AsksForTheHeaderThenForTheBody) {
  RecordCounter counter;
  const std::string wire = record(300);
  const auto bytes = std::as_bytes(std::span(wire));
  ASSERT_TRUE(counter.take(bytes.first(2)));
  EXPECT_EQ(counter.missing(), 3u);
  ASSERT_TRUE(counter.take(bytes.subspan(2, 3)));
  EXPECT_EQ(counter.missing(), 300u);
  ASSERT_TRUE(counter.take(bytes.subspan(5, 299)));
  EXPECT_EQ(counter.missing(), 1u);
}

TEST(RecordCounter, RefusesWhatIsNotEncrypted) {
  for (const char type : {char{20}, char{21}, char{22}}) {
    RecordCounter counter;
    const std::string wire = record(10, type);
    EXPECT_FALSE(counter.take(std::as_bytes(std::span(wire)))) << int{type};
  }
}

TEST(KernelWay, KeepsTheTwoSecretsOfTheDataAndNoOther) {
  KernelWay way;
  way.use.suites.fill(true);
  const std::string random(64, 'a');
  way.keep_secret("CLIENT_HANDSHAKE_TRAFFIC_SECRET " + random + " " + kClientSecret);
  way.keep_secret("EXPORTER_SECRET " + random + " " + kClientSecret);
  EXPECT_FALSE(way.can_carry(Suite::aes_128_gcm));
  way.keep_secret("CLIENT_TRAFFIC_SECRET_0 " + random + " " + kClientSecret);
  EXPECT_FALSE(way.can_carry(Suite::aes_128_gcm));
  way.keep_secret("SERVER_TRAFFIC_SECRET_0 " + random + " " + kServerSecret);
  EXPECT_TRUE(way.can_carry(Suite::aes_128_gcm));
  const KernelKeys keys = way.take_keys(Suite::aes_128_gcm, /*server=*/true);
  const auto server = from_hex(kServerSecret);
  EXPECT_TRUE(std::equal(server.begin(), server.end(), keys.send.reveal().begin()));
}

// ---- the records that are not data --------------------------------------------------------------

constexpr uint8_t kAlert = 21;
constexpr uint8_t kHandshake = 22;
const std::string kUpdate("\x18\0\0\1\0", 5);
const std::string kUpdateRequested("\x18\0\0\1\1", 5);

struct Lab {
  explicit Lab(bool rekeys = true, uint64_t records_max = 1000,
               KernelChannel::Side side = KernelChannel::Side::server) {
    KernelUse use;
    use.suites.fill(true);
    use.rekey = rekeys;
    use.records_per_key_max = records_max;
    KernelKeys keys;
    keys.send = TrafficSecret(from_hex(kServerSecret));
    keys.receive = TrafficSecret(from_hex(kClientSecret));
    keys.records_sent = 2;
    keys.records_received = 3;
    auto made = KernelChannel::make(
        side, std::move(keys), use,
        [this](Direction direction, const TrafficSecret& secret, uint64_t from) -> Status {
          if (refuses) return Error{Fault::system, EBUSY, "set keys: busy", {}};
          const auto bytes = secret.reveal();
          set.push_back({direction, from, {bytes.begin(), bytes.end()}});
          return {};
        },
        [this](Direction direction) { return sequence[static_cast<size_t>(direction)]; });
    EXPECT_TRUE(made);
    channel = std::move(*made);
  }
  Status take(uint8_t type, const std::string& bytes) {
    return channel->receive_control(type, std::as_bytes(std::span(bytes)));
  }
  // The next record that must go out, as text: its type, then its bytes.
  std::string next(bool data_waits = false) {
    const auto control = channel->take_control(data_waits);
    if (!control) return {};
    return static_cast<char>(control->type) +
           std::string(reinterpret_cast<const char*>(control->bytes.data()), control->bytes.size());
  }

  struct Set {
    Direction direction;
    uint64_t sequence;
    std::vector<unsigned char> secret;
  };
  std::vector<Set> set;
  std::array<uint64_t, 2> sequence{2, 3};
  bool refuses = false;
  std::unique_ptr<KernelChannel> channel;
};

std::string alert(int description) {
  return {kAlert, description == 0 ? char{1} : char{2}, static_cast<char>(description)};
}

TEST(KernelChannel, GoesOnWhereTheHandshakeStopped) {
  Lab lab;
  ASSERT_EQ(lab.set.size(), 2u);
  EXPECT_EQ(lab.set[0].direction, Direction::send);
  EXPECT_EQ(lab.set[0].sequence, 2u);
  EXPECT_EQ(lab.set[0].secret, from_hex(kServerSecret));
  EXPECT_EQ(lab.set[1].direction, Direction::receive);
  EXPECT_EQ(lab.set[1].sequence, 3u);
  EXPECT_EQ(lab.channel->path(), "ktls");
  EXPECT_EQ(lab.channel->state(), State::open);
}

TEST(KernelChannel, ReadsAlerts) {
  struct {
    const char* what;
    std::string bytes;
    bool ok;
    bool closed;
    std::string answer;
  } const rows[] = {
      {"close_notify", {1, 0}, true, true, ""},
      {"close_notify called fatal", {2, 0}, true, true, ""},
      {"user_canceled", {1, 90}, true, false, ""},
      {"bad_record_mac", {2, 20}, false, false, ""},
      {"an error called a warning", {1, 40}, false, false, ""},
      {"empty", "", false, false, alert(50)},
      {"one byte", {1}, false, false, alert(50)},
      {"two in one record", {1, 90, 1, 0}, false, false, alert(50)},
  };
  for (const auto& row : rows) {
    Lab lab;
    EXPECT_EQ(static_cast<bool>(lab.take(kAlert, row.bytes)), row.ok) << row.what;
    EXPECT_EQ(lab.channel->peer_closed(), row.closed) << row.what;
    EXPECT_EQ(lab.channel->state(), row.ok ? State::open : State::failed) << row.what;
    EXPECT_EQ(lab.next(), row.answer) << row.what;
  }
}

TEST(KernelChannel, ReceivesUnderTheNextKeyAfterAKeyUpdate) {
  Lab lab;
  ASSERT_TRUE(lab.take(kHandshake, kUpdate));
  ASSERT_EQ(lab.set.size(), 3u);
  EXPECT_EQ(lab.set[2].direction, Direction::receive);
  EXPECT_EQ(lab.set[2].sequence, 0u);
  const TrafficSecret first(from_hex(kClientSecret));
  const auto second = next_secret(Suite::aes_128_gcm, first);
  EXPECT_EQ(lab.set[2].secret,
            std::vector<unsigned char>(second.reveal().begin(), second.reveal().end()));
  EXPECT_EQ(lab.next(), "") << "nothing was asked of us";
}

TEST(KernelChannel, AnswersUnderTheOldKeyAndThenChangesIt) {
  Lab lab;
  ASSERT_TRUE(lab.take(kHandshake, kUpdateRequested));
  ASSERT_TRUE(lab.take(kHandshake, kUpdateRequested));
  EXPECT_EQ(lab.next(/*data_waits=*/true), static_cast<char>(kHandshake) + kUpdate);
  EXPECT_EQ(lab.set.size(), 4u) << "receiving twice, sending not yet";
  ASSERT_TRUE(lab.channel->control_sent());
  ASSERT_EQ(lab.set.size(), 5u);
  EXPECT_EQ(lab.set[4].direction, Direction::send);
  EXPECT_EQ(lab.next(), "") << "one answer is enough for both";
}

TEST(KernelChannel, EndsHonestlyWhereTheKernelCannotRekey) {
  Lab lab(/*rekeys=*/false);
  EXPECT_FALSE(lab.take(kHandshake, kUpdateRequested));
  EXPECT_EQ(lab.set.size(), 2u);
  EXPECT_EQ(lab.next(), alert(0));
  EXPECT_EQ(lab.next(), "");
}

TEST(KernelChannel, EndsWhenTheKernelRefusesAKey) {
  Lab receiving;
  receiving.refuses = true;
  EXPECT_FALSE(receiving.take(kHandshake, kUpdate));
  EXPECT_EQ(receiving.next(), alert(80));
  Lab sending;
  ASSERT_TRUE(sending.take(kHandshake, kUpdateRequested));
  ASSERT_NE(sending.next(), "");
  sending.refuses = true;
  EXPECT_FALSE(sending.channel->control_sent());
  EXPECT_EQ(sending.channel->state(), State::failed);
  EXPECT_EQ(sending.next(), "") << "there is no key left to say so";
}

TEST(KernelChannel, SaysItsLastWordUnderTheKeyThatTheAnswerPromised) {
  Lab lab;
  ASSERT_TRUE(lab.take(kHandshake, kUpdateRequested));
  ASSERT_NE(lab.next(), "");
  EXPECT_FALSE(lab.take(99, "x"));
  ASSERT_TRUE(lab.channel->control_sent());
  EXPECT_EQ(lab.set.back().direction, Direction::send);
  EXPECT_EQ(lab.next(), alert(10));
}

TEST(KernelChannel, RefusesWhatIsNoRecordOfOurs) {
  using Side = KernelChannel::Side;
  const std::string ticket("\4\0\0\2xy", 6);
  struct {
    const char* what;
    Side side;
    uint8_t type;
    std::string bytes;
    int alert;
  } const rows[] = {
      {"change_cipher_spec", Side::server, 20, {1}, 10},
      {"unknown type", Side::server, 99, {1}, 10},
      {"empty handshake record", Side::server, kHandshake, "", 10},
      {"ticket from a client", Side::server, kHandshake, ticket, 10},
      {"hello request", Side::client, kHandshake, std::string(4, '\0'), 10},
      {"certificate request", Side::client, kHandshake, std::string("\x0d\0\0\0", 4), 10},
      {"KeyUpdate of two bytes", Side::server, kHandshake, std::string("\x18\0\0\2\0\0", 6), 50},
      {"KeyUpdate asks for 2", Side::server, kHandshake, std::string("\x18\0\0\1\2", 5), 47},
      {"two KeyUpdates in a record", Side::server, kHandshake, kUpdate + kUpdate, 10},
      {"endless ticket", Side::client, kHandshake, std::string("\4\xff\xff\xff", 4), 50},
  };
  for (const auto& row : rows) {
    Lab lab(true, 1000, row.side);
    EXPECT_FALSE(lab.take(row.type, row.bytes)) << row.what;
    EXPECT_EQ(lab.next(), alert(row.alert)) << row.what;
    EXPECT_EQ(lab.set.size(), 2u) << row.what;
  }
}

TEST(KernelChannel, ReadsMessagesAtEverySplit) {
  const std::string messages = std::string("\4\0\0\7ticket1", 11) + std::string("\4\0\0\0", 4) +
                               std::string("\4\0\0\1z", 5) + kUpdateRequested;
  for (size_t split = 1; split < messages.size(); ++split) {
    Lab lab(true, 1000, KernelChannel::Side::client);
    ASSERT_TRUE(lab.take(kHandshake, messages.substr(0, split))) << split;
    EXPECT_EQ(lab.set.size(), 2u) << split;
    ASSERT_TRUE(lab.take(kHandshake, messages.substr(split))) << split;
    EXPECT_EQ(lab.set.size(), 3u) << split;
  }
}

TEST(KernelChannel, RefusesDataInsideAMessage) {
  Lab lab(true, 1000, KernelChannel::Side::client);
  ASSERT_TRUE(lab.take(kHandshake, std::string("\4\0\0\7ti", 6)));
  Bytes out;
  const std::string data = "data";
  EXPECT_FALSE(lab.channel->receive(
      std::as_bytes(std::span(data)), [](auto) {}, out));
  EXPECT_EQ(lab.next(), alert(10));
}

TEST(KernelChannel, BoundsThePeersKeyUpdates) {
  Lab lab;
  for (uint32_t i = 0; i < kKeyUpdatesMax; ++i)
    ASSERT_TRUE(lab.take(kHandshake, kUpdate));
  EXPECT_FALSE(lab.take(kHandshake, kUpdate));
  EXPECT_EQ(lab.next(), alert(10));
}

TEST(KernelChannel, ChangesItsKeyBeforeItIsUsedUp) {
  Lab lab(/*rekeys=*/true, /*records_max=*/10);
  ASSERT_TRUE(lab.channel->count_sent(7 * 16'384));
  EXPECT_EQ(lab.next(), "") << "two of the handshake's and seven";
  ASSERT_TRUE(lab.channel->count_sent(1));
  EXPECT_EQ(lab.next(true), static_cast<char>(kHandshake) + kUpdate);
  ASSERT_TRUE(lab.channel->control_sent());
  ASSERT_TRUE(lab.channel->count_sent(9 * 16'384));
  EXPECT_EQ(lab.next(), "");
  ASSERT_TRUE(lab.channel->count_sent(16'385));
  EXPECT_NE(lab.next(), "") << "and again";
}

TEST(KernelChannel, ClosesBeforeAKeyIsUsedUpThatCannotBeChanged) {
  Lab lab(/*rekeys=*/false, /*records_max=*/10);
  ASSERT_TRUE(lab.channel->count_sent(7 * 16'384));
  EXPECT_FALSE(lab.channel->count_sent(1));
  EXPECT_EQ(lab.next(), alert(0));
  Bytes out;
  EXPECT_FALSE(lab.channel->send(std::as_bytes(std::span("x")), out));
}

TEST(KernelChannel, CloseNotifyWaitsForTheData) {
  Lab lab;
  Bytes out;
  lab.channel->close(out);
  lab.channel->close(out);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(lab.next(/*data_waits=*/true), "");
  EXPECT_EQ(lab.next(), alert(0));
  EXPECT_EQ(lab.next(), "");
  std::string got;
  const std::string data = "late";
  ASSERT_TRUE(lab.channel->receive(
      std::as_bytes(std::span(data)), [&](auto plain) { got.resize(plain.size()); }, out));
  EXPECT_EQ(got.size(), 4u) << "our direction alone is closed";
}

TEST(KernelChannel, NamesARecordThatIsNotThePeers) {
  Lab lab;
  lab.channel->receive_failed(EBADMSG);
  EXPECT_EQ(lab.next(), alert(20));
  Lab reset;
  reset.channel->receive_failed(ECONNRESET);
  EXPECT_EQ(reset.next(), "");
}

TEST(KernelChannel, CountsRecordsOverKeys) {
  Lab lab;
  EXPECT_EQ(lab.channel->records(Direction::receive), 0u) << "those of the handshake do not count";
  lab.sequence[1] = 10;
  EXPECT_EQ(lab.channel->records(Direction::receive), 7u);
  ASSERT_TRUE(lab.take(kHandshake, kUpdate));
  lab.sequence[1] = 5;
  EXPECT_EQ(lab.channel->records(Direction::receive), 12u);
}

TEST(KernelTls, TheProbeSaysWhatIsMissing) {
  const KernelTls found = probe_kernel_tls();
  EXPECT_EQ(found.available, found.use.any());
  EXPECT_TRUE(found.available || !found.use.rekey);
  EXPECT_EQ(found.reason.empty(), found.available && found.use.rekey && found.use.suites[0] &&
                                      found.use.suites[1] && found.use.suites[2])
      << found.reason;
  std::printf("kernel TLS: %s, rekey %s%s%s\n", found.available ? "yes" : "no",
              found.use.rekey ? "yes" : "no", found.reason.empty() ? "" : ": ",
              found.reason.c_str());
}

}  // namespace
}  // namespace tollgate::tls
