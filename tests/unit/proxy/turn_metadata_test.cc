#include "userspace/proxy/turn_metadata.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "userspace/tls/keyed_hash.h"

namespace tollgate::proxy {
namespace {

using policy::TurnMetadata;

std::shared_ptr<const Secret> key(const char* text = "k1") {
  return std::make_shared<const Secret>(std::string(text));
}

const std::string kMetadata =
    R"({"installation_id":"b56c","session_id":"01a1","turn_id":"01a2","sandbox":"seccomp",)"
    R"("workspaces":{"/src/secret":{"associated_remote_urls":{"origin":"git@h:o/r.git"},)"
    R"("latest_git_commit_hash":"24bf","has_changes":false}},"turn_started_at_unix_ms":12,)"
    R"("model":"gpt-5.5","news":["plain"]})";

std::string hashed(const char* text, const char* secret = "k1") {
  return "hmac-" + tls::keyed_hash(Secret(std::string(secret)), text);
}

std::optional<std::string> rewritten(const std::string& body, const MetadataRule& rule) {
  const auto change = client_metadata_change(rule);
  EXPECT_TRUE(change);
  if (!change) return std::nullopt;
  return codec::rewrite_fields(body, std::span(&*change, 1));
}

TEST(KeyedHash, IsTheKnownOneCutTo128Bits) {
  // RFC 4231, test case 2.
  EXPECT_EQ(tls::keyed_hash(Secret("Jefe"), "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c7");
}

TEST(TurnMetadata, ForwardsTouchesNothing) {
  const MetadataRule rule;
  EXPECT_EQ(forwarded_value(rule, "x-codex-turn-metadata", kMetadata), kMetadata);
  EXPECT_FALSE(client_metadata_change(rule));
}

TEST(TurnMetadata, StripsItsFieldsAndNoOther) {
  const MetadataRule rule{TurnMetadata::strip, nullptr};
  EXPECT_EQ(forwarded_value(rule, "x-codex-turn-metadata", kMetadata), std::nullopt);
  EXPECT_EQ(forwarded_value(rule, "x-codex-installation-id", "b56c"), std::nullopt);
  for (const char* other : {"x-codex-window-id", "session-id", "x-codex-turn-state", "user-agent"})
    EXPECT_EQ(forwarded_value(rule, other, "v"), "v") << other;
  EXPECT_EQ(rewritten(R"({"a":1, "client_metadata":{"x":"y"}, "b":2})", rule), R"({"a":1, "b":2})");
  EXPECT_EQ(rewritten(R"({"a":1})", rule), R"({"a":1})");
}

TEST(TurnMetadata, HashesWhatNamesAPlaceOrAMachineAndKeepsTheRest) {
  const MetadataRule rule{TurnMetadata::hash, key()};
  EXPECT_EQ(forwarded_value(rule, "x-codex-turn-metadata", kMetadata),
            R"({"installation_id":")" + hashed("b56c") +
                R"(","session_id":"01a1","turn_id":"01a2","sandbox":"seccomp","workspaces":{")" +
                hashed("/src/secret") + R"(":{"associated_remote_urls":{"origin":")" +
                hashed("git@h:o/r.git") + R"("},"latest_git_commit_hash":")" + hashed("24bf") +
                R"(","has_changes":false}},"turn_started_at_unix_ms":12,"model":"gpt-5.5",)" +
                R"("news":[")" + hashed("plain") + R"("]})");
  EXPECT_EQ(forwarded_value(rule, "x-codex-installation-id", "b56c"), hashed("b56c"));
  EXPECT_EQ(forwarded_value(rule, "x-codex-window-id", "w"), "w");
  EXPECT_EQ(forwarded_value({TurnMetadata::hash, key("k2")}, "x-codex-installation-id", "b56c"),
            hashed("b56c", "k2"));
  EXPECT_NE(hashed("b56c"), hashed("b56c", "k2"));
}

TEST(TurnMetadata, HashesTheSameWithinTheBody) {
  const MetadataRule rule{TurnMetadata::hash, key()};
  const nlohmann::ordered_json before = {{"session_id", "01a1"},
                                         {"x-codex-window-id", "w:0"},
                                         {"x-codex-installation-id", "b56c"},
                                         {"x-codex-turn-metadata", kMetadata},
                                         {"editor", "/opt/editor"}};
  nlohmann::ordered_json after = before;
  after["x-codex-installation-id"] = hashed("b56c");
  after["x-codex-turn-metadata"] = *forwarded_value(rule, "x-codex-turn-metadata", kMetadata);
  after["editor"] = hashed("/opt/editor");
  EXPECT_EQ(rewritten(R"({ "client_metadata" : )" + before.dump() + " }", rule),
            R"({ "client_metadata" : )" + after.dump() + " }");
}

TEST(TurnMetadata, WhatCannotBeReadDoesNotGoOut) {
  const MetadataRule rule{TurnMetadata::hash, key()};
  for (const char* text : {"", "/src/secret", "[\"/src/secret\"]", "{\"a\":", "\"x\""})
    EXPECT_EQ(forwarded_value(rule, "x-codex-turn-metadata", text), std::nullopt) << text;
  std::string deep = "\"/src/secret\"";
  for (int i = 0; i < 100; ++i)
    deep = "{\"workspaces\":" + deep + "}";
  const auto cut = forwarded_value(rule, "x-codex-turn-metadata", deep);
  EXPECT_EQ(cut.value_or("").find("secret"), std::string::npos);
  EXPECT_EQ(rewritten(R"({"client_metadata":"/src/secret"})", rule), "{}");
  const MetadataRule keyless{TurnMetadata::hash, nullptr};
  EXPECT_EQ(forwarded_value(keyless, "x-codex-turn-metadata", kMetadata), std::nullopt);
  EXPECT_EQ(rewritten(R"({"client_metadata":{}})", keyless), "{}");
}

}  // namespace
}  // namespace tollgate::proxy
