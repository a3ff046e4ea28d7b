#include "userspace/admin/protocol.h"

#include <gtest/gtest.h>

namespace tollgate::admin {
namespace {

TEST(ParseRequest, AcceptsWhatAVerbTakesAndRefusesItsNeighbour) {
  struct Case {
    const char* description;
    std::string line;
    const char* refused_with;  // nullptr: accepted
  };
  const Case cases[] = {
      {"bare verb", R"({"v":1,"verb":"status"})", nullptr},
      {"id and empty args", R"({"v":1,"id":7,"verb":"status","args":{}})", nullptr},
      {"white space", " { \"v\" : 1 , \"verb\" : \"peers\" } \r", nullptr},
      {"all of usage",
       R"({"v":1,"verb":"usage","args":{"by":"day","since_unix_ms":1,"until_unix_ms":2,)"
       R"("user":"a","model":"m"}})",
       nullptr},
      {"records", R"({"v":1,"verb":"records","args":{"since_unix_ms":0}})", nullptr},
      {"explain", R"({"v":1,"verb":"explain","args":{"user":"a"}})", nullptr},
      {"known outcome", R"({"v":1,"verb":"records","args":{"outcome":"client_abort"}})", nullptr},
      {"usage of an outcome", R"({"v":1,"verb":"usage","args":{"outcome":"refused"}})", nullptr},
      {"unknown outcome", R"({"v":1,"verb":"records","args":{"outcome":"aborted"}})",
       "bad_request"},
      {"outcome of another kind", R"({"v":1,"verb":"records","args":{"outcome":4}})",
       "bad_request"},
      {"outcome of a tail", R"({"v":1,"verb":"tail","args":{"outcome":"refused"}})", "bad_request"},
      {"smallest body", R"({"v":1,"verb":"explain","args":{"user":"a","body_bytes":1}})", nullptr},
      {"empty body", R"({"v":1,"verb":"explain","args":{"user":"a","body_bytes":0}})",
       "bad_request"},
      {"body too large", R"({"v":1,"verb":"explain","args":{"user":"a","body_bytes":1000000001}})",
       "bad_request"},
      {"body as text", R"({"v":1,"verb":"explain","args":{"user":"a","body_bytes":"1"}})",
       "bad_request"},
      {"everyone's limits", R"({"v":1,"verb":"limits"})", nullptr},
      {"limits of a user", R"({"v":1,"verb":"limits","args":{"user":"a"}})", nullptr},
      {"limits of a group", R"({"v":1,"verb":"limits","args":{"group":"a"}})", "bad_request"},
      {"a user revoked", R"({"v":1,"verb":"revoke","args":{"subject":"a"}})", nullptr},
      {"revoked and why", R"({"v":1,"verb":"revoke","args":{"subject":"a","reason":"b"}})",
       nullptr},
      {"revoked on two lines", R"({"v":1,"verb":"revoke","args":{"subject":"a","reason":"b\n"}})",
       "bad_request"},
      {"nobody revoked", R"({"v":1,"verb":"revoke"})", "bad_request"},
      {"a group revoked", R"({"v":1,"verb":"revoke","args":{"scope":"group","subject":"a"}})",
       "bad_request"},
      {"restored", R"({"v":1,"verb":"restore","args":{"subject":"10.99.0.2"}})", nullptr},
      {"restored and why", R"({"v":1,"verb":"restore","args":{"subject":"a","reason":"b"}})",
       "bad_request"},
      {"nobody restored", R"({"v":1,"verb":"restore"})", "bad_request"},
      {"adjustments", R"({"v":1,"verb":"adjustments"})", nullptr},
      {"adjustments with a filter", R"({"v":1,"verb":"adjustments","args":{"user":"a"}})",
       "bad_request"},
      {"empty", "", "bad_request"},
      {"no JSON", "status", "bad_request"},
      {"an array", "[1]", "bad_request"},
      {"two values", R"({"v":1,"verb":"status"}{})", "bad_request"},
      {"no version", R"({"verb":"status"})", "bad_request"},
      {"another version", R"({"v":2,"verb":"status"})", "bad_request"},
      {"version as a float", R"({"v":1.0,"verb":"status"})", "bad_request"},
      {"version as text", R"({"v":"1","verb":"status"})", "bad_request"},
      {"id as text", R"({"v":1,"id":"x","verb":"status"})", "bad_request"},
      {"no verb", R"({"v":1})", "bad_request"},
      {"verb of another kind", R"({"v":1,"verb":1})", "bad_request"},
      {"unknown verb", R"({"v":1,"verb":"stop"})", "unknown_verb"},
      {"verb in capitals", R"({"v":1,"verb":"Status"})", "unknown_verb"},
      {"unknown field", R"({"v":1,"verb":"status","uid":0})", "bad_request"},
      {"duplicate key", R"({"v":1,"verb":"status","verb":"reload"})", "bad_request"},
      {"duplicate argument", R"({"v":1,"verb":"explain","args":{"user":"a","user":"b"}})",
       "bad_request"},
      {"misspelt argument", R"({"v":1,"verb":"usage","args":{"sicne_unix_ms":1}})", "bad_request"},
      {"argument of another verb", R"({"v":1,"verb":"records","args":{"by":"day"}})",
       "bad_request"},
      {"args as an array", R"({"v":1,"verb":"usage","args":[]})", "bad_request"},
      {"unknown key", R"({"v":1,"verb":"usage","args":{"by":"peer"}})", "bad_request"},
      {"negative time", R"({"v":1,"verb":"usage","args":{"since_unix_ms":-1}})", "bad_request"},
      {"time over 63 bits",
       R"({"v":1,"verb":"usage","args":{"since_unix_ms":9223372036854775808}})", "bad_request"},
      {"window without length",
       R"({"v":1,"verb":"usage","args":{"since_unix_ms":5,"until_unix_ms":5}})", "bad_request"},
      {"empty user", R"({"v":1,"verb":"usage","args":{"user":""}})", "bad_request"},
      {"user of another kind", R"({"v":1,"verb":"usage","args":{"user":null}})", "bad_request"},
      {"longest user", R"({"v":1,"verb":"usage","args":{"user":")" + std::string(512, 'a') + "\"}}",
       nullptr},
      {"user too long",
       R"({"v":1,"verb":"usage","args":{"user":")" + std::string(513, 'a') + "\"}}", "bad_request"},
      {"explain without a user", R"({"v":1,"verb":"explain","args":{"model":"m"}})", "bad_request"},
      {"text that is not UTF-8", "{\"v\":1,\"verb\":\"usage\",\"args\":{\"user\":\"\xff\"}}",
       "bad_request"},
      {"deeply nested", std::string(60'000, '['), "bad_request"},
  };
  for (const Case& test : cases) {
    const ParsedRequest parsed = parse_request(test.line);
    const Failure* failure = std::get_if<Failure>(&parsed.outcome);
    if (test.refused_with == nullptr) {
      EXPECT_EQ(failure, nullptr) << test.description << ": " << (failure ? failure->text : "");
    } else {
      ASSERT_NE(failure, nullptr) << test.description;
      EXPECT_EQ(to_string(failure->code), test.refused_with) << test.description;
    }
  }
}

// A whole grant or reset whose arguments are then changed one at a time.
TEST(ParseRequest, ChecksEachArgumentOfAChange) {
  using nlohmann::json;
  const json grant = {{"scope", "user"},   {"subject", "alice"}, {"unit", "usd"},
                      {"amount", "10.00"}, {"for_s", 86'400},    {"reason", "demo"}};
  const json reset = {{"scope", "group"}, {"subject", "eng"}, {"reason", "demo"}};
  struct Case {
    const char* description;
    Verb verb;
    json change;  // null takes the argument away
    bool accepted;
  };
  const Case cases[] = {
      {"whole grant", Verb::grant, json::object(), true},
      {"no reason", Verb::grant, {{"reason", nullptr}}, true},
      {"no scope", Verb::grant, {{"scope", nullptr}}, false},
      {"no subject", Verb::grant, {{"subject", nullptr}}, false},
      {"no unit", Verb::grant, {{"unit", nullptr}}, false},
      {"no amount", Verb::grant, {{"amount", nullptr}}, false},
      {"no time", Verb::grant, {{"for_s", nullptr}}, false},
      {"group", Verb::grant, {{"scope", "group"}}, true},
      {"unknown scope", Verb::grant, {{"scope", "policy"}}, false},
      {"concurrent has no window to grant in", Verb::grant, {{"unit", "concurrent"}}, false},
      {"smallest money", Verb::grant, {{"amount", "0.000000001"}}, true},
      {"no money", Verb::grant, {{"amount", "0"}}, false},
      {"money finer than counted", Verb::grant, {{"amount", "0.0000000001"}}, false},
      {"negative money", Verb::grant, {{"amount", "-1"}}, false},
      {"money as a number", Verb::grant, {{"amount", 10}}, false},
      {"most money", Verb::grant, {{"amount", "1000000"}}, true},
      {"too much money", Verb::grant, {{"amount", "1000000.01"}}, false},
      {"tokens", Verb::grant, {{"unit", "tokens"}, {"amount", "100000"}}, true},
      {"parts of tokens", Verb::grant, {{"unit", "tokens"}, {"amount", "1.5"}}, false},
      {"signed tokens", Verb::grant, {{"unit", "tokens"}, {"amount", "+5"}}, false},
      {"tokens with a rest", Verb::grant, {{"unit", "tokens"}, {"amount", "5k"}}, false},
      {"tokens over 63 bits",
       Verb::grant,
       {{"unit", "tokens"}, {"amount", "9223372036854775808"}},
       false},
      {"requests", Verb::grant, {{"unit", "requests"}, {"amount", "1"}}, true},
      {"no requests", Verb::grant, {{"unit", "requests"}, {"amount", "0"}}, false},
      {"shortest time", Verb::grant, {{"for_s", 1}}, true},
      {"no length", Verb::grant, {{"for_s", 0}}, false},
      {"31 days", Verb::grant, {{"for_s", 31 * 86'400}}, true},
      {"a second more", Verb::grant, {{"for_s", 31 * 86'400 + 1}}, false},
      {"time as text", Verb::grant, {{"for_s", "24h"}}, false},
      {"reason with a line break", Verb::grant, {{"reason", "a\nb"}}, false},
      {"reason beyond ASCII", Verb::grant, {{"reason", "f\u00fcr"}}, true},
      {"subject with a control character", Verb::grant, {{"subject", "a\x1b"}}, false},
      {"argument of usage", Verb::grant, {{"user", "alice"}}, false},
      {"whole reset", Verb::reset, json::object(), true},
      {"reset without a reason", Verb::reset, {{"reason", nullptr}}, true},
      {"reset of nobody", Verb::reset, {{"subject", nullptr}}, false},
      {"reset without a scope", Verb::reset, {{"scope", nullptr}}, false},
      {"reset of an amount", Verb::reset, {{"amount", "1"}}, false},
  };
  for (const Case& test : cases) {
    json args = test.verb == Verb::grant ? grant : reset;
    args.merge_patch(test.change);
    const ParsedRequest parsed = parse_request(request_line(test.verb, args));
    const Failure* failure = std::get_if<Failure>(&parsed.outcome);
    EXPECT_EQ(failure == nullptr, test.accepted)
        << test.description << (failure ? ": " + failure->text : "");
  }
}

TEST(ParseRequest, ReadsAmountsInTheirUnit) {
  const auto amount_of = [](const char* unit, const char* amount) {
    const nlohmann::json args = {
        {"scope", "user"}, {"subject", "a"}, {"unit", unit}, {"amount", amount}, {"for_s", 1}};
    return std::get<Request>(parse_request(request_line(Verb::grant, args)).outcome).amount;
  };
  EXPECT_EQ(amount_of("usd", "12.40"), 12'400'000'000);
  EXPECT_EQ(amount_of("tokens", "12"), 12);
}

TEST(ParseRequest, UnknownOutcomeIsAnsweredWithTheKnownOnes) {
  const auto parsed = parse_request(R"({"v":1,"verb":"records","args":{"outcome":"x"}})");
  const Failure& failure = std::get<Failure>(parsed.outcome);
  EXPECT_TRUE(failure.hint.starts_with("one of completed, failed, ")) << failure.hint;
}

TEST(Verbs, OnlyThoseThatChangeSomethingAreForAdministrators) {
  for (int i = 0; i <= static_cast<int>(Verb::version); ++i) {
    const auto verb = static_cast<Verb>(i);
    EXPECT_EQ(changes(verb), verb == Verb::grant || verb == Verb::reset || verb == Verb::revoke ||
                                 verb == Verb::restore || verb == Verb::acknowledge ||
                                 verb == Verb::reload)
        << to_string(verb);
    const auto line = std::string(R"({"v":1,"verb":")") + std::string(to_string(verb)) + "\"}";
    const auto parsed = parse_request(line);
    if (const auto* request = std::get_if<Request>(&parsed.outcome)) {
      EXPECT_EQ(request->verb, verb) << to_string(verb);
    }
  }
}

TEST(ParseRequest, GivesBackTheIdOfARefusedRequest) {
  EXPECT_EQ(parse_request(R"({"v":1,"id":42,"verb":"stop"})").id, 42);
}

TEST(Answers, CarryWhateverAClientSent) {
  const std::string line = item_line(3, {{"model", "a\x1b[2J\xff\n\u00e9"}});
  EXPECT_EQ(line, "{\"id\":3,\"item\":{\"model\":\"a\\u001b[2J\\ufffd\\n\\u00e9\"},\"v\":1}\n");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Answers, AreReadBackByTheOtherEnd) {
  EXPECT_EQ(parse_answer(ok_line({}, {{"a", 1}}))->body, (nlohmann::json{{"a", 1}}));
  EXPECT_EQ(parse_answer(item_line({}, "x"))->kind, Answer::Kind::item);
  EXPECT_EQ(parse_answer(lost_line({}, 9))->lost, 9u);
  const auto error = parse_answer(error_line({}, {ErrorCode::forbidden, "no", "ask"}));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->failure.code, ErrorCode::forbidden);
  EXPECT_EQ(error->failure.hint, "ask");
  for (const char* line : {"", "{}", "[]", R"({"v":2,"ok":true})", R"({"v":1})",
                           R"({"v":1,"ok":1})", R"({"v":1,"lost":-1})"}) {
    EXPECT_FALSE(parse_answer(line)) << line;
  }
}

}  // namespace
}  // namespace tollgate::admin
