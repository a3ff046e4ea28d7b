#include "ringbuf/record.h"

#include <gtest/gtest.h>

#include "tests/unit/ringbuf/sample.h"

namespace tollgate::ringbuf {
namespace {

std::vector<std::byte> encoded(const Record& record) {
  std::vector<std::byte> bytes;
  encode(record, bytes);
  return bytes;
}

UsageRecord through(const UsageRecord& usage) {
  auto decoded = decode(encoded({1, usage}));
  EXPECT_TRUE(decoded) << decoded.error().text;
  return std::get<UsageRecord>(decoded->body);
}

TEST(Record, RoundTripsEveryField) {
  for (const Record& record :
       {Record{1, sample_usage()}, Record{UINT64_MAX, sample_flow()}, Record{3, sample_hold()},
        Record{0, UsageRecord{}}, Record{5, FlowRecord{}}, Record{6, HoldRecord{}}}) {
    auto decoded = decode(encoded(record));
    ASSERT_TRUE(decoded) << decoded.error().text;
    EXPECT_EQ(*decoded, record);
  }
}

TEST(Record, RoundTripsAnyRecordWithinItsBounds) {
  std::mt19937_64 random(1);
  for (uint64_t i = 0; i < 2000; ++i) {
    Record record{i, random_usage(random)};
    if (i % 2 == 1) record.body = HoldRecord{random_usage(random)};
    const auto bytes = encoded(record);
    ASSERT_LE(bytes.size(), kRecordBytesMax);
    auto decoded = decode(bytes);
    ASSERT_TRUE(decoded) << decoded.error().text;
    ASSERT_EQ(*decoded, record);
    ASSERT_EQ(encoded(*decoded), bytes);
  }
}

TEST(Record, AppendsBehindWhatIsThere) {
  std::vector<std::byte> bytes(kRecordBytesMax, std::byte{0xaa});
  encode({1, sample_usage()}, bytes);
  auto decoded = decode(std::span(bytes).subspan(kRecordBytesMax));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<UsageRecord>(decoded->body), sample_usage());
}

TEST(Record, RefusesEveryTruncationAndEveryTrailingByte) {
  for (const Record& record :
       {Record{1, sample_usage()}, Record{1, sample_flow()}, Record{1, sample_hold()}}) {
    auto bytes = encoded(record);
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode(std::span(bytes).first(size))) << size;
    }
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(decode(bytes));
  }
}

TEST(Record, RefusesEveryOtherVersionAndKind) {
  const auto decodes = [good = encoded({1, sample_usage()})](size_t offset, uint32_t value) {
    auto bytes = good;
    bytes[offset] = static_cast<std::byte>(value);
    bytes[offset + 1] = static_cast<std::byte>(value >> 8);
    return decode(bytes).has_value();
  };
  for (uint32_t value = 0; value <= UINT16_MAX; ++value) {
    ASSERT_EQ(decodes(0, value), value == kRecordVersion) << "version " << value;
    // A hold has the fields of usage, so only the kind tells them apart.
    ASSERT_EQ(decodes(2, value), value == 1 || value == 3) << "kind " << value;
  }
}

// As version 2 wrote them: without the three numbers about the connection to the provider.
std::vector<std::byte> of_version_2(const Record& record) {
  constexpr auto kUpstreamAt = 12 + 178;
  auto bytes = encoded(record);
  bytes[0] = std::byte{2};
  bytes.erase(bytes.begin() + kUpstreamAt, bytes.begin() + kUpstreamAt + 24);
  return bytes;
}

TEST(Record, AHoldThatACrashLeftBeforeTheUpgradeIsRead) {
  const auto decoded = decode(of_version_2({1, sample_hold()}));
  ASSERT_TRUE(decoded) << decoded.error().text;
  EXPECT_EQ(std::get<HoldRecord>(decoded->body), sample_hold());
  EXPECT_FALSE(decode(of_version_2({1, sample_usage()}))) << "usage is never kept encoded";
}

TEST(Record, AHoldIsNeverTakenForUsage) {
  const auto hold = decode(encoded({1, HoldRecord{sample_usage()}}));
  const auto usage = decode(encoded({1, sample_usage()}));
  ASSERT_TRUE(hold && usage);
  EXPECT_TRUE(std::holds_alternative<HoldRecord>(hold->body));
  EXPECT_TRUE(std::holds_alternative<UsageRecord>(usage->body));
}

TEST(Record, RefusesEveryUnknownEnumValueAndFlag) {
  // Where the outcome lies: header 12, id 16, three times 24, peer 4, five counts 40, cost 8.
  constexpr size_t kOutcomeAt = 12 + 16 + 24 + 4 + 40 + 8;
  constexpr size_t kEstimatedAt = kOutcomeAt + 1 + 4;
  constexpr size_t kEventAt = 12;
  const struct {
    const char* what;
    Record record;
    size_t at;
    unsigned first;
    unsigned last;
  } rows[] = {{"outcome", {1, sample_usage()}, kOutcomeAt, 1, 8},
              {"outcome of a hold", {1, sample_hold()}, kOutcomeAt, 1, 8},
              {"estimated", {1, sample_usage()}, kEstimatedAt, 0, 1},
              {"flow event", {1, sample_flow()}, kEventAt, 1, 5}};
  for (const auto& row : rows) {
    for (unsigned value = 0; value < 256; ++value) {
      auto bytes = encoded(row.record);
      bytes[row.at] = static_cast<std::byte>(value);
      EXPECT_EQ(decode(bytes).has_value(), value >= row.first && value <= row.last)
          << row.what << " " << value;
    }
  }
}

TEST(Record, CutsTextAtACharacter) {
  const std::string euro = "\xe2\x82\xac";
  const struct {
    const char* what;
    std::string in;
    size_t kept;
  } rows[] = {
      {"at the bound: whole", std::string(512, 'a'), 512},
      {"one over: cut", std::string(513, 'a'), 512},
      {"a character ends at the bound", std::string(509, 'a') + euro, 512},
      {"a character straddles by one", std::string(510, 'a') + euro, 510},
      {"a character straddles by two", std::string(511, 'a') + euro, 511},
      {"four bytes straddle", std::string(509, 'a') + "\xf0\x9f\x98\x80", 509},
      {"no UTF-8 at all", std::string(600, '\x80'), 512},
  };
  for (const auto& row : rows) {
    UsageRecord usage = sample_usage();
    usage.user = row.in;
    EXPECT_EQ(through(usage).user, row.in.substr(0, row.kept)) << row.what;
  }
}

TEST(Record, CutsClaimsShorter) {
  UsageRecord usage = sample_usage();
  usage.session_id = std::string(128, 's');
  usage.subagent = std::string(129, 's');
  EXPECT_EQ(through(usage).session_id.size(), 128u);
  EXPECT_EQ(through(usage).subagent.size(), 128u);
}

TEST(Record, TheLargestRecordFitsWithAGroup) {
  const std::string huge(100'000, 'x');
  UsageRecord usage = sample_usage();
  for (auto* text : {&usage.peer_address, &usage.user, &usage.policy, &usage.provider,
                     &usage.key_name, &usage.endpoint, &usage.model_asked, &usage.model_served,
                     &usage.model_reported, &usage.tier, &usage.price_version, &usage.refusal_code,
                     &usage.response_id, &usage.session_id, &usage.thread_id, &usage.subagent}) {
    *text = huge;
  }
  usage.groups.assign(kGroupsMax + 1, huge);
  EXPECT_LE(encoded({1, usage}).size(), kRecordBytesMax);
  EXPECT_LE(encoded({1, HoldRecord{usage}}).size(), kRecordBytesMax);
  EXPECT_GE(through(usage).groups.size(), 1u);
}

TEST(Record, KeepsTheFirstGroupsUpToTheirBound) {
  UsageRecord usage;
  for (size_t i = 0; i < kGroupsMax + 1; ++i)
    usage.groups.push_back(std::to_string(i));
  const auto kept = through(usage).groups;
  ASSERT_EQ(kept.size(), kGroupsMax);
  EXPECT_EQ(kept.back(), std::to_string(kGroupsMax - 1));
}

TEST(Record, RefusesMoreBytesThanAnyRecordHas) {
  EXPECT_FALSE(decode(std::vector<std::byte>(kRecordBytesMax + 1)));
}

TEST(Record, SurvivesEverySingleByteChange) {
  const auto good = encoded({1, sample_usage()});
  for (size_t at = 0; at < good.size(); ++at) {
    for (const unsigned flip : {0x01u, 0x80u, 0xffu}) {
      auto bytes = good;
      bytes[at] ^= static_cast<std::byte>(flip);
      const auto decoded = decode(bytes);
      if (decoded) {
        EXPECT_EQ(encoded(*decoded), bytes);
      }
    }
  }
}

TEST(Record, OutcomeNamesRoundTrip) {
  for (int i = 1; i <= 8; ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_EQ(parse_outcome(to_string(outcome)), outcome);
  }
  EXPECT_EQ(parse_outcome("unknown"), std::nullopt);
  EXPECT_EQ(parse_outcome(""), std::nullopt);
}

}  // namespace
}  // namespace tollgate::ringbuf
