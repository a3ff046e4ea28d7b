// Who may take over from whom.
#include "userspace/daemon/upgrade.h"

#include <gtest/gtest.h>

namespace tollgate::daemon {
namespace {

TEST(Upgrade, OnlyBetweenDaemonsThatMeanTheSame) {
  policy::GatewayConfig gateway;
  gateway.listen = {*parse_endpoint("10.99.0.1:443")};
  const Hello ours = own_hello(gateway);
  const struct {
    const char* description;
    void (*change)(Hello&);
    bool good;
  } rows[] = {
      {"the same", [](Hello&) {}, true},
      {"another release", [](Hello& h) { h.release = "9.9"; }, true},
      {"another protocol", [](Hello& h) { ++h.protocol; }, false},
      {"other records", [](Hello& h) { ++h.records; }, false},
      {"other maps", [](Hello& h) { ++h.bpf_abi; }, false},
      {"another schema", [](Hello& h) { ++h.ledger; }, false},
      {"another steering", [](Hello& h) { h.steering = "userspace"; }, false},
      {"another address", [](Hello& h) { h.listen = {"10.99.0.2:443"}; }, false},
  };
  for (const auto& row : rows) {
    Hello theirs = ours;
    row.change(theirs);
    const Status alike = check_alike(ours, theirs);
    EXPECT_EQ(alike.has_value(), row.good) << row.description;
    const std::string hint = alike ? "stop" : alike.error().hint;
    EXPECT_NE(hint.find("stop"), std::string::npos) << row.description;
  }
}

TEST(Upgrade, CountsEachChargeOnceAcrossBothPartsOfTheFilling) {
  Predecessor before{Connection(UniqueFd())};
  before.overlap_since_ms = 1'000;
  const auto row = [](uint64_t id, int64_t settled_ms) {
    ledger::ChargeRow charge;
    charge.id = {1, id};
    charge.settled_window_ms = settled_ms;
    return charge;
  };
  EXPECT_TRUE(before.counts(row(1, 10))) << "long ago";
  EXPECT_TRUE(before.counts(row(2, 1'500))) << "just now";
  // The second part.
  EXPECT_FALSE(before.counts(row(2, 1'500))) << "counted";
  EXPECT_TRUE(before.counts(row(3, 1'400))) << "settled before, durable after the first part";
  before.holds.emplace(RequestId{1, 4}, ringbuf::HoldRecord{});
  EXPECT_FALSE(before.counts(row(4, 1'600))) << "its hold is still counted";
}

}  // namespace
}  // namespace tollgate::daemon
