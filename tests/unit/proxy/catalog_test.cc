#include "userspace/proxy/catalog.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/proxy/snapshot_for_tests.h"

namespace tollgate::proxy {
namespace {

constexpr std::string_view kA = R"({ "slug": "gpt-a", "base_instructions":"be\u0020brief" })";
constexpr std::string_view kB = R"({"slug":"gpt-b","priority":1})";

std::string file_of(std::string_view first, std::string_view second) {
  return "{\"models\":[" + std::string(first) + ", " + std::string(second) + "]}\n";
}

// alice may use gpt-a and gpt-b, bob nothing.
std::shared_ptr<Snapshot> snapshot_with(std::string_view file) {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules.front().models = {"gpt-a", "gpt-b"};
  auto snapshot = std::make_shared<Snapshot>(*snapshot_for_tests(std::move(parts)));
  if (file.empty()) return snapshot;
  auto catalog = parse_catalog(file, "models.json");
  EXPECT_TRUE(catalog) << catalog.error().text;
  snapshot->catalog = *catalog;
  return snapshot;
}

LocalAnswer ask(const Snapshot& snapshot, PeerTag who, const ModelsAsk& what) {
  return answer_models(snapshot, *snapshot.policy->peer_by_tag(who), what);
}

const ModelsAsk kCodex{{}, "client_version=0.169.0", {}};

std::string etag_of(const LocalAnswer& answer) {
  constexpr std::string_view kName = "etag: ";
  if (!answer.fields.starts_with(kName) || !answer.fields.ends_with("\r\n")) return {};
  return answer.fields.substr(kName.size(), answer.fields.size() - kName.size() - 2);
}

TEST(Catalog, CodexGetsTheEntriesThatThisPeerMayUseAsTheyAreInTheFile) {
  const auto all = snapshot_with(file_of(kB, kA));
  EXPECT_EQ(ask(*all, kAlice, kCodex).body,
            "{\"models\":[" + std::string(kB) + "," + std::string(kA) + "]}");
  EXPECT_EQ(ask(*all, kBob, kCodex).body, "{\"models\":[]}");
  EXPECT_EQ(ask(*all, kAlice, kCodex).caching, "private, no-cache");
}

TEST(Catalog, ModelThatMayBeUsedAndHasNoEntryIsLeftOut) {
  const auto some = snapshot_with(file_of(kA, R"({"slug":"gpt-z"})"));
  EXPECT_EQ(ask(*some, kAlice, kCodex).body, "{\"models\":[" + std::string(kA) + "]}");
}

TEST(Catalog, OtherNamesAreCopiesOfWhatServesThem) {
  policy::Policy::Parts parts = parts_for_tests();
  parts.rules.front().models = {"gpt-a"};
  parts.rules.front().guards.alias = {{"gpt-b", "gpt-a"}, {"auto", "gpt-a"}};
  Snapshot snapshot = *snapshot_for_tests(std::move(parts));
  snapshot.catalog = *parse_catalog(file_of(kB, kA), "models.json");
  const auto models = nlohmann::json::parse(ask(snapshot, kAlice, kCodex).body)["models"];
  ASSERT_EQ(models.size(), 3u) << models;
  const char* names[] = {"gpt-b", "gpt-a", "auto"};
  for (size_t i = 0; i < models.size(); ++i) {
    EXPECT_EQ(models[i]["slug"], names[i]);
    EXPECT_EQ(models[i]["base_instructions"], "be brief") << models[i];
  }
  EXPECT_EQ(models[2]["display_name"], "auto");
  EXPECT_FALSE(models[1].contains("display_name"));
}

TEST(Catalog, WhoDoesNotSayThatItIsCodexGetsOpenAisList) {
  const auto snapshot = snapshot_with(file_of(kA, kB));
  const char* rows[] = {"", "limit=20", "xclient_version=1", "a=client_version", "a&&b="};
  for (const char* query : rows) {
    const auto json = nlohmann::json::parse(ask(*snapshot, kAlice, {{}, query, {}}).body);
    EXPECT_EQ(json["object"], "list") << query;
    EXPECT_EQ(json["data"].size(), 2u) << query;
    EXPECT_EQ(json["data"][0]["id"], "gpt-a") << query;
  }
  for (const char* query : {"client_version", "client_version=", "a=1&client_version=0.1"}) {
    EXPECT_TRUE(ask(*snapshot, kAlice, {{}, query, {}}).body.starts_with("{\"models\":")) << query;
  }
}

TEST(Catalog, WithoutAFileEverybodyGetsOpenAisList) {
  const auto snapshot = snapshot_with("");
  EXPECT_TRUE(nlohmann::json::parse(ask(*snapshot, kAlice, kCodex).body).contains("data"));
  EXPECT_EQ(models_etag_field(*snapshot, kAlice), "");
}

TEST(Catalog, TagsTellAnswersApart) {
  const auto snapshot = snapshot_with(file_of(kA, kB));
  const std::string alices = etag_of(ask(*snapshot, kAlice, kCodex));
  EXPECT_EQ(alices.size(), 66u) << alices;
  EXPECT_EQ(etag_of(ask(*snapshot_with(file_of(kA, kB)), kAlice, kCodex)), alices);
  EXPECT_NE(etag_of(ask(*snapshot, kBob, kCodex)), alices);
  EXPECT_NE(etag_of(ask(*snapshot, kAlice, {})), alices);
  EXPECT_NE(etag_of(ask(*snapshot, kBob, {})), etag_of(ask(*snapshot, kAlice, {})));
  EXPECT_NE(etag_of(ask(*snapshot_with(file_of(kB, kA)), kAlice, kCodex)), alices);
}

TEST(Catalog, WhatTheClientHasIsNotSentAgain) {
  const auto snapshot = snapshot_with(file_of(kA, kB));
  const std::string etag = etag_of(ask(*snapshot, kAlice, kCodex));
  for (const std::string& has : {etag, "W/" + etag, "\"x\", " + etag, std::string("*")}) {
    const LocalAnswer same = ask(*snapshot, kAlice, {{}, kCodex.query, has});
    EXPECT_EQ(same.status, 304) << has;
    EXPECT_EQ(same.body, "") << has;
    EXPECT_EQ(etag_of(same), etag) << has;
  }
  for (const std::string& has : {std::string(), std::string("\"x\""), etag.substr(1, 64)}) {
    EXPECT_EQ(ask(*snapshot, kAlice, {{}, kCodex.query, has}).status, 200) << has;
  }
  const std::string list = etag_of(ask(*snapshot, kAlice, {}));
  EXPECT_EQ(ask(*snapshot, kAlice, {{}, {}, list}).status, 304);
  EXPECT_EQ(ask(*snapshot, kBob, {{}, {}, list}).status, 200);
}

TEST(Catalog, OneModelIsToldOrRefusedAsARequestForItWouldBe) {
  const auto snapshot = snapshot_with(file_of(kA, kB));
  const LocalAnswer one = ask(*snapshot, kAlice, {"gpt-a"});
  EXPECT_EQ(one.status, 200);
  EXPECT_EQ(nlohmann::json::parse(one.body)["id"], "gpt-a");
  const LocalAnswer none = ask(*snapshot, kAlice, {"gpt-c"});
  EXPECT_EQ(none.status, 404);
  const auto error = nlohmann::json::parse(none.body)["error"];
  EXPECT_EQ(error["code"], "model_not_found");
  EXPECT_NE(error["message"].get<std::string>().find("Allowed: gpt-a, gpt-b"), std::string::npos);
  EXPECT_EQ(ask(*snapshot, kBob, {"gpt-a"}).status, 404);
}

TEST(Catalog, AnswersCarryTheTagOfWhatCodexWouldGet) {
  const auto snapshot = snapshot_with(file_of(kA, kB));
  EXPECT_EQ(models_etag_field(*snapshot, kAlice),
            "x-models-etag: " + etag_of(ask(*snapshot, kAlice, kCodex)) + "\r\n");
  EXPECT_EQ(models_etag_field(*snapshot, PeerTag{9, 9}), "");
}

}  // namespace
}  // namespace tollgate::proxy
