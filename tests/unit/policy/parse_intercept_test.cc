#include <gtest/gtest.h>

#include "policy/policy_parse.h"
#include "tests/unit/policy/config_text.h"

namespace tollgate::policy {
namespace {

const std::string kIntercept = R"([[intercept]]
host = "api.openai.com"
destinations = ["198.51.100.0/24", "2001:db8:7::/48"]
certificate = "/i.pem"
private_key = "/i.key"
)";

TEST(ParseIntercept, ReadsEveryKey) {
  const std::string text = kMinimal + replaced(kIntercept, "api.openai", "API.OpenAI");
  EXPECT_EQ(told(text), "");
  const auto parsed = parse_config(text);
  const auto& intercepts = std::get<Config>(parsed).intercepts;
  ASSERT_EQ(intercepts.size(), 1u);
  EXPECT_EQ(intercepts[0].host, "api.openai.com") << "names are compared in lower case";
  EXPECT_EQ(intercepts[0].certificate, "/i.pem");
  EXPECT_EQ(intercepts[0].private_key, "/i.key");
  ASSERT_EQ(intercepts[0].destinations.size(), 2u);
  EXPECT_EQ(intercepts[0].destinations[0], *parse_prefix("198.51.100.0/24"));
  EXPECT_EQ(intercepts[0].destinations[1], *parse_prefix("2001:db8:7::/48"));
}

TEST(ParseIntercept, TwoHostsMayShareTheirAddresses) {
  EXPECT_EQ(told(kMinimal + kIntercept + replaced(kIntercept, "api.openai", "chat.openai")), "");
}

TEST(ParseIntercept, ExplainsEachMistake) {
  struct Row {
    const char* description;
    const char* from;
    const char* to;
    const char* said;
  };
  const Row rows[] = {
      {"no host", "host = \"api.openai.com\"\n", "", "host: is missing"},
      {"an address as host", "api.openai.com", "198.51.100.7", "is no host name"},
      {"a port behind the host", "api.openai.com", "api.openai.com:443", "is no host name"},
      {"no destinations", "destinations = [\"198.51.100.0/24\", \"2001:db8:7::/48\"]\n", "",
       "destinations: is missing"},
      {"an empty list", "[\"198.51.100.0/24\", \"2001:db8:7::/48\"]", "[]", "names no address"},
      {"a name", "198.51.100.0/24", "api.openai.com", "is no address or prefix"},
      {"bits behind the prefix", "198.51.100.0/24", "198.51.100.7/24", "is no address or prefix"},
      {"twice", "2001:db8:7::/48", "198.51.100.0/24", "is there twice"},
      {"all of IPv4", "198.51.100.0/24", "0.0.0.0/0", "would intercept everything"},
      {"all of IPv6", "2001:db8:7::/48", "::/0", "would intercept everything"},
      {"IPv6 that holds all of IPv4", "2001:db8:7::/48", "::/64", "would intercept everything"},
      {"our own address", "198.51.100.0/24", "10.99.0.0/24", "the gateway's own 10.99.0.1:443"},
      {"our own address alone", "198.51.100.0/24", "10.99.0.1", "the gateway's own 10.99.0.1:443"},
      {"loopback", "198.51.100.0/24", "127.0.0.0/8", "contains a loopback address"},
      {"no certificate", "certificate = \"/i.pem\"\n", "", "certificate: is missing"},
      {"a relative key", "/i.key", "i.key", "is no absolute path"},
      {"an unknown key", "host =", "hots =", "hots"},
  };
  for (const Row& row : rows) {
    const std::string text = kMinimal + replaced(kIntercept, row.from, row.to);
    EXPECT_NE(told(text).find(row.said), std::string::npos)
        << row.description << ": " << told(text);
  }
  EXPECT_NE(told(kMinimal + kIntercept + kIntercept).find("all its destinations in one"),
            std::string::npos);
}

TEST(ParseIntercept, NextToTheGatewaysOwnAddressIsTaken) {
  EXPECT_EQ(told(kMinimal + replaced(kIntercept, "198.51.100.0/24", "10.99.0.2")), "");
}

TEST(ParseIntercept, NeedsSteeringInTheKernelAndTls) {
  const std::string userspace =
      replaced(kMinimal, "tunnels =", "steering = \"userspace\"\ntunnels =");
  EXPECT_EQ(told(userspace), "");
  EXPECT_NE(told(userspace + kIntercept).find("steering = \"bpf\""), std::string::npos);
  const std::string plain = replaced(kMinimal, "tunnels =", "plain_http = true\ntunnels =");
  EXPECT_EQ(told(plain), "");
  EXPECT_NE(told(plain + kIntercept).find("plain_http = false"), std::string::npos);
}

}  // namespace
}  // namespace tollgate::policy
