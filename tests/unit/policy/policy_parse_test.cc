#include "policy/policy_parse.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/unit/policy/config_text.h"

namespace tollgate::policy {
namespace {

std::string shipped_example() {
  std::ifstream file(TOLLGATE_DEPLOY_DIR "/tollgate.example.toml");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

const std::string kKey = "MIIdDLMYqZ2Kp5Vt1jUqUG0lzNq8tA3u2pMyCQ0cCkU=";
const std::string kPeerByKey = "[[peer]]\nuser = \"alice\"\npublic_key = \"" + kKey + "\"\n";

std::string keyed() {
  return kMinimal + kPeerByKey;
}

TEST(ParseConfig, ReadsTheShippedExampleWhole) {
  const std::string text = shipped_example();
  EXPECT_EQ(told(text), "");
  const auto parsed = parse_config(text);
  const auto& config = std::get<Config>(parsed);
  EXPECT_EQ(config.gateway.listen.size(), 2u);
  EXPECT_EQ(config.gateway.contact, "ask #ai-platform");
  EXPECT_EQ(config.limits.body_bytes_max, Limits{}.body_bytes_max);
  EXPECT_EQ(config.limits.drain_ms, Limits{}.drain_ms);
  ASSERT_EQ(config.providers.size(), 1u);
  EXPECT_EQ(config.providers[0].scheme, "https");
  EXPECT_EQ(config.providers[0].host, "api.openai.com");
  EXPECT_EQ(config.providers[0].port, 443);
  EXPECT_EQ(config.providers[0].path_prefix, "/v1");
  ASSERT_EQ(config.peers.size(), 4u);
  EXPECT_EQ(config.peers[1].tunnel, "wg0");
  EXPECT_EQ(config.peers[0].groups, std::vector<std::string>{"engineering"});
  ASSERT_EQ(config.rules.size(), 2u);
  EXPECT_EQ(config.rules[0].name, "engineering-codex");
  EXPECT_EQ(config.rules[0].max_output_tokens, 64'000u);
  EXPECT_EQ(config.rules[0].limits.size(), 4u);
  EXPECT_EQ(config.rules[1].hold, HoldMode::strict);
  EXPECT_EQ(config.limits.keepalive_ms, Limits{}.keepalive_ms);
  EXPECT_EQ(config.limits.abort_drain_ms, Limits{}.abort_drain_ms);
  EXPECT_EQ(config.alerts.thresholds_percent, Alerts{}.thresholds_percent);
}

TEST(ParseConfig, AcceptsWhatIsAtTheEdge) {
  const std::pair<const char*, std::string> rows[] = {
      {"minimal", kMinimal},
      {"userspace steering without tunnels",
       replaced(kMinimal, "tunnels = [\"wg0\"]", "steering = \"userspace\"")},
      {"plain HTTP without a certificate",
       replaced(kMinimal, "certificate = \"/c.pem\"\nprivate_key = \"/k.pem\"",
                "plain_http = true")},
      {"TLS in the kernel", replaced(kMinimal, "tunnels =", "tls = \"ktls\"\ntunnels =")},
      {"TLS in userspace", replaced(kMinimal, "tunnels =", "tls = \"userspace\"\ntunnels =")},
      {"http to loopback", replaced(kMinimal, "https://api.openai.com/v1", "http://127.0.0.1:80")},
      {"http to ::1", replaced(kMinimal, "https://api.openai.com/v1", "http://[::1]:8080/v1/")},
      {"http to localhost", replaced(kMinimal, "https://api.openai.com", "http://localhost:1")},
      {"dialled at a fixed address", replaced(kMinimal, "name = \"openai\"",
                                              "name = \"openai\"\nconnect_to = \"[fd00::1]:443\"")},
      {"a peer in no group", kMinimal + "[[peer]]\naddress = \"10.99.0.2\"\nuser = \"zed\"\n"},
      {"one address on two tunnels",
       replaced(kMinimal, "[\"wg0\"]", "[\"wg0\", \"wg1\"]") +
           "[[peer]]\naddress = \"10.0.0.2\"\ntunnel = \"wg0\"\nuser = \"a\"\n"
           "[[peer]]\naddress = \"10.0.0.2\"\ntunnel = \"wg1\"\nuser = \"b\"\n"},
      {"unmetered traffic closes the gate",
       replaced(kMinimal, "tunnels =", "on_unmetered = \"refuse\"\ntunnels =")},
      {"a key in place of an address", keyed()},
      {"a key and an address", keyed() + "address = \"10.99.0.2\"\n"},
      {"a prefix of one user", keyed() + "address = \"10.99.0.0/24\"\nprefix_is_one_user = true\n"},
      {"a prefix of one user by address",
       kMinimal + "[[peer]]\naddress = \"fd99::/64\"\nprefix_is_one_user = true\nuser = \"a\"\n"},
      {"one key with two addresses",
       keyed() + "address = \"10.0.0.2\"\n" + kPeerByKey + "address = \"10.0.0.3\"\n"},
      {"keep the user", replaced(kMinimal, "tunnels =", "user = \"\"\ntunnels =")},
  };
  for (const auto& [description, text] : rows)
    EXPECT_EQ(told(text), "") << description;
}

TEST(ParseConfig, SaysLineKeyAndRemedyOfEachMistake) {
  struct Row {
    const char* description;
    std::string text;
    const char* says;
  };
  const auto peer = [](const std::string& address) {
    return kMinimal + "[[peer]]\naddress = \"" + address + "\"\nuser = \"alice\"\n";
  };
  const auto gateway = [](const std::string& line) {
    return replaced(kMinimal, "tunnels =", line + "\ntunnels =");
  };
  const auto url = [](const std::string& text) {
    return replaced(kMinimal, "https://api.openai.com/v1", text);
  };
  const Row rows[] = {
      {"not TOML", "[gateway\n", "f:1: not TOML"},
      {"empty", " ", "gateway: is missing"},
      {"unknown key with a near one", gateway("contct = \"x\""),
       "gateway.contct: unknown key; did you mean contact?"},
      {"unknown table", kMinimal + "[limit]\nx = 1\n", "limit: unknown key; did you mean limits?"},
      {"unknown key far from all", gateway("zzzzzzzzzz = 1"), "known here: "},
      {"wrong type", gateway("workers = \"4\""), "gateway.workers: is a text, not a whole number"},
      {"table of the wrong type", "gateway = 1\n", "gateway: is a number, not a table"},
      {"list item of the wrong type", replaced(kMinimal, "[\"wg0\"]", "[1]"),
       "gateway.tunnels[0]: is a number, not a text"},
      {"out of range", gateway("workers = 100000"), "write a whole number from 0 to 256"},
      {"negative", gateway("workers = -1"), "-1 is out of range"},
      {"limit of zero", kMinimal + "[limits]\nconnections_max = 0\n", "limits.connections_max: 0"},
      {"no keepalive", kMinimal + "[limits]\nkeepalive_ms = 0\n", "limits.keepalive_ms: 0 is out"},
      {"no time to drain an abort", kMinimal + "[limits]\nabort_drain_ms = 9\n",
       "limits.abort_drain_ms: 9 is out"},
      {"absurd limit", kMinimal + "[limits]\ndrain_ms = 9999999999\n", "limits.drain_ms"},
      {"no body would fit", kMinimal + "[limits]\nbody_memory_bytes_max = 4096\n", "no full body"},
      {"bad listen", replaced(kMinimal, "10.99.0.1:443", "10.99.0.1"), "gateway.listen[0]"},
      {"no listen", replaced(kMinimal, "[\"10.99.0.1:443\"]", "[]"), "names no address"},
      {"no tunnel with bpf", replaced(kMinimal, "tunnels = [\"wg0\"]", ""), "names no interface"},
      {"interface name too long", replaced(kMinimal, "wg0", "a234567890123456"), "no interface"},
      {"unmetered traffic that nobody is told of", gateway("on_unmetered = \"ignore\""),
       "gateway.on_unmetered: \"ignore\" is no choice; write \"alarm\" or \"refuse\""},
      {"no certificate", replaced(kMinimal, "certificate = \"/c.pem\"", ""),
       "gateway.certificate: is missing"},
      {"bad choice", gateway("steering = \"magic\""), "write \"bpf\" or \"userspace\""},
      {"bad choice of three", gateway("tls = \"openssl\""),
       "write \"auto\" or \"ktls\" or \"userspace\""},
      {"relative path", gateway("state_dir = \"var\""), "begin it with /"},
      {"relative catalogue", gateway("model_catalog = \"models.json\""), "begin it with /"},
      {"contact of two lines", gateway("contact = \"a\\nb\""), "gateway.contact"},
      {"http to the world", url("http://api.openai.com/v1"), "would send the key unencrypted"},
      {"another scheme", url("ftp://x"), "is no base URL"},
      {"user in the URL", url("https://a@b/"), "is no base URL"},
      {"port out of range", url("https://a:65536"), "is no base URL"},
      {"query", url("https://a/v1?x=1"), "is no base URL"},
      {"no keys", replaced(kMinimal, "keys = [{ name = \"main\", file = \"/key\" }]", ""),
       "provider[0].keys: is missing"},
      {"empty keys", replaced(kMinimal, "{ name = \"main\", file = \"/key\" }", ""), "has no key"},
      {"unknown key in a key",
       replaced(kMinimal, "file = \"/key\"", "file = \"/key\", env = \"X\""),
       "provider[0].keys[0].env: unknown key"},
      {"bad connect_to",
       replaced(kMinimal, "name = \"openai\"", "name = \"openai\"\nconnect_to = \"x\""),
       "provider[0].connect_to"},
      {"provider twice", kMinimal + kProvider, "provider[1].name: \"openai\" is there twice"},
      {"group twice", kMinimal + kGroup, "group[1].name"},
      {"policy twice", kMinimal + kRule, "policy[1].name"},
      {"unknown group", replaced(kMinimal, "[\"eng\"]", "[\"ops\"]"),
       "policy[0].groups[0]: \"ops\" is no group"},
      {"unknown provider", replaced(kMinimal, "provider = \"openai\"", "provider = \"azure\""),
       "policy[0].provider: \"azure\" is no provider"},
      {"no models", replaced(kMinimal, "[\"gpt-5.*\"]", "[]"), "policy[0].models: names no model"},
      {"no groups", replaced(kMinimal, "groups = [\"eng\"]", ""),
       "policy[0].groups: names no group"},
      {"prefix", peer("10.0.0.0/8"), "everyone in it would be one user"},
      {"prefix with bits behind it", peer("10.0.0.1/8"), "is no prefix of addresses"},
      {"no address", peer("alice"), "is no IP address"},
      {"neither address nor key", kMinimal + "[[peer]]\nuser = \"alice\"\n",
       "peer[0].address: is missing"},
      {"key too short", replaced(keyed(), "kU=", "="), "is no WireGuard key"},
      {"key with bits behind it", replaced(keyed(), "kU=", "kV="), "wg show INTERFACE peers"},
      {"empty key", replaced(keyed(), kKey, ""), "is no WireGuard key"},
      {"key twice", keyed() + kPeerByKey, "peer[1].public_key: "},
      {"address twice by key",
       keyed() + "address = \"10.0.0.2\"\n" + kPeerByKey + "address = \"10.0.0.2\"\n",
       "is also the peer of line"},
      {"peer twice", peer("10.0.0.2") + "[[peer]]\naddress = \"::ffff:10.0.0.2\"\nuser = \"b\"\n",
       "is also the peer of line"},
      {"unknown tunnel", peer("10.0.0.2") + "tunnel = \"wg9\"\n", "is not in gateway.tunnels"},
      {"which tunnel", replaced(peer("10.0.0.2"), "[\"wg0\"]", "[\"wg0\", \"wg1\"]"),
       "peer[0].tunnel: is missing"},
  };
  for (const Row& row : rows) {
    const std::string all = told(row.text);
    EXPECT_NE(all.find(row.says), std::string::npos) << row.description << ":\n" << all;
  }
}

TEST(ParseConfig, ReportsAllProblemsInTheOrderOfTheirLines) {
  const auto parsed = parse_config("[gateway]\nlisten = [\"x\"]\nworkers = -1\nwat = 1\n");
  const auto& problems = std::get<std::vector<Problem>>(parsed);
  ASSERT_GE(problems.size(), 5u);
  for (size_t i = 1; i < problems.size(); ++i)
    EXPECT_LE(problems[i - 1].line, problems[i].line);
}

TEST(ParseConfig, SurvivesEveryTruncationAndEveryDamagedByte) {
  const std::string whole = shipped_example();
  for (size_t length = 0; length <= whole.size(); ++length) {
    const auto parsed = parse_config(std::string_view(whole).substr(0, length));
    const auto* problems = std::get_if<std::vector<Problem>>(&parsed);
    if (problems != nullptr) {
      EXPECT_FALSE(problems->empty()) << length;
    }
  }
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string damaged = whole;
    for (const char byte : {'\0', '\xff', '"', '[', '\n'}) {
      damaged[at] = byte;
      const auto parsed = parse_config(damaged);
      const auto* problems = std::get_if<std::vector<Problem>>(&parsed);
      if (problems != nullptr) {
        EXPECT_FALSE(problems->empty()) << at;
      }
    }
  }
}

}  // namespace
}  // namespace tollgate::policy
