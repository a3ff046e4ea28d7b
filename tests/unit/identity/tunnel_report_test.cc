#include "userspace/identity/tunnel_report.h"

#include <gtest/gtest.h>

namespace tollgate::identity {
namespace {

const std::string kKey = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=";

std::vector<Tunnel> sample() {
  Tunnel tunnel;
  tunnel.name = "wg0";
  tunnel.ifindex = 7;
  tunnel.up = true;
  tunnel.wireguard = true;
  TunnelPeer peer;
  peer.public_key = kKey;
  peer.allowed = {*parse_prefix("10.0.0.2"), *parse_prefix("fd99::/64"),
                  *parse_prefix("0.0.0.0/0")};
  peer.endpoint = "192.0.2.1:51820";
  peer.last_handshake_unix_s = 1'700'000'000;
  tunnel.peers = {peer};
  Tunnel gone;
  gone.name = "tun1";
  return {tunnel, gone};
}

TEST(TunnelReport, ReadsBackWhatItWrote) {
  const auto read = parse_report(report_text(sample()), {"wg0", "tun1"});
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(*read, sample());
}

TEST(TunnelReport, RefusesWhatIsNotOneOfOurs) {
  const std::vector<std::string> names = {"wg0", "tun1"};
  const std::string good = report_text(sample());
  for (size_t length = 0; length < good.size(); ++length)
    EXPECT_FALSE(parse_report(good.substr(0, length), names)) << length;
  const struct {
    const char* description;
    const char* from;
    const char* to;
  } rows[] = {
      {"another tunnel", "\"name\":\"tun1\"", "\"name\":\"tun2\""},
      {"negative index", "\"ifindex\":7", "\"ifindex\":-7"},
      {"too great an index", "\"ifindex\":7", "\"ifindex\":4294967296"},
      {"text for truth", "\"up\":true", "\"up\":\"true\""},
      {"another key", "YWFhYWFh", "YWFh===="},
      {"no prefix", "10.0.0.2", "10.0.0.2/33"},
      {"no endpoint", "192.0.2.1:51820", "192.0.2.1"},
      {"fractional time", "1700000000", "1.5"},
  };
  for (const auto& row : rows) {
    std::string text = good;
    const size_t at = text.find(row.from);
    ASSERT_NE(at, text.npos) << row.description;
    text.replace(at, std::strlen(row.from), row.to);
    EXPECT_FALSE(parse_report(text, names)) << row.description;
  }
  EXPECT_FALSE(parse_report(good, {"wg0"}));
  EXPECT_FALSE(parse_report("null", {}));
}

}  // namespace
}  // namespace tollgate::identity
