#include "userspace/daemon/client_config.h"

#include <gtest/gtest.h>

#include <sstream>

namespace tollgate::daemon {
namespace {

using State = Finding::State;

policy::GatewayConfig gateway_at(const std::string& listen) {
  policy::GatewayConfig gateway;
  gateway.listen = {*parse_endpoint(listen), *parse_endpoint("[fd99::1]:443")};
  return gateway;
}

TEST(ClientConfig, GatewayIsNamedByTheFirstHostThatItsCertificateIsFor) {
  const struct {
    const char* description;
    std::vector<std::string> names;
    const char* host;
  } rows[] = {
      {"a host", {"ai.example.test"}, "ai.example.test"},
      {"an address before it", {"10.99.0.1", "ai.example.test", "b.test"}, "ai.example.test"},
      {"a wildcard names no host", {"*.example.test", "ai.example.test"}, "ai.example.test"},
      {"addresses only: one that it listens on", {"10.9.9.9", "fd99::1"}, "fd99::1"},
      {"nothing that fits", {"*.example.test", "10.9.9.9"}, "10.99.0.1"},
      {"nothing", {}, "10.99.0.1"},
  };
  for (const auto& row : rows)
    EXPECT_EQ(gateway_host(gateway_at("10.99.0.1:443"), row.names), row.host) << row.description;
}

TEST(ClientConfig, AddressSaysSchemeAndUnusualPort) {
  policy::GatewayConfig gateway = gateway_at("10.99.0.1:443");
  EXPECT_EQ(base_url_of(gateway, "ai.test"), "https://ai.test/v1");
  EXPECT_EQ(base_url_of(gateway, "fd99::1"), "https://[fd99::1]/v1");
  gateway.plain_http = true;
  EXPECT_EQ(base_url_of(gateway, "10.99.0.1"), "http://10.99.0.1:443/v1");
  gateway = gateway_at("10.99.0.1:80");
  EXPECT_EQ(base_url_of(gateway, "ai.test"), "https://ai.test:80/v1");
  gateway.plain_http = true;
  EXPECT_EQ(base_url_of(gateway, "ai.test"), "http://ai.test/v1");
}

TEST(ClientConfig, FilesNameTheGatewayAndNoKey) {
  ClientSetup setup;
  setup.base_url = "https://ai.test/v1";
  const std::string provider =
      "[model_providers.tollgate]\n"
      "name = \"Tollgate\"\n"
      "base_url = \"https://ai.test/v1\"\n"
      "wire_api = \"responses\"\n";
  EXPECT_EQ(requirements_toml(setup), "model_provider = \"tollgate\"\n\n" + provider);
  EXPECT_EQ(config_toml(setup), requirements_toml(setup));
  setup.model = "a\"b";
  EXPECT_EQ(config_toml(setup), "model_provider = \"tollgate\"\nmodel = \"a\\\"b\"\n\n" + provider);
  EXPECT_EQ(requirements_toml(setup).find("model = "), std::string::npos);
  setup.websocket = true;
  EXPECT_TRUE(config_toml(setup).ends_with(provider + "supports_websockets = true\n"));
  setup.websocket = false;
  setup.catalog = true;
  const std::string keys =
      "experimental_bearer_token = \"keyless\"\n"
      "model_catalog_url = \"https://ai.test/v1/models\"\n";
  EXPECT_TRUE(config_toml(setup).ends_with(provider + keys));
  EXPECT_TRUE(requirements_toml(setup).ends_with(provider + keys));
}

TEST(ClientConfig, NotesSayWhatToDoAboutTheCertificate) {
  const auto has = [](const ClientSetup& setup, const std::string& text) {
    return certificate_notes(setup).find(text) != std::string::npos;
  };
  ClientSetup setup;
  setup.base_url = "https://ai.test/v1";
  EXPECT_TRUE(has(setup, "nothing to do"));
  EXPECT_FALSE(has(setup, "CODEX_CA_CERTIFICATE"));
  setup.ca_file = "/etc/tollgate/tls/ca.pem";
  setup.ca_sha256 = "AB:CD";
  EXPECT_TRUE(has(setup, "CODEX_CA_CERTIFICATE"));
  EXPECT_TRUE(has(setup, setup.ca_file) && has(setup, "AB:CD"));
  EXPECT_FALSE(has(setup, "leads into the tunnel"));
  setup.intercepted = {"api.openai.com"};
  EXPECT_TRUE(has(setup, "way to api.openai.com leads into the tunnel"));
  ClientSetup plain;
  plain.base_url = "http://10.99.0.1/v1";
  EXPECT_TRUE(has(plain, "plain_http"));
}

TEST(ClientConfig, JudgesWhereANameLeads) {
  const std::vector<Endpoint> listen = gateway_at("10.99.0.1:443").listen;
  const auto judged = [&](std::vector<const char*> found) {
    std::vector<Endpoint> endpoints;
    for (const char* text : found)
      endpoints.push_back(*parse_endpoint(text));
    return judge_addresses("ai.test", endpoints, listen);
  };
  EXPECT_EQ(judged({"10.99.0.1:443"}).state, State::ok);
  EXPECT_EQ(judged({"[fd99::1]:443", "10.99.0.1:443"}).state, State::ok);
  EXPECT_EQ(judged({}).state, State::broken);
  const Finding elsewhere = judged({"10.99.0.1:443", "10.0.0.9:443"});
  EXPECT_EQ(elsewhere.state, State::broken);
  EXPECT_NE(elsewhere.says.find("10.0.0.9"), std::string::npos);
  EXPECT_NE(elsewhere.remedy.find("10.99.0.1"), std::string::npos);
}

TEST(ClientConfig, JudgesWhatTheGatewaySaysOfAUser) {
  const struct {
    const char* answer;
    State state;
    const char* says;
  } rows[] = {
      {R"({"v":1,"ok":true,"data":{"allowed":true,"code":"","message":""}})", State::ok, "let a@b"},
      {R"({"data":{"allowed":false,"code":"policy_none","message":"in no group"}})", State::broken,
       "in no group"},
      {R"({"data":{"allowed":false,"code":"budget_exceeded","message":"used up"}})",
       State::degraded, "used up"},
      {R"({"data":{}})", State::broken, "would not let"},
      {R"({"data":{"allowed":"yes","message":3,"code":[]}})", State::broken, "would not let"},
      {R"({"v":1,"ok":false,"error":{"code":"forbidden"}})", State::degraded, "does not say"},
      {"no answer", State::degraded, "does not say"},
      {"", State::broken, "no gateway runs"},
  };
  for (const auto& row : rows) {
    const Finding finding = judge_explanation("a@b", row.answer);
    EXPECT_EQ(finding.state, row.state) << row.answer;
    EXPECT_NE(finding.says.find(row.says), std::string::npos) << finding.says;
    EXPECT_EQ(finding.remedy.empty(), row.state == State::ok) << row.answer;
  }
}

TEST(ClientConfig, FileThatCannotBeReadIsAllThatIsSaid) {
  std::ostringstream out;
  EXPECT_EQ(client_config(out, {.config = "/nonexistent.toml"}), 1);
  EXPECT_TRUE(out.str().starts_with("broken    configuration")) << out.str();
  std::ostringstream json;
  EXPECT_EQ(client_config(json, {.config = "/nonexistent.toml", .json = true}), 1);
  EXPECT_EQ(nlohmann::json::parse(json.str())["healthy"], false);
}

}  // namespace
}  // namespace tollgate::daemon
