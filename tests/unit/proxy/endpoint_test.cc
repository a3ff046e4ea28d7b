#include "userspace/proxy/endpoint.h"

#include <gtest/gtest.h>

#include "userspace/proxy/stored_responses.h"

namespace tollgate::proxy {
namespace {

TEST(Endpoint, EveryServedMethodAndPathHasItsOperation) {
  struct Row {
    const char* method;
    const char* path;
    Operation operation;
    codec::Api api;
    bool streams;
    const char* upstream;
    const char* id;
  };
  using codec::Api;
  const Row rows[] = {
      {"POST", "/v1/responses", Operation::infer, Api::responses, true, "/responses", ""},
      {"POST", "/v1/responses/compact", Operation::infer, Api::responses, false,
       "/responses/compact", ""},
      {"HEAD", "/v1/responses", Operation::probe, Api::responses, false, "/responses", ""},
      {"GET", "/v1/responses/resp_1", Operation::stored, Api::responses, false, "/responses/resp_1",
       "resp_1"},
      {"DELETE", "/v1/responses/resp_1", Operation::stored, Api::responses, false,
       "/responses/resp_1", "resp_1"},
      {"POST", "/v1/responses/resp_1/cancel", Operation::stored, Api::responses, false,
       "/responses/resp_1/cancel", "resp_1"},
      {"GET", "/v1/responses/resp_1/input_items", Operation::stored, Api::responses, false,
       "/responses/resp_1/input_items", "resp_1"},
      {"GET", "/v1/models", Operation::models, Api::responses, false, "/models", ""},
      {"GET", "/v1/models/gpt-5.5", Operation::models, Api::responses, false, "/models/gpt-5.5",
       "gpt-5.5"},
      {"POST", "/v1/chat/completions", Operation::infer, Api::chat_completions, true,
       "/chat/completions", ""},
      {"POST", "/v1/embeddings", Operation::infer, Api::embeddings, false, "/embeddings", ""},
      {"POST", "/v1/images/generations", Operation::infer, Api::images, false,
       "/images/generations", ""},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(std::string(row.method) + " " + row.path);
    const RouteResult found = find_route(row.method, row.path, false);
    ASSERT_EQ(found.fault, RouteFault::none);
    EXPECT_EQ(found.route.operation, row.operation);
    EXPECT_EQ(found.route.api, row.api);
    EXPECT_EQ(found.route.streams, row.streams);
    EXPECT_EQ(found.route.upstream_path, row.upstream);
    EXPECT_EQ(found.route.object_id, row.id);
  }
}

TEST(Endpoint, UpgradeIsWhatMakesGetResponsesAWebSocket) {
  EXPECT_EQ(find_route("GET", "/v1/responses", true).route.operation, Operation::websocket);
  EXPECT_EQ(find_route("GET", "/v1/responses", false).fault, RouteFault::wrong_method);
}

TEST(Endpoint, WhatIsNotListedIsUnknown) {
  for (const char* path : {"/",
                           "/v1",
                           "/v1/",
                           "/responses",
                           "/v2/responses",
                           "/v1responses",
                           "/v1/responses/",
                           "/v1//responses",
                           "/v1/responses/a/b",
                           "/v1/responses/a/cancel/b",
                           "/v1/files",
                           "/v1/responses%2fcompact",
                           "/v1/responses/a%00",
                           "/v1/responses/a%",
                           "/v1/responses/a%2",
                           "/v1/responses/a%zz",
                           "/v1/responses/a%20b",
                           "/v1/../../v1/responses",
                           "/V1/responses",
                           "/v1/images/edits",
                           "/v1/responses/a;b"}) {
    EXPECT_EQ(find_route("POST", path, false).fault, RouteFault::unknown_path) << path;
  }
  const std::string long_id(129, 'a');
  EXPECT_EQ(find_route("GET", "/v1/responses/" + long_id, false).fault, RouteFault::unknown_path);
  EXPECT_EQ(find_route("GET", "/v1/responses/" + long_id.substr(1), false).fault, RouteFault::none);
}

TEST(Endpoint, KnownPathWithAnotherMethodIsToldApart) {
  for (const auto& [method, path] :
       {std::pair{"GET", "/v1/chat/completions"}, std::pair{"PUT", "/v1/responses"},
        std::pair{"GET", "/v1/responses/compact"}, std::pair{"DELETE", "/v1/responses/compact"},
        std::pair{"DELETE", "/v1/models/gpt-5.5"}, std::pair{"GET", "/v1/responses/a/cancel"}}) {
    EXPECT_EQ(find_route(method, path, false).fault, RouteFault::wrong_method)
        << method << " " << path;
  }
}

TEST(Endpoint, PathIsNormalisedBeforeItIsLookedUp) {
  const std::pair<const char*, const char*> same[] = {
      {"/v1/%72esponses", "/responses"},
      {"/v1/./responses", "/responses"},
      {"/v1/models/../responses", "/responses"},
      {"/v1/responses/x/%2e%2e/compact", "/responses/compact"},
  };
  for (const auto& [sent, upstream] : same) {
    const RouteResult found = find_route("POST", sent, false);
    EXPECT_EQ(found.fault, RouteFault::none) << sent;
    EXPECT_EQ(found.route.upstream_path, upstream) << sent;
  }
}

TEST(Endpoint, QueryOfAStoredResponseKeepsWhatIsKnownAlone) {
  EXPECT_EQ(stored_query(""), "");
  EXPECT_EQ(stored_query("limit=5&order=asc"), "?limit=5&order=asc");
  EXPECT_EQ(stored_query("api_key=x&after=a&stream=true&include[]=b&"), "?after=a&include[]=b");
  EXPECT_EQ(stored_query("limits=5&=1&limit"), "?limit");
}

TEST(StoredResponses, AreOnlyTheirMakers) {
  StoredResponses stored;
  stored.remember("resp_1", {"alice", "m", "openai"});
  ASSERT_TRUE(stored.find("resp_1", "alice"));
  EXPECT_EQ(stored.find("resp_1", "alice")->provider, "openai");
  EXPECT_FALSE(stored.find("resp_1", "bob"));
  EXPECT_FALSE(stored.find("resp_2", "alice"));
  // A provider that repeats an identifier gives nobody another's response.
  stored.remember("resp_1", {"bob", "m", "openai"});
  EXPECT_FALSE(stored.find("resp_1", "bob"));
}

TEST(StoredResponses, OldestIsForgottenAtTheBound) {
  StoredResponses stored(2);
  for (const char* id : {"a", "b", "c"})
    stored.remember(id, {"alice", "m", "p"});
  EXPECT_FALSE(stored.find("a", "alice"));
  EXPECT_TRUE(stored.find("b", "alice"));
  EXPECT_TRUE(stored.find("c", "alice"));
}

}  // namespace
}  // namespace tollgate::proxy
